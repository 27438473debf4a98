//! `cargo bench -p diesel-advisory-benches` compares the locks with the SQL that one would write by
//! hand, on a throwaway PostgreSQL or the server of `DATABASE_URL`.

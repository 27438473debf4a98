//! `PostgreSQL` advisory locks for Diesel.

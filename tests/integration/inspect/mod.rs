//! What can be seen of locks from outside: with `is_advisory_locked`, with `inspect`, and in
//! PostgreSQL's own views.

#[cfg(feature = "migrations")]
mod extensions;
mod locks;
mod visibility;

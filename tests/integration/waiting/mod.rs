//! How long a lock is waited for, and how a wait ends: the same in every scope.

mod lock_timeout;
mod row_locks;
mod timeouts;

//! PostgreSQL advisory locks for Diesel: "only one of us does this at a time", on many machines.
//!
//! ```
//! # diesel_advisory_sandbox::doctest!(conn);
//! use diesel::prelude::*;
//! use diesel_advisory::AdvisoryConnection;
//!
//! # diesel::sql_query("CREATE TEMPORARY TABLE books (closed bool)").execute(conn)?;
//! conn.advisory("billing.close_month").run(|conn| {
//!     // A transaction that holds the lock. Nobody else is in here now, on any machine.
//!     diesel::sql_query("UPDATE books SET closed = true").execute(conn)
//! })?;
//! # Ok::<_, diesel::result::Error>(())
//! ```
//!
//! An advisory lock is a lock on a number that means what you want it to mean. PostgreSQL keeps it,
//! and frees it when the client is gone, so there is nothing to clean up after a crash. This crate
//! gives it a name, a timeout and an end:
//!
//! - **It ends with the transaction** by default: lock and work share one fate. There are locks
//!   [for a session](AdvisoryConnection::advisory_session) as well, with a guard.
//! - **It never leaks into a pool**, be it after an error, a panic or a dropped future.
//! - **A timeout is an outcome, not a failure.** [`Error::Unavailable`] is told from every other
//!   error exactly, in every language of the server, it says who holds the lock, and the transaction
//!   around it goes on.
//! - **The fewest round trips** that the protocol allows: a lock and the transaction around it are two,
//!   with a timeout or without, and a lock inside a transaction is one.
//!
//! # Which lock
//!
//! | | for | |
//! |---|---|---|
//! | [`advisory`](AdvisoryConnection::advisory) | a piece of work with a transaction of its own: the usual case | `conn.advisory("x").run(\|conn\| …)` |
//! | [`advisory_xact`](AdvisoryConnection::advisory_xact) | a step inside a transaction that is open anyway | `conn.advisory_xact("x").acquire()` |
//! | [`advisory_session`](AdvisoryConnection::advisory_session) | work that must not sit in one long transaction | `conn.advisory_session("x").run(\|conn\| …)`, `.acquire()` |
//!
//! Each of them takes a [name, a number, a pair of numbers, or a name with a row](LockId); can be
//! [`shared`](AdvisoryLock::shared); waits as long as you say ([`timeout`](AdvisoryLock::timeout),
//! [`no_wait`](AdvisoryLock::no_wait)); and takes [several locks at once](AdvisoryLock::and) without
//! deadlocks. `try_run` and `try_acquire` give `None` or `false` where `run` and `acquire` give
//! [`Error::Unavailable`].
//!
//! With the feature `async` the same methods are there for `diesel-async`, on
//! [`AsyncAdvisoryConnection`]. The attribute [`#[advisory]`](macro@advisory) puts a whole function under a
//! lock. [`inspect`] tells who holds what, and the [`catalog`] tells it to `psql`.
//!
//! # When not to use it
//!
//! - To change one row at a time, lock the row: `SELECT … FOR UPDATE` is about the row, and cannot be
//!   forgotten by other code that changes it. An advisory lock excludes only those who ask for it.
//! - To hand out jobs to workers, `FOR UPDATE SKIP LOCKED` finds a free one in a single query.
//! - To keep something from being done twice *ever*, a unique constraint remembers; a lock forgets.
//! - To guard something outside of the database: a session that has lost its connection has lost the
//!   lock, and its process may not know yet. Let what you guard refuse those who come too late.
//!
//! # Pitfalls
//!
//! **Re-entrancy.** A session that holds a lock is granted it again at once. So a lock keeps connections
//! apart, not two pieces of code on one connection.
//!
//! **Savepoints.** A savepoint that is rolled back frees the transaction-scoped locks that were taken
//! since it was set; in Diesel that is every nested `transaction` that returns an error. So does a
//! statement that fails inside of one, at once. Session locks are counted, and survive.
//!
//! **Isolation levels.** Above read committed, a transaction that is open already has a snapshot that is
//! older than the lock, and may not see what the last holder has committed. Let `advisory` begin the
//! transaction: its [isolation methods](AdvisoryLock::serializable) take care of the order.
//!
//! **Poolers in transaction mode** (PgBouncer and others) give each transaction a session of its own.
//! `advisory` and `advisory_xact` work with them; session locks do not.
//!
//! **Test transactions.** After Diesel's `begin_test_transaction` every transaction is a savepoint, and
//! there is no place for a session lock: it is refused as inside any transaction.
//!
//! **A client that vanishes** without closing its connection, as in a power cut, keeps its locks until
//! the server notices: see PostgreSQL's [`tcp_keepalives_idle`] and [`client_connection_check_interval`].
//!
//! **PL/pgSQL.** Locks are waited for inside of a `DO` block, so the language `plpgsql` has to be there,
//! as it is unless somebody has dropped it. `pg_stat_statements` keeps a row for each `DO` block with
//! another text, and so for each lock, unless [`pg_stat_statements.track_utility`] is off.
//!
//! [`tcp_keepalives_idle`]: https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-TCP-KEEPALIVES-IDLE
//! [`client_connection_check_interval`]: https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL
//! [`pg_stat_statements.track_utility`]: https://www.postgresql.org/docs/current/pgstatstatements.html#PGSTATSTATEMENTS-CONFIG-PARAMS
//!
//! # Keys
//!
//! The key of a name is the first 8 bytes of its BLAKE3 hash, and that will never change. See
//! [`LockKey::from_name`] for how to find it in `pg_locks`, and [`LockKey`] for the keys of other
//! programs.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `macros` | yes | the attribute [`#[advisory]`](macro@advisory) |
//! | `async` | no | [the same locks for `diesel-async`](AsyncAdvisoryConnection), without libpq |
//! | `migrations` | no | [migrations that run once](migrations), whoever else starts, and those of the lock [`catalog`] |
//! | `tracing` | no | an event while migrations wait for another process |
//! | `django-pglock` | no | [`LockKey::django_pglock`], for locks that a Django application takes as well |
//!
//! # Versions
//!
//! PostgreSQL 14 and later, Diesel 2.3, Rust 1.86.

// The links lead to what is behind features, and are checked where all of them are on.
#![cfg_attr(
    not(all(
        feature = "async",
        feature = "django-pglock",
        feature = "macros",
        feature = "migrations"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]

#[cfg(feature = "async")]
mod asynchronous;
mod blocking;
pub mod catalog;
mod error;
pub mod functions;
pub mod inspect;
mod lock;
#[cfg(feature = "migrations")]
pub mod migrations;
mod protocol;
mod sql;

#[cfg(feature = "async")]
pub use self::asynchronous::{
    connection::{AsyncAdvisoryConnection, IntoAsyncAdvisorySession},
    func::AsyncFunc,
    guard::AsyncAdvisoryGuard,
    session::AsyncAdvisorySession,
    transaction::AsyncAdvisoryTransaction,
    xact::AsyncAdvisoryXact,
};
pub use self::blocking::{
    connection::{AdvisoryConnection, IntoAdvisorySession},
    guard::AdvisoryGuard,
    session::AdvisorySession,
    transaction::AdvisoryTransaction,
    xact::AdvisoryXact,
};
#[cfg(feature = "migrations")]
pub use self::catalog::schema::MIGRATIONS;
pub use self::error::{
    Error,
    unavailable::{Holder, Unavailable},
};
#[doc(hidden)]
pub use self::lock::into_id::IntoLockId;
pub use self::lock::{id::LockId, key::LockKey};
/// Runs a function under an advisory lock.
#[cfg(feature = "macros")]
pub use diesel_advisory_macros::advisory;

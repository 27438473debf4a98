//! PostgreSQL advisory locks for Diesel: named, timed, shared or exclusive, and by default released when
//! the transaction ends.
//!
//! ```
//! # diesel_advisory_sandbox::doctest!(conn);
//! # use diesel_advisory_sandbox::schema::books;
//! use diesel::prelude::*;
//! use diesel_advisory::AdvisoryConnection;
//!
//! conn.advisory("billing.close_month").run(|conn| {
//!     // A transaction that holds the lock. No other holder of it is in here now, on any machine.
//!     diesel::update(books::table).set(books::closed.eq(true)).execute(conn)
//! })?;
//! # Ok::<_, diesel::result::Error>(())
//! ```
//!
//! # What an advisory lock is
//!
//! An advisory lock is a lock on a number whose meaning your application defines. PostgreSQL keeps a table
//! of such locks for each database. A session asks for one, and if another session holds it, the server
//! makes it wait. Nothing else is locked: rows and tables are as accessible as before, and only code that
//! asks for the same lock is kept out. That is why it is called *advisory*.
//!
//! PostgreSQL releases the lock when the transaction ends or, for a session lock, when it is released or
//! the session ends. So a crashed client leaves nothing to clean up. This crate gives the number a name,
//! the wait a timeout, and the lock a scope. The chapter [Advisory Locks] of PostgreSQL's documentation
//! describes what the server does.
//!
//! [Advisory Locks]: https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
//!
//! # Which lock
//!
//! | | use it for | |
//! |---|---|---|
//! | [`advisory`](AdvisoryConnection::advisory) | work with a transaction of its own: the usual case | `conn.advisory("x").run(\|conn\| …)` |
//! | [`advisory_xact`](AdvisoryConnection::advisory_xact) | a step inside a transaction that is already open | `conn.advisory_xact("x").acquire()` |
//! | [`advisory_session`](AdvisoryConnection::advisory_session) | work that must not sit in one long transaction | `conn.advisory_session("x").run(\|conn\| …)`, `.acquire()` |
//! | [`lease`](AdvisorySession::lease) | work of hours, which must hear when the lock is lost | `pooled.into_advisory_session("x").lease(ttl).run(\|lease\| …)` |
//!
//! [`AdvisoryConnection`] compares the first three in detail, and [the guide](guide::leases) says which lock to
//! use for how long. Each of them takes a [name, a number, a pair of numbers,
//! or a name with a row's id](LockId), can be [`shared`](AdvisoryTransaction::shared), waits as long as
//! you say ([`timeout`](AdvisoryTransaction::timeout), [`no_wait`](AdvisoryTransaction::no_wait)), and
//! acquires [several locks at once](AdvisoryTransaction::and) without deadlocks. A session lock can have
//! [permits](AdvisorySession::permits), so that three sessions hold it at once. If the lock is unavailable,
//! `run` and `acquire` return [`Error::Unavailable`], which says who holds it; `try_run` and `try_acquire`
//! return `None` or `false`. [`at_most_every`](AdvisoryTransaction::at_most_every) and
//! [`once`](AdvisoryTransaction::once) also skip work that was run already: see [jobs](guide::jobs).
//!
//! With the feature `async`, [`AsyncAdvisoryConnection`] has the same methods for `diesel-async`. The
//! attribute [`#[advisory]`](macro@advisory) puts a whole function under a lock. [`inspect`] lists locks
//! and their holders; the [`catalog`] is the same as an SQL view. [`migrations`] run once, however many
//! processes start. The [`guide`] has recipes, and pages on testing, pools and operation.
//!
//! # Shared and exclusive
//!
//! | held | another session asks for shared | for exclusive |
//! |---|---|---|
//! | shared | acquires it | waits |
//! | exclusive | waits | waits |
//!
//! Locks are exclusive unless [`shared`](AdvisoryTransaction::shared) is called. Use shared locks for work
//! that may run beside itself, but not beside the holder of the exclusive lock: readers of a price list, and
//! its writer.
//!
//! A session that holds the shared lock can acquire the exclusive one as well, once no other session holds
//! it. If two sessions try that at the same time, they wait for each other: PostgreSQL detects the deadlock
//! and fails one of them. Take the exclusive lock from the beginning instead.
//!
//! # Order of waiting
//!
//! Sessions that wait for the same lock acquire it in the order in which they asked. A shared request
//! therefore waits behind an exclusive one that is waiting already, even while the lock is held shared, so
//! that readers cannot starve a writer; with `no_wait`, such a request is unavailable. A session whose
//! timeout has passed leaves the queue, and asks anew the next time.
//!
//! Two sessions that acquire two locks one after the other, in different orders, can deadlock. Acquire them
//! as one set: [`and`](AdvisoryTransaction::and), [`advisory_all`](AdvisoryConnection::advisory_all).
//!
//! # When not to use it
//!
//! - To change one row at a time, lock the row: `SELECT … FOR UPDATE` also excludes code that does not know
//!   of any lock. An advisory lock excludes only those who ask for it.
//! - To hand out jobs to workers, use `FOR UPDATE SKIP LOCKED`, which finds a free job in a single query.
//! - To do something only once *ever*, a lock is not enough, because it leaves no record after its release. Use a
//!   unique constraint, or [`once`](AdvisoryTransaction::once), which keeps a record beside the lock.
//! - To guard something outside of the database, a lock alone is not enough. A process whose connection is
//!   lost has lost the lock, and may not know yet. Use a [fencing token](FencingToken), so that the resource
//!   rejects a stale holder.
//!
//! # Pitfalls
//!
//! **Re-entrancy.** Locks nest: a session that holds a lock acquires it again at once. So a lock keeps
//! connections apart, not two pieces of code that use one connection.
//!
//! **Savepoints.** When a savepoint is rolled back, PostgreSQL releases the transaction-scoped locks that
//! were acquired since it was set. In Diesel, that is every nested `transaction` that returns an error.
//! Session locks are kept.
//!
//! **Isolation levels.** Above read committed, a transaction that is already open has a snapshot that
//! predates the lock, and may not see what the last holder has committed. So
//! [`advisory_xact`](AdvisoryConnection::advisory_xact) cannot guarantee that, and `advisory` can: call
//! [`serializable`](AdvisoryTransaction::serializable) or
//! [`repeatable_read`](AdvisoryTransaction::repeatable_read) on it.
//!
//! **Raw `COMMIT`.** A closure that sends `COMMIT` or `ROLLBACK` as SQL ends the transaction, and with it
//! releases the lock, in the middle of the work. `run` then returns [`Error::Database`], unless the closure
//! has begun another transaction since. Use Diesel's `transaction` inside the closure instead.
//!
//! **Lock functions in `WHERE`.** PostgreSQL may call a [lock function](functions) for rows that other
//! conditions, a `LIMIT` or a sort then drop, and those locks stay. Select the rows in a subquery first.
//!
//! **Prepared transactions.** `PREPARE TRANSACTION` keeps transaction-scoped locks until `COMMIT PREPARED`
//! or `ROLLBACK PREPARED`. Such a holder has no process: see [`Holder::is_prepared_transaction`].
//!
//! **Extensions.** Some extensions take advisory locks themselves. Give your locks names instead of small
//! numbers, and the two will not share keys.
//!
//! **A client that vanishes** without closing its connection, as in a power cut, keeps its locks until the
//! server notices: see PostgreSQL's [`tcp_keepalives_idle`] and [`client_connection_check_interval`].
//!
//! [`tcp_keepalives_idle`]: https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-TCP-KEEPALIVES-IDLE
//! [`client_connection_check_interval`]: https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL
//!
//! # Testing
//!
//! Two tests that take the same lock in the same database wait for each other, and after Diesel's
//! `begin_test_transaction` they wait until one of them is over. [Give each test names of its
//! own](guide#testing). Session locks return [`Error::InTransaction`] inside a test transaction.
//!
//! # Pools
//!
//! A session that waits for a lock holds a connection. Waits without a limit can therefore use up a pool,
//! and slow down requests that need no lock at all. Set a `timeout` that is shorter than the pool's own, or
//! use `no_wait`: see [the guide](guide#pools).
//!
//! # Poolers
//!
//! What stands between you and PostgreSQL decides which locks work:
//!
//! | | `advisory`, `advisory_xact` | `advisory_session` |
//! |---|---|---|
//! | a direct connection | work | works |
//! | PgBouncer, session mode | work | works, with its default `server_reset_query = DISCARD ALL` |
//! | PgBouncer, transaction mode | work; with `diesel-async`, from PgBouncer 1.21 with `max_prepared_statements` above 0 | does not exclude anybody, and returns [`Error::SharedSession`] or [`Error::NotHeld`]; with `diesel-async` and an older PgBouncer, the server's own error |
//! | PgBouncer, statement mode | do not work: there are no transactions | does not work |
//! | pgpool-II, load balancing | exclude, with `write_function_list` and `read_only_function_list` left empty. A read under `advisory` may come from a standby that lags behind; it does not under `advisory_xact` and `advisory(…).serializable()` | excludes, on the same condition; reads may come from a standby |
//! | a standby | [`Error::Standby`], unless [`allow_standby`](AdvisoryTransaction::allow_standby) is called | the same |
//! | several hosts in the connection URL | add `target_session_attrs=read-write` | the same |
//! | a failover | the old primary and the new one can each grant the lock, until the old one is fenced off | the same |
//! | a proxy that closes idle connections | the transaction is rolled back, and the lock released | the lock is released; its holder learns it at its next statement |
//!
//! In transaction mode, everyone who waits for a lock occupies one of the pooler's server connections, and
//! a lock's timeout does not include the time spent in the pooler's own queue. A mark in the
//! setting `diesel_advisory.guards` detects that another client uses the session of a session lock; it does
//! not detect two clients of one process whose locks happen to nest. For migrations see
//! [`migrations`](migrations#behind-a-connection-pooler).
//!
//! The server's own timeouts end locks too: see [the guide](guide#timeouts-of-the-server).
//!
//! # Observability
//!
//! [`Error::Unavailable`] names the sessions that hold the lock, and [`inspect`] lists all of them: set
//! `application_name` in your connection URL, so that they can be told apart. The name of a lock that is
//! waited for stands in a comment in `pg_stat_activity.query` and in the server's log. See
//! [the guide](guide#observability).
//!
//! # Recipes
//!
//! - [Answer with 409](guide#answer-with-409-when-a-lock-is-unavailable) when a lock is unavailable
//! - [A guard in a struct](guide#a-guard-in-a-struct)
//! - [Many locks at once](guide#many-locks-at-once)
//! - [A nightly job](guide#a-nightly-job) that every instance starts, and one runs
//!
//! # More to read
//!
//! - [How it works](guide::how_it_works): what is sent for a lock, in pictures
//! - [Compared with](guide::compared) SQL by hand, sqlx, django-pglock, DistributedLock, ShedLock, etcd and Consul
//! - [Answers](guide::answers) to what users of such libraries complain about
//!
//! # Keys
//!
//! The key of a name is the first 8 bytes of its BLAKE3 hash. That will never change. See
//! [`LockKey::from_name`] for how to find it in `pg_locks`, and [`LockKey`] and [`LockId`] for keys that
//! other programs derive.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `macros` | yes | the attribute [`#[advisory]`](macro@advisory) |
//! | `async` | no | [the same locks for `diesel-async`](AsyncAdvisoryConnection), without libpq |
//! | `migrations` | no | [migrations that run once](migrations), however many processes start, and those of the lock [`catalog`] |
//! | `tracing` | no | [a span for each lock](trace), from asking to release, and events |
//! | `django-pglock` | no | [`LockKey::django_pglock`], for locks that a Django application takes too |
//!
//! # Versions
//!
//! PostgreSQL 14 and later, Diesel 2.3, diesel-async 0.9, Rust 1.86.

#![cfg_attr(docsrs, feature(doc_cfg))]
// The links lead to what is behind features, and are checked where all of them are on.
#![cfg_attr(
    not(all(
        feature = "async",
        feature = "django-pglock",
        feature = "macros",
        feature = "migrations",
        feature = "tracing"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]

#[cfg(feature = "async")]
mod asynchronous;
mod blocking;
pub mod catalog;
mod error;
pub mod functions;
pub mod guide;
pub mod inspect;
mod lease;
mod lock;
#[cfg(feature = "migrations")]
pub mod migrations;
mod protocol;
mod sql;
#[cfg(not(feature = "tracing"))]
mod trace;
#[cfg(feature = "tracing")]
pub mod trace;

#[cfg(feature = "async")]
pub use self::asynchronous::{
    connection::{AsyncAdvisoryConnection, IntoAsyncAdvisorySession},
    func::AsyncFunc,
    guard::AsyncAdvisoryGuard,
    interval::AsyncAdvisoryInterval,
    leader::AsyncLeader,
    lease::AsyncAdvisoryLease,
    session::AsyncAdvisorySession,
    transaction::AsyncAdvisoryTransaction,
    xact::AsyncAdvisoryXact,
};
pub use self::blocking::{
    connection::{AdvisoryConnection, IntoAdvisorySession},
    guard::AdvisoryGuard,
    interval::AdvisoryInterval,
    leader::Leader,
    lease::AdvisoryLease,
    session::AdvisorySession,
    transaction::AdvisoryTransaction,
    xact::AdvisoryXact,
};
#[cfg(feature = "migrations")]
pub use self::catalog::schema::MIGRATIONS;
pub use self::error::{
    Error,
    lost::{HowLost, Lost},
    not_due::NotDue,
    unavailable::{Holder, Unavailable},
};
pub use self::lease::{handle::Lease, leader::Change, shutdown::Shutdown};
#[doc(hidden)]
pub use self::lock::into_id::IntoLockId;
pub use self::lock::{
    id::LockId,
    key::LockKey,
    token::{FencingToken, ParseFencingTokenError},
};
/// Runs a function under an advisory lock, acquired with
/// [`advisory`](AdvisoryConnection::advisory) or
/// [`advisory_session`](AdvisoryConnection::advisory_session).
#[cfg(feature = "macros")]
pub use diesel_advisory_macros::advisory;

//! Recipes, and what to know of testing, pools and operation. There is no code in this module.
//!
//! - Recipes: [answer with 409](#answer-with-409-when-a-lock-is-unavailable), [a guard in a
//!   struct](#a-guard-in-a-struct), [many locks at once](#many-locks-at-once), [N at a
//!   time](#n-at-a-time), [a nightly job](#a-nightly-job)
//! - [Jobs in many replicas](jobs), that run at most once in a while
//! - [Which lock for how long](leases), and what a lease does not promise
//! - [How it works](how_it_works), in pictures; [compared] with other ways to have a lock; [answers]
//!   to what users complain about
//! - [Testing](#testing)
//! - [Pools](#pools)
//! - [Timeouts of the server](#timeouts-of-the-server)
//! - [Faults](#faults)
//! - [Observability](#observability)
//! - [Messages of the compiler](#messages-of-the-compiler)
//!
//! # Answer with 409 when a lock is unavailable
//!
//! An error of this crate can reach the handler inside one of Diesel's, when it has passed through a
//! function that returns [`QueryResult`](diesel::QueryResult). [`Error::find_in`](crate::Error::find_in)
//! finds it in any error, so look for it where errors become responses:
//!
//! ```
//! # diesel_advisory_sandbox::doctest!(conn, other);
//! # use diesel_advisory_sandbox::schema::invoices;
//! use axum::http::StatusCode;
//! use axum::response::{IntoResponse, Response};
//! use diesel::prelude::*;
//! use diesel_advisory::{AdvisoryConnection, Error};
//!
//! #[derive(Debug, thiserror::Error)]
//! #[error(transparent)]
//! struct AppError(#[from] diesel::result::Error);
//!
//! impl IntoResponse for AppError {
//!     fn into_response(self) -> Response {
//!         match Error::find_in(&self) {
//!             Some(Error::Unavailable(_)) => (StatusCode::CONFLICT, "try again").into_response(),
//!             _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
//!         }
//!     }
//! }
//!
//! fn pay(conn: &mut PgConnection, id: i32) -> Result<(), AppError> {
//!     conn.advisory(("invoice", id)).no_wait().run(|conn| {
//!         diesel::update(invoices::table.find(id)).set(invoices::paid.eq(true)).execute(conn)
//!     })?;
//!     Ok(())
//! }
//!
//! let held = other.advisory_session("invoice:42").acquire()?;
//! let response = pay(conn, 42).unwrap_err().into_response();
//! assert_eq!(response.status(), StatusCode::CONFLICT);
//! # held.release()?;
//! # Ok::<_, Error>(())
//! ```
//!
//! # A guard in a struct
//!
//! [`into_advisory_session`](crate::IntoAdvisorySession::into_advisory_session) makes a guard that owns its
//! connection. Queries can be run on the guard, and it gives the connection back when it releases the lock:
//!
//! ```
//! # diesel_advisory_sandbox::doctest!(_conn);
//! # use diesel_advisory_sandbox::schema::SET_UP;
//! # use diesel_advisory_sandbox::schema::invoices;
//! use diesel::prelude::*;
//! use diesel::r2d2::{ConnectionManager, Pool, PooledConnection};
//! use diesel_advisory::{AdvisoryGuard, Error, IntoAdvisorySession};
//!
//! type Conn = PooledConnection<ConnectionManager<PgConnection>>;
//!
//! /// Sends reminders, as the only process that does.
//! struct Sender {
//!     held: AdvisoryGuard<Conn>,
//! }
//!
//! impl Sender {
//!     fn start(conn: Conn) -> Result<Self, Error> {
//!         let held = conn.into_advisory_session("reminders").no_wait().acquire()?;
//!         Ok(Self { held })
//!     }
//!
//!     fn remind(&mut self, id: i32) -> QueryResult<usize> {
//!         diesel::update(invoices::table.find(id))
//!             .set(invoices::reminded.eq(true))
//!             .execute(&mut self.held)
//!     }
//!
//!     fn stop(self) -> Result<Conn, Error> {
//!         self.held.release_into()
//!     }
//! }
//!
//! # let manager = ConnectionManager::<PgConnection>::new(diesel_advisory_sandbox::database_url());
//! # let pool = Pool::builder().max_size(1).build(manager)?;
//! # diesel::connection::SimpleConnection::batch_execute(&mut pool.get()?, SET_UP)?;
//! let mut sender = Sender::start(pool.get()?)?;
//! sender.remind(42)?;
//! sender.stop()?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! [`is_held`](crate::AdvisoryGuard::is_held) asks the server whether the session still holds the lock.
//!
//! # Many locks at once
//!
//! A set is acquired as a whole or not at all, in the order of its keys, in one round trip where the locks
//! are free, and under one timeout:
//!
//! ```
//! # diesel_advisory_sandbox::doctest!(conn);
//! # use diesel_advisory_sandbox::schema::invoices;
//! use std::time::Duration;
//!
//! use diesel::prelude::*;
//! use diesel_advisory::AdvisoryConnection;
//!
//! let ids = [42, 7, 12];
//! let paid = conn
//!     .advisory_all(ids.map(|id| ("invoice", id)))
//!     .timeout(Duration::from_secs(2))
//!     .run(|conn| {
//!         let these = invoices::table.filter(invoices::id.eq_any(ids));
//!         diesel::update(these).set(invoices::paid.eq(true)).execute(conn)
//!     })?;
//! # let _ = paid;
//! # Ok::<_, diesel::result::Error>(())
//! ```
//!
//! Each lock takes a place in the server's lock table, whose size follows from
//! [`max_locks_per_transaction`]. For thousands of rows, lock what they have in common: the customer, or the
//! whole batch.
//!
//! [`max_locks_per_transaction`]: https://www.postgresql.org/docs/current/runtime-config-locks.html#GUC-MAX-LOCKS-PER-TRANSACTION
//!
//! # N at a time
//!
//! With [`permits`](crate::AdvisorySession::permits), several sessions of the whole database hold a lock at once,
//! and no more. It limits what all machines together do, such as calls of a foreign API that allows three at
//! a time:
//!
//! ```
//! # diesel_advisory_sandbox::doctest!(conn);
//! use std::time::Duration;
//!
//! use diesel::prelude::*;
//! use diesel_advisory::{AdvisoryConnection, Error};
//!
//! fn geocode(conn: &mut PgConnection, address: &str) -> Result<String, Error> {
//!     conn.advisory_session("geocoder")
//!         .permits(3)
//!         .timeout(Duration::from_secs(10))
//!         .run(|_conn| Ok(format!("what the API says of {address}")))
//! }
//! # geocode(conn, "Main Street 1")?;
//! # Ok::<_, Error>(())
//! ```
//!
//! For a limit by time, hold each permit until the time is over. With five permits, each of them held for at least
//! a second from the start of its call, no more than five calls start in any second:
//!
//! ```
//! # diesel_advisory_sandbox::doctest!(conn);
//! # let second = std::time::Duration::from_millis(10);
//! # let call = || ();
//! use std::time::Instant;
//!
//! use diesel_advisory::{AdvisoryConnection, Error};
//!
//! # /*
//! let second = Duration::from_secs(1);
//! # */
//! conn.advisory_session("geocoder").permits(5).run(|_conn| {
//!     let began = Instant::now();
//!     let answer = call();
//!     std::thread::sleep(second.saturating_sub(began.elapsed()));
//!     Ok::<_, Error>(answer)
//! })?;
//! # Ok::<_, Error>(())
//! ```
//!
//! - Sessions that wait are served in the order in which they came, and each of them holds a connection. Set a
//!   `timeout`, and see [Pools](#pools).
//! - All callers have to ask for the same number. Where some do not, as during a deployment that changes it, all
//!   together hold at most as many permits as the largest number says, and a caller with a smaller number that
//!   waits lets those behind it wait too.
//! - A session that holds a permit gets the same one again. `permits(1)` and the lock without permits do not
//!   exclude each other.
//! - A holder that stands still keeps its permit, unless it holds it as a
//!   [lease](crate::AdvisorySession::lease).
//! - A session that waits has a snapshot, which `CREATE INDEX CONCURRENTLY` waits for. Do not run that while
//!   holding a permit.
//! - `pg_cancel_backend` can be lost on a session that waits, if it arrives in the very moment in which the session
//!   turns from one permit to the next. Cancel it again.
//! - [`LockName::permits`](crate::inspect::LockName::permits) has their names, such as `geocoder (2 of 3)`, for
//!   [`inspect`](crate::inspect), and for the [catalog](crate::catalog)'s view.
//!
//! Permit 2 of `geocoder` is the lock `"geocoder\0#2"`, and the gate where sessions wait for one is
//! `"geocoder\0#0"`. Like all keys, these never change, so programs in other languages can take part.
//!
//! # A nightly job
//!
//! Every instance starts the job, and all but one find the lock unavailable. An instance whose clock is late comes
//! when the first one is done already, and would do the work once more.
//! [`once`](crate::AdvisoryTransaction::once) keeps that it was done, in the same transaction. [Jobs](jobs) has an
//! example, and says more: periods, long work, what counts as a run, and what clocks do.
//!
//! # Testing
//!
//! Tests that run at the same time in one database wait for each other if they take the same lock. In
//! Diesel's `begin_test_transaction` the lock is held until the test is over. So let the code under test
//! have a prefix for its locks, and give each test one of its own. Rust's test runner names the thread of a
//! test after the test:
//!
//! ```
//! # diesel_advisory_sandbox::doctest!(conn);
//! # use diesel_advisory_sandbox::schema::books;
//! use diesel::prelude::*;
//! use diesel_advisory::AdvisoryConnection;
//!
//! /// `locks` is `"billing"` in production.
//! struct Billing {
//!     locks: String,
//! }
//!
//! impl Billing {
//!     fn close_month(&self, conn: &mut PgConnection) -> QueryResult<usize> {
//!         conn.advisory((&self.locks, "close_month")).run(|conn| {
//!             diesel::update(books::table).set(books::closed.eq(true)).execute(conn)
//!         })
//!     }
//! }
//!
//! fn locks_of_this_test() -> String {
//!     let test = std::thread::current().name().unwrap_or("main").to_owned();
//!     format!("{}:{test}", std::process::id())
//! }
//!
//! conn.begin_test_transaction()?;
//! let billing = Billing { locks: locks_of_this_test() };
//! billing.close_month(conn)?;
//! # Ok::<_, diesel::result::Error>(())
//! ```
//!
//! - Session locks return [`Error::InTransaction`](crate::Error::InTransaction) inside a test transaction:
//!   test such code without a test transaction.
//! - To test what happens when a lock is unavailable, hold it with a session lock of a second connection, as
//!   in [the first recipe](#answer-with-409-when-a-lock-is-unavailable).
//! - To test only how your code handles the error, build it: [`Unavailable::new`](crate::Unavailable::new),
//!   [`Holder::new`](crate::Holder::new).
//!
//! # Pools
//!
//! A session that waits for a lock occupies its connection. In a trial with 8 connections and 14 requests that
//! waited for one lock, an unrelated request took 2.5 s instead of 0.7 s.
//!
//! - Set a `timeout` that is shorter than that of the pool, or use `no_wait` and let the client try again.
//! - Where many may wait, let them use a pool of their own, so that they cannot use up the other one.
//! - Do the work on the connection that holds the lock. Asking the pool for a second
//!   connection while you hold a lock can deadlock: every other connection may be waiting for your lock.
//! - Set `application_name` in the connection URL (`postgres://…/app?application_name=web-3`). It is what
//!   [`Unavailable`](crate::Unavailable) and [`inspect`](crate::inspect) show.
//!
//! Connections go back to the pool without a lock and without an open transaction, also after an error, a
//! panic, or a dropped future. Where that is impossible, the session is ended, and the pool opens
//! another one. One exception: if a `diesel-async` transaction is dropped after it has acquired an
//! [`advisory_xact`](crate::AsyncAdvisoryConnection::advisory_xact) or a nested
//! [`advisory`](crate::AsyncAdvisoryConnection::advisory) lock, that lock may stay. See [cancel
//! safety](crate::AsyncAdvisoryConnection#cancel-safety).
//!
//! # Timeouts of the server
//!
//! PostgreSQL has timeouts of its own. All but `lock_timeout` are errors of the database, never
//! [`Unavailable`](crate::Error::Unavailable):
//!
//! | setting | what it ends | `advisory` | `advisory_xact` | `advisory_session` |
//! |---|---|---|---|---|
//! | `lock_timeout` | the wait | [`Unavailable`](crate::Error::Unavailable), unless `timeout` is set | the same | the same |
//! | `statement_timeout` | a statement, waits included | [`Database`](crate::Error::Database); nothing is held | the same; the transaction has failed | the same; nothing is held |
//! | `transaction_timeout` (from PostgreSQL 17) | the session, if a transaction takes longer, waits included | the work is rolled back, the lock released | the same | ends the wait; while the lock is held, only if a transaction of the work takes longer |
//! | `idle_in_transaction_session_timeout` | the session, if it is idle in a transaction | the work is rolled back, the lock released | the same | only in a transaction of the work |
//! | `idle_session_timeout` | the session, if it is idle outside of a transaction | does not apply | does not apply | the lock is released while the work is idle |
//!
//! When the session was ended, the next statement fails, and so does the commit or the release, with
//! [`Error::Database`](crate::Error::Database). Until then the holder does not know.
//!
//! # Faults
//!
//! Whatever fails, the work of `advisory` and `advisory_xact` is committed as a whole or not at all, and
//! work that the caller was told is done stays done. Under a session lock that holds for each transaction
//! of the work. Each row was tried while a session asks, waits, holds, and commits or releases, with
//! blocking and asynchronous connections, in all scopes:
//!
//! | what happens | the caller sees | the lock is free again | what is lost |
//! |---|---|---|---|
//! | `pg_terminate_backend`; a backend crashes; the server stops and recovers | [`Database`](crate::Error::Database), at once while a statement runs, and otherwise at the next statement, the commit or the release. The connection cannot be used any more | when the session has ended, which can be before the caller knows | the open transaction |
//! | `pg_cancel_backend` while the session waits, or commits | [`Database`](crate::Error::Database). The connection can be used | at once | the open transaction |
//! | `pg_cancel_backend` while no statement runs | nothing: the work goes on | as always | nothing |
//! | a standby takes the place of its primary, which is lost | as when the server stops | on the new primary at once | the open transaction; with asynchronous replication also what the standby had not received |
//! | `statement_timeout` | [`Database`](crate::Error::Database), if it ends the wait. It does not end a commit | at once | the open transaction |
//! | `transaction_timeout`, `idle_in_transaction_session_timeout`, `idle_session_timeout` | as after `pg_terminate_backend`, [where they apply](#timeouts-of-the-server) | when the session has ended | the open transaction |
//! | the client is killed | | when the server notices: at once while no statement runs, and otherwise after that statement, so that a session which waits first gets the lock. With [`client_connection_check_interval`] sooner | the open transaction, unless its `COMMIT` had been sent |
//! | the network swallows everything | nothing, until the client's network gives up; then [`Database`](crate::Error::Database) | when the server's network gives up too | the open transaction, or nothing if its `COMMIT` arrives: the caller cannot know |
//! | the server's lock table is full | [`Database`](crate::Error::Database), if the lock is asked for meanwhile. For a session lock the session is ended. Who holds or waits keeps the lock or the place, but a transaction can fail at its first write | nothing is held | nothing |
//! | the server has no connection left | no connection. Who holds or waits is not concerned | as always | nothing |
//!
//! After an error at the commit, look whether the work is there before you repeat it, unless the message says
//! what the server refused.
//!
//! [`client_connection_check_interval`]: https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL
//!
//! # Observability
//!
//! - [`inspect`](crate::inspect) lists every lock, who holds it and who waits; the
//!   [catalog](crate::catalog) is the same as an SQL view, for `psql` and dashboards.
//! - A statement that waits for a lock has the lock's name in a comment, `/* advisory lock
//!   billing.close_month */`. It shows in `pg_stat_activity.query`, and in the server's log. Characters
//!   outside of `[A-Za-z0-9_.:-]` are replaced by `_` there.
//! - PostgreSQL's [`log_lock_waits`] logs waits that take longer than `deadlock_timeout`.
//! - `pg_stat_statements` keeps one row for each form of statement, not one for each lock.
//! - A lock that is unavailable with `no_wait` leaves nothing in the server's log. These leave an `ERROR`:
//!   - a wait that has timed out, and everything else that the server refuses;
//!   - `advisory`, in a session whose default isolation level is above read committed, unless the
//!     transaction names its level: twice for each that waits;
//!   - `is_advisory_locked` on an asynchronous connection, if the lock is held.
//! - PL/pgSQL tells a wait that has timed out from other errors. A role without `USAGE` on it gets the
//!   server's own error, as [`Error::Database`](crate::Error::Database).
//! - PostgreSQL lets every role call `query_to_xml`, which `advisory_all` and `and` do for up to 16 locks, and
//!   `pg_cursor`, which session locks on asynchronous connections do.
//! - With the feature `tracing`, every lock is [a span](crate::trace), from asking to release, and migrations that
//!   wait for another process emit an event.
//! - Diesel's instrumentation sees the transactions of `advisory` as it sees Diesel's own.
//!
//! [`log_lock_waits`]: https://www.postgresql.org/docs/current/runtime-config-logging.html#GUC-LOG-LOCK-WAITS
//!
//! # Messages of the compiler
//!
//! | you wrote | write |
//! |---|---|
//! | `.run(\|conn\| async move { … })` | `.run(async \|conn\| { … })` |
//! | `.run(\|conn\| { …; Ok(1) })`, "type annotations needed" | `Ok::<_, diesel_advisory::Error>(1)`, or whatever the error is |
//! | a function that takes a closure and hands it on to an async `run` | the bound that [`AsyncFunc`](crate::AsyncFunc) shows |
//! | `locked(&mut pooled)`, with `fn locked(conn: &mut impl AdvisoryConnection)` | `locked(&mut *pooled)` |
//! | `conn.advisory(id)` with an integer other than `i64` | `("invoice", id)`; or `i64::from(id)`, if other code uses that key |
//! | a lock on an `AsyncConnectionWrapper` | lock the `AsyncPgConnection` itself. [`LockedHarness`](crate::migrations::LockedHarness) and [`catalog::install`](crate::catalog::install) do take the wrapper |
//! | a lock on `&mut dyn BoxableConnection<Pg>`, in a migration written in Rust | `conn.downcast_mut::<PgConnection>()` first |
//! | a lock on an enum that derives `MultiConnection` | match on it, and lock the `PgConnection` inside |

pub mod answers;
pub mod compared;
pub mod how_it_works;
pub mod jobs;
pub mod leases;

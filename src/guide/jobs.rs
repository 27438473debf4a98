//! A job in many replicas: once a night, and not once for each replica.
//!
//! `no_wait` skips a job that another replica runs *now*. It does not skip one that another replica *has* run: where
//! the clock of one is late by more than the job takes, the job runs twice.
//! [`once`](crate::AdvisoryTransaction::once) and [`at_most_every`](crate::AdvisoryTransaction::at_most_every)
//! remember when it was started, by the server's clock, in the [catalog](crate::catalog#installing-it).
//!
//! ```
//! # diesel_advisory_sandbox::doctest!(conn);
//! # use diesel_advisory_sandbox::schema::invoices;
//! # diesel_advisory::catalog::install(conn)?;
//! use diesel::prelude::*;
//! use diesel_advisory::AdvisoryConnection;
//!
//! fn remind_all(conn: &mut PgConnection, night: &str) -> QueryResult<Option<usize>> {
//!     conn.advisory(("reminders", night)).once().no_wait().try_run(|conn| {
//!         let unpaid = invoices::table.filter(invoices::paid.eq(false));
//!         diesel::update(unpaid).set(invoices::reminded.eq(true)).execute(conn)
//!     })
//! }
//!
//! assert!(remind_all(conn, "2026-11-25")?.is_some());
//! // Done already, or another replica is at it.
//! assert!(remind_all(conn, "2026-11-25")?.is_none());
//! # Ok::<_, diesel_advisory::Error>(())
//! ```
//!
//! # A key for each day, or a period
//!
//! A job that belongs to a day gets the day into its name: `("nightly", "2026-11-25")` with `once()`. Each day has
//! its run, however late it came the day before, and a day that was missed can be caught up with by its name.
//! Clean up now and then; [`catalog::forget_runs`](crate::catalog::forget_runs) leaves runs of `once`, so delete
//! those of days that are long past from the table `diesel_advisory.runs` yourself.
//!
//! `at_most_every` with 20 hours is only nearly that. It needs no date, and keeps one row. But the period counts from
//! the last start: a night that was late, because the job failed until noon, makes the next night's job not due. A
//! period shorter than the time between two rings, as 20 hours of 24, leaves room for clocks that differ; a period
//! of 24 hours leaves none, and the job runs every other night.
//!
//! Use a period for what is about distance: do not send a digest, refresh a cache or poll a foreign service more often
//! than that, whoever asks.
//!
//! # A window for batches
//!
//! Work that may only start between two and four at night is a condition beside the lock. Ask in the work itself, and
//! return an error of your own that says so: in a transaction that error undoes the run, so the job is still due
//! when the window opens. With a session lock, ask before.
//!
//! # What counts as a run
//!
//! | | [`advisory`](crate::AdvisoryTransaction::at_most_every) | [`advisory_session`](crate::AdvisorySession::at_most_every) | … with [`retry_failed`](crate::AdvisoryInterval::retry_failed) |
//! |---|---|---|---|
//! | the work is done | counts | counts | counts |
//! | it returns an error, or panics | does not | counts | does not |
//! | its future is dropped | does not | counts | counts |
//! | the process, the connection or the server crashes | does not | counts | counts |
//!
//! A transaction keeps its work and its run together, which is what most jobs need. Use a session lock for work that
//! takes long, or that does something outside of the database which must not happen twice: then it is better not done
//! than done twice. [`inspect::runs`](crate::inspect::runs()) lists what was started; what has no `finished_at`, and
//! whose lock is free, has failed or crashed.
//!
//! Where a job fails, the next replica tries it. Those that wait for the lock do so one after the other, each with the
//! same failure: call `no_wait`.
//!
//! # Compared with `ShedLock`
//!
//! | `ShedLock` | here |
//! |---|---|
//! | `lockAtMostFor`: after that long, the lock is free even if its holder still works | not needed: the lock is a session's, and PostgreSQL frees it when that ends. Work that must hear of it takes a [lease](crate::guide::leases) |
//! | `lockAtLeastFor`: the lock is kept that long, so that a late clock finds it taken | `at_most_every`, which keeps no lock: who comes too early is told when the job is due |
//! | times are those of the client, or `usingDbTime()` | times are the server's |
//! | a row that is locked until a time, whatever has become of the work | a row and a lock: the row tells what was started, and the lock what runs |
//!
//! # What a clock and a failover can do
//!
//! - A start that lies further ahead than the period is not believed: the clock was wrong then, and the job runs.
//! - A clock that jumps forward by more than the period makes the job due too early. One that was set back makes it
//!   wait longer, but never longer than twice the period.
//! - A standby that lags behind does not know the last runs when it is promoted. They are repeated, as everything else
//!   is lost that it had not received. With `synchronous_standby_names`, nothing that was committed is.
//! - A backup that is restored is due for what was run since.
//!
//! What must never happen twice, whatever happens to the database, needs a key that the other side knows, as payment
//! services take one: `("nightly", night)` is such a key.

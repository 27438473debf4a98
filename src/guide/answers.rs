//! Answers to what users of such libraries complain about. There is no code in this module.
//!
//! # The lock was held twice
//!
//! | cause | what happens with this crate |
//! |---|---|
//! | a pooler in transaction mode: the session lock is taken on one server connection, and the work runs on others | [`Error::SharedSession`](crate::Error::SharedSession) or [`NotHeld`](crate::Error::NotHeld), at the latest at the release; `pg-advisory check` finds the pooler before. `advisory` works there: [poolers](crate#poolers) |
//! | two pieces of code on one connection | locks nest in PostgreSQL: the second acquires at once. Give each a connection of its own |
//! | the lock was taken on a standby, which has locks of its own | [`Error::Standby`](crate::Error::Standby), unless you allow it |
//! | the database failed over: locks are not replicated | fence off the old primary; give leaders their [`lock_delay`](crate::Leader::lock_delay), which is on by default; use a [token](crate::FencingToken) |
//! | the connection was lost, and the holder worked on | the commit fails, under `advisory`. A session lock is told at the next statement, a [lease](super::leases) before another can have it |
//! | a process was paused | no lock can know. Let what you write to refuse an old [token](crate::FencingToken) |
//! | another program derives the key in another way | compare the keys: [`LockKey`](crate::LockKey) prints what `pg_locks` shows |
//!
//! # Nobody releases it
//!
//! A lock is free when its transaction or session ends, so somebody's session is alive. Who it is, `inspect`, the
//! [catalog](crate::catalog) and every [`Unavailable`](crate::Unavailable) tell: process id, `application_name`, and
//! since when it is in its state. Usual causes:
//!
//! - *`idle in transaction`*: a client that waits for something else while its transaction is open. Set
//!   `idle_in_transaction_session_timeout`.
//! - *The client's machine is gone*, and the server waits for its network. Set `tcp_keepalives_idle` and
//!   `client_connection_check_interval`, or use a [lease](super::leases), whose session ends by itself.
//! - *A prepared transaction*, which survives restarts: [`Holder::is_prepared_transaction`]. `COMMIT PREPARED` or
//!   `ROLLBACK PREPARED` ends it.
//! - *A session lock in a pool*, which another library left on its connection. Guards of this crate release it when they
//!   are dropped, also by a panic or a cancelled future.
//!
//! To end the holder: `SELECT pg_terminate_backend(pid)`.
//!
//! [`Holder::is_prepared_transaction`]: crate::Holder::is_prepared_transaction
//!
//! # It waits for ever
//!
//! Without a `timeout`, a lock waits for as long as the session's `lock_timeout` lets it, and by PostgreSQL's default
//! that is for ever. Set a timeout for the lock, or `lock_timeout` for all. A holder that waits for a second
//! connection of the same pool is a deadlock that PostgreSQL cannot see: [pools](super#pools).
//!
//! With the feature `tracing`, [`trace::warn_above`](crate::trace) makes long waits warnings.
//!
//! # The pool is empty
//!
//! Who waits for a lock occupies a connection. Set a timeout that is shorter than that of the pool, or use `no_wait`, or
//! a pool of their own for those who may wait: [pools](super#pools).
//!
//! # The future was cancelled
//!
//! By a timeout, a `select!` or a client that went away. If it is dropped while the lock is being acquired or released,
//! or in the transaction of `advisory`, the session ends: nobody can tell what it holds, and what would be sent next must
//! not run without the lock. A guard that is dropped sends the release. What each method does is under *Cancel safety*.
//! With the feature `tracing`, a session that was ended is an event.
//!
//! # Migrations hang
//!
//! - *Another process migrates, or did and hangs*: [`LockedHarness::on_wait`](crate::migrations::LockedHarness) says who,
//!   and `timeout` ends the wait.
//! - *`CREATE INDEX CONCURRENTLY` waits for whoever waits for the lock*: a session that waits inside of a statement has
//!   a snapshot, which it waits for. So processes that wait for migrations here are idle meanwhile, and try again:
//!   [why it polls](crate::migrations#why-it-polls). What waits in `pg_advisory_lock` hangs there.
//! - *`ALTER TABLE` waits for a long transaction*: that is a lock on the table, which `lock_timeout` limits.
//!
//! # Two names have one key
//!
//! Names are hashed to 64 bits: of a thousand names, two share a key with a probability of about 3 in 10¹⁴, of a million
//! with 3 in 10⁸. If two do, they wait for each other without need; nothing is held twice. The view
//! `diesel_advisory.name_collisions` of the [catalog](crate::catalog) shows them. `hashtext`, which is what is often used
//! by hand, has 32 bits: of a million names some hundred share theirs.
//!
//! Numbers collide more easily than names: row 42 of two tables is one key, and some extensions and tools take small
//! numbers themselves. That is why other integers than `i64` are refused: write `("invoice", id)`.
//!
//! # It worked in the test, and not in production
//!
//! Two tests that take the same lock wait for each other, and a test transaction holds it until its end:
//! [testing](super#testing). In production there is a pooler, a proxy or a balancer in between: `pg-advisory check` lets
//! two sessions exclude each other through it, and says which scopes are fit.
//!
//! # Which errors are worth a retry
//!
//! | | |
//! |---|---|
//! | [`Unavailable`](crate::Error::Unavailable) | yes, later: nothing was done |
//! | a serialization failure, a deadlock | yes, the whole `run` |
//! | the connection was lost while the work ran | on a new connection: the transaction was rolled back |
//! | the connection was lost at the commit | look first whether the work is there |
//! | [`Lost`](crate::Error::Lost), [`NotHeld`](crate::Error::NotHeld) | look first what another has done meanwhile |
//! | [`SharedSession`](crate::Error::SharedSession), [`Standby`](crate::Error::Standby), [`InTransaction`](crate::Error::InTransaction) | no: the connection or the code has to change |
//!
//! What each fault does to the lock and the work is in [the table of faults](super#faults).

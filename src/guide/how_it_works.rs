//! What is sent for a lock, and why. There is no code in this module.
//!
//! A round trip is one message to the server and its answer. On a network with round trips of 1 ms it is most of
//! what a lock costs, and while others wait for the lock, it is the time between one holder and the next. So each
//! scope sends as few as it can; the tests count them.
//!
//! # `advisory`: a transaction with a lock
//!
#![doc = include_str!("pictures/transaction.svg")]
//!
//! `BEGIN` and the lock are in one message, the timeout too. The server makes the session wait, and wakes it in the
//! order in which the sessions asked: nothing is polled. PostgreSQL frees the lock after the commit, so that the next
//! holder sees what this one has written.
//!
//! Above read committed, the snapshot of a transaction is fixed by its first statement, which would be the one that
//! waits. So a first transaction waits for the lock, and a second one takes it over and has a snapshot that is newer:
//! [see there](crate::AdvisoryTransaction#above-read-committed). Both are in the same message.
//!
//! With [`no_wait`](crate::AdvisoryTransaction::no_wait), whether the lock is free is an answer and not an error, so
//! that a busy lock does not fill the server's log. That takes a message of its own:
//!
#![doc = include_str!("pictures/no_wait.svg")]
//!
//! # `advisory_xact`: a lock in an open transaction
//!
#![doc = include_str!("pictures/xact.svg")]
//!
//! The savepoint is there because a wait that ends without the lock is an error to PostgreSQL, after which a
//! transaction accepts nothing more. It is undone, and your transaction goes on.
//!
//! # `advisory_session`: a lock for the session
//!
#![doc = include_str!("pictures/session.svg")]
//!
//! The lock is in no transaction, so statements of the work commit when they are done. The session is given a mark
//! together with the lock, and the release looks for it: if another client uses the same session, as behind a pooler
//! in transaction mode, the release says so.
//!
//! # A lease
//!
#![doc = include_str!("pictures/lease_messages.svg")]
//!
//! A session lock whose holder may vanish needs a clock. The server has one, `idle_session_timeout`, and the holder
//! has another that runs out earlier:
//!
#![doc = include_str!("pictures/lease_clock.svg")]
//!
//! The holder counts from when it *sent* the last question that was answered, the server from when it answered, which
//! is later; and the holder stops a tenth of the time to live before that. So it has stopped when another begins, as
//! long as both clocks run at the same rate: [what it does not promise](super::leases#what-a-lease-does-not-promise).
//!
//! # From a name to a key
//!
//! PostgreSQL's locks are on numbers of 64 bits. The key of a name is the first 8 bytes of its BLAKE3 hash, computed
//! in your process, so that no table of names is needed and any program can compute it: `printf %s billing.close_month
//! | b3sum` begins with it. Two names of a thousand share a key with a probability of about 3 in 10¹⁴.
//! [`LockKey::from_name`](crate::LockKey::from_name) says how to find it in `pg_locks`.
//!
//! # Where things can go wrong
//!
//! Everything that is opened on the way to a lock, savepoints, transactions, settings and the lock itself, is undone
//! on every path, by an error, a panic or a dropped future. Where that is impossible, because nobody can tell what the
//! session holds, the session is ended, and PostgreSQL frees what it had. [The table of faults](super#faults) says
//! what comes of each.

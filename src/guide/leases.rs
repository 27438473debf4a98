//! Which lock for how long; what a lease promises, and what it does not. There is no code in this module.
//!
//! # Which lock for how long
//!
//! | the work takes | use | if the holder's connection is lost |
//! |---|---|---|
//! | as long as one transaction | [`advisory(…).run(…)`](crate::AdvisoryConnection::advisory) | the work is rolled back with it: lock and work end together |
//! | seconds or minutes, in several transactions | [`advisory_session(…).run(…)`](crate::AdvisoryConnection::advisory_session) | the holder hears of it at its next statement on that connection, and at the release |
//! | hours, or it must stop when the lock is lost | [`into_advisory_session(…).lease(ttl).run(…)`](crate::AdvisorySession::lease) | the holder hears of it before another can have the lock; async work is dropped |
//! | for as long as the program runs, in one process of many | [`Leader`](crate::Leader), [`AsyncLeader`](crate::AsyncLeader) | it campaigns again; another one leads meanwhile |
//!
//! A transaction is the strongest: nothing can be written without the lock, because what is written commits with
//! it. A lease is for work that goes on beside its lock: schedulers, consumers, pollers.
//!
//! # How a lease works
//!
//! The lock has a connection of its own, whose session is given [`idle_session_timeout`]. It is asked a question
//! in every third of the time to live. A holder that hangs or is cut off asks nothing, the server ends its
//! session, and the lock is free. The holder counts from the moment when it *sent* the last question that was
//! answered, which is before the server begins to count, and it stops to believe in the lease a tenth before the
//! time is up (at least 50 ms). So it has stopped when another begins:
//!
#![doc = include_str!("pictures/lease_clock.svg")]
//!
//! Every question also looks for a random mark that the session was given, and for the timeout. If another session
//! answers, as behind a pooler in transaction mode, or something has changed the timeout, the lease is lost at
//! once. [`HowLost`](crate::HowLost) says which it was.
//!
//! # What a lease does not promise
//!
//! | | what to do |
//! |---|---|
//! | **A paused process is late.** Between a look at [`is_held`](crate::Lease::is_held) and the write after it, a process can be stopped for any time: by the scheduler, by a suspended virtual machine. | Pass the [`token`](crate::Lease::token) along, and let what is written to refuse an older one: see [`FencingToken`](crate::FencingToken). |
//! | **Work that ignores the loss goes on.** Nobody can stop a blocking closure, or a task that async work has spawned. | Look at [`is_held`](crate::Lease::is_held) before each step, or wait for [`lost`](crate::Lease::lost) beside it; start no step that takes longer than [`remaining`](crate::Lease::remaining). |
//! | **A session that dies early frees the lock early**: it was terminated, or the server crashed or failed over. The holder hears of it at its next question, and if it is cut off at the same time, when the time is up. Until then another can hold the lock. | A leader's [`lock_delay`](crate::Leader::lock_delay), which is on by default, excludes it for a crash, a restart and a failover. For a session that was terminated alone, the token tells the two apart. |
//! | **Clocks that are set.** The server's timeouts run on its wall clock. A step forward ends a session early, and a step back delays a takeover by as much. On the holder's own machine, a step forward only ends the lease early. | Slew clocks. The token. |
//! | **Unequal times to live.** Each holder's session has its own, so a lease is right with any; but the lock delay covers only what is shorter than the new leader's own. | The same time to live for all candidates. |
//! | **A standby that missed another promotion** can be promoted to the same timeline, and give tokens again. | Fence off the old primaries, as for all other data. |
//! | **Async work that blocks its thread** for more than 56 % of the time to live (42 % of one of 200 ms, where the 50 ms weigh more) keeps the questions from being asked, `block_in_place` too. | `spawn_blocking`, or a longer time to live. |
//!
//! # Which time to live
//!
//! A takeover takes one time to live, if the holder vanishes without a word. So take the longest that you can
//! wait for: 10 or 15 seconds for most. A short one is lost by a busy machine, which costs only a new term. Below
//! 200 ms it is rounded up.
//!
//! # Leaders
//!
//! A [`Leader`](crate::Leader) is a candidate that asks for the lock in every
//! [`retry`](crate::Leader::retry), and never waits in the server. When it gets the lock, it leads for a term: a lease
//! with a token of its own.
//!
//! | what happens | what it does |
//! |---|---|
//! | the work returns | the lock is released, and `run` returns its result; the others go on |
//! | the lease is lost | async work is dropped; a blocking one is told by its [`Lease`](crate::Lease), and what it returns is dropped. It campaigns again |
//! | the work calls [`resign`](crate::Lease::resign) | it releases the lock, lets another have it, and campaigns again |
//! | `connect` fails, or the server | it tries again, with growing pauses, for as long as it takes |
//! | shutdown | every `Lease` of the term is not held any more, the work is dropped or told, and the lock is released once it has returned |
//!
//! A new leader waits for one time to live after its session's first answer, unless that has passed while it followed:
//! [`lock_delay`](crate::Leader::lock_delay). [`inspect::leader`](crate::inspect::leader) tells from outside who
//! leads.
//!
//! In the words of Kubernetes' client-go:
//!
//! | client-go | here |
//! |---|---|
//! | `LeaseDuration` | [`time_to_live`](crate::Leader::time_to_live) |
//! | `RenewDeadline` | nine tenths of it |
//! | `RetryPeriod` | [`retry`](crate::Leader::retry), for candidates; a leader asks in every third of the time to live |
//! | `ReleaseOnCancel` | always |
//! | `Identity` | [`identity`](crate::Leader::identity) |
//! | `OnStartedLeading`, `OnStoppedLeading`, `OnNewLeader` | [`Change::Leading`](crate::Change::Leading); [`Lost`](crate::Change::Lost) and [`Resigned`](crate::Change::Resigned); [`Following`](crate::Change::Following) |
//!
//! # A lease or `lost`
//!
//! [`AsyncAdvisoryGuard::lost`](crate::AsyncAdvisoryGuard::lost) watches a guard without anything else: the session
//! keeps its settings, and gets no time to live. It tells its holder of a loss, but the server goes on keeping the
//! lock for a client that is cut off, for as long as TCP takes. Use it where the guard's own connection does the
//! work, which a lease's connection cannot; otherwise use a lease.
//!
//! [`idle_session_timeout`]: https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-IDLE-SESSION-TIMEOUT

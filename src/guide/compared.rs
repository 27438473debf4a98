//! Compared with other ways to have a lock, and what they do better. There is no code in this module.
//!
//! As of 2026. The [README] has a table of features beside sqlx and django-pglock, and figures.
//!
//! [README]: https://github.com/OWNER/diesel-advisory#comparison
//!
//! # SQL by hand
//!
//! `SELECT pg_advisory_xact_lock(42)` is all that PostgreSQL needs, and it is the fastest: this crate takes some
//! percent more time on the server.
//!
//! *What it does better*: nothing to depend on; nothing to learn; every statement is yours.
//!
//! *What you write yourself*: where the number comes from, and that no other code has the same; a timeout that does not
//! stay on the session; a savepoint, so that a timeout does not end your transaction; who holds the lock; what to do
//! above read committed, where the snapshot is older than the lock; and in async code, what becomes of the lock when the
//! future is dropped.
//!
//! # sqlx: `PgAdvisoryLock`
//!
//! A session lock for sqlx's connections. The key is derived by HKDF from a name.
//!
//! *What it does better*: it comes with sqlx, so nothing is added; the guard owns or borrows the connection, and
//! `PgAdvisoryLock` itself is a value that can be a constant of the program.
//!
//! *What it does not have*: transaction scope, shared locks, timeouts, and who holds the lock. A guard that is dropped
//! queues the unlock on the connection, and it is sent when the connection is used next or goes back to the pool.
//!
//! # django-pglock
//!
//! Advisory locks for Django, as a context manager and a decorator, and table locks of models.
//!
//! *What it does better*: locks on tables, and ending those who are in the way (`pglock.prioritize`); its models of
//! `pg_locks` are at home in Django's admin.
//!
//! *What is different*: more round trips, above all with a timeout; a session's `lock_timeout` is reset to its default
//! afterwards. Both can share locks: see [`LockKey::django_pglock`](crate::LockKey::django_pglock).
//!
//! # .NET's DistributedLock
//!
//! One interface for locks in SQL Server, PostgreSQL, MySQL, Redis, ZooKeeper, Azure and files. With PostgreSQL it
//! takes advisory locks.
//!
//! *What it does better*: the same program runs on any of these; several locks of a process can share one connection
//! (multiplexing), so that waiting for many locks takes few connections.
//!
//! *What is different*: its `HandleLostToken` tells that the connection is broken. A [lease](crate::Lease) is also told
//! lost when the server is silent for too long, before another can have the lock, and has a fencing token.
//!
//! # ShedLock
//!
//! Keeps scheduled jobs of JVM programs from running twice at a time. A lock is a row with a time until which it is
//! held, in nearly any database.
//!
//! *What it does better*: it holds no connection while the job runs, and works behind any pooler and in databases
//! without advisory locks; `lockAtLeastFor` keeps a short job from running again on a machine whose clock is late.
//!
//! *What is different*: a job that takes longer than `lockAtMostFor` runs twice without hearing of it, and after a
//! crash nobody runs it until that time is over. An advisory lock is free as soon as the server notices that the
//! session is gone. ShedLock does not wait: a lock that is held is skipped.
//!
//! # etcd
//!
//! A store that several machines agree on. Its locks belong to a lease with a time to live, and their revision is a
//! fencing token.
//!
//! *What it does better*: the lock survives the loss of any one machine, without a moment in which two can hold it.
//! PostgreSQL's advisory locks are not replicated: after a failover to a standby all of them are free, and until the
//! old primary is fenced off, both grant them. It can be watched, rather than polled, by any number of clients.
//!
//! *What is different*: a cluster to run, to secure and to back up. Lock and data are in two systems, so that nothing
//! commits or rolls back with the lock, and every write needs the token. A lock that is taken and freed in a
//! transaction of your database takes 2 round trips, which include the work's own `BEGIN` and `COMMIT`.
//!
//! # Consul
//!
//! Like etcd, with sessions that also end when a health check fails, and a `lock-delay` (15 s by default) before a lock
//! that was lost is granted again.
//!
//! *What it does better*: as etcd; and the health of a node and its lock are one thing. A [leader's
//! `lock_delay`](crate::Leader::lock_delay) is named after it.
//!
//! *What is different*: as with etcd.
//!
//! # When to take which
//!
//! | | |
//! |---|---|
//! | what the lock protects is in this PostgreSQL | an advisory lock: lock and work commit together |
//! | it is one row | `SELECT … FOR UPDATE` |
//! | a job that one of several processes should run, now and then | an advisory lock with `no_wait`, or ShedLock where that is at home |
//! | one process leads, and PostgreSQL is there anyway | a [`Leader`](crate::Leader), with tokens where it writes elsewhere |
//! | a lock has to outlive the database, or spans data centers | etcd or Consul, with their tokens |

//! What only shows when sessions try it.

use std::time::{Duration, SystemTime};

use diesel_advisory::{Error, IntoAsyncAdvisorySession as _, Lease};
use diesel_async::AsyncPgConnection;
use tokio_postgres::Client;

use super::finding::Finding;
use super::value;
use crate::exit::Failure;

/// Whether statements of one client run in one session. `second` occupies what a pooler has handed back.
pub(super) async fn of_one_s_own(
    first: &Client,
    second: &Client,
    findings: &mut Vec<Finding>,
) -> Result<bool, Failure> {
    const PID: &str = "SELECT pg_catalog.pg_backend_pid()";
    const ADVICE: &str = "a pooler in transaction mode is in between: connect `pg-advisory run`, leases and \
         session locks directly or through a pooler in session mode. Locks of a transaction work as it is";

    let before = value(first, PID).await?;
    let other = value(second, "BEGIN; SELECT pg_catalog.pg_backend_pid()").await?;
    // Where both have the same one, the first would wait for it.
    let after = if other == before {
        String::new()
    } else {
        value(first, PID).await?
    };
    let _ = second.batch_execute("ROLLBACK").await;
    let own = after == before;
    findings.push(if own {
        Finding::ok(
            "session",
            "all statements of a client run in a session of its own",
        )
    } else {
        Finding::fail(
            "session",
            "two statements of a client run in two sessions, or share one with others",
        )
        .advice(ADVICE)
    });
    Ok(own)
}

/// Whether a lock of one session keeps out another. `CockroachDB` has the functions, and they do nothing.
pub(super) async fn exclude(
    first: &Client,
    second: &Client,
    findings: &mut Vec<Finding>,
) -> Result<bool, Failure> {
    let nanos = SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_nanos();
    let name = format!("pg-advisory check {} {nanos}", std::process::id());
    let diesel_advisory::LockKey::BigInt(key) = diesel_advisory::LockKey::from_name(&name) else {
        return Ok(false);
    };
    // A transaction each, so that it is the lock that is tried, whatever a pooler does.
    let take = format!("BEGIN; SELECT pg_catalog.pg_try_advisory_xact_lock({key})");
    let (mine, theirs) = (value(first, &take).await?, value(second, &take).await?);
    for client in [first, second] {
        let _ = client.batch_execute("ROLLBACK").await;
    }
    let exclude = mine == "t" && theirs == "f";
    findings.push(match (mine.as_str(), theirs.as_str()) {
        ("t", "f") => Finding::ok("exclusion", "two sessions exclude each other"),
        ("t", _) => Finding::fail("exclusion", "two sessions were granted one lock").advice(
            "this is not PostgreSQL, or the two sessions are on two servers: no lock works here",
        ),
        _ => Finding::fail("exclusion", "a lock that nobody has is not granted")
            .advice("this is not PostgreSQL: no lock works here"),
    });
    Ok(exclude)
}

/// Whether the server throws out a client that is silent: what a lease is built on.
pub(super) async fn idle_timeout(client: &Client, findings: &mut Vec<Finding>) {
    const LIMIT: Duration = Duration::from_secs(5);
    const CHECK: &str = "idle_session_timeout";

    if let Err(error) = client
        .batch_execute("SET idle_session_timeout = '200ms'")
        .await
    {
        let message = error
            .as_db_error()
            .map_or_else(|| error.to_string(), |e| e.message().to_owned());
        findings.push(Finding::fail(CHECK, message).advice("a lease needs PostgreSQL 14 or later"));
        return;
    }
    let closed = tokio::time::timeout(LIMIT, async {
        while !client.is_closed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    findings.push(match closed.await {
        Ok(()) => Finding::ok(
            CHECK,
            "the server ends a session that is silent for too long",
        ),
        Err(_) => Finding::fail(
            CHECK,
            "a silent session of 200 ms to live was there after 5 s",
        )
        .advice("something in between keeps the session alive: a lease would outlive its holder"),
    });
}

/// Takes a lease, and a token under it.
pub(super) async fn lease(conn: AsyncPgConnection, findings: &mut Vec<Finding>) {
    let name = format!("pg-advisory check {}", std::process::id());
    let lease = Box::new(conn)
        .into_advisory_session(name)
        .timeout(Duration::from_secs(5))
        .lease(Duration::from_secs(10));
    let token = lease.run(async move |lease: Lease| Ok::<_, Error>(lease.token()));
    match token.await {
        Ok(token) => {
            findings.push(Finding::ok("lease", "a lease can be held"));
            findings.push(match token {
                Ok(token) => Finding::ok("token", format!("there are fencing tokens: {token}")),
                Err(error) => Finding::warn("token", error.to_string()).advice(
                    "commands have no PG_ADVISORY_TOKEN, so a holder that comes too late is not recognized by it",
                ),
            });
        }
        Err(error) => findings.push(Finding::fail("lease", Failure::from(error).message)),
    }
}

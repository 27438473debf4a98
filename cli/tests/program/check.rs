//! `check`, and what `run` says, in front of servers that are fit and that are not.

use std::collections::BTreeMap;

use diesel_advisory_sandbox::{PgBouncer, Sandbox};
use serde_json::Value;

use crate::support::{at, client, done, hold};

/// What was found, by the name of the check, and the exit code.
fn check(url: &str) -> (BTreeMap<String, String>, i32) {
    let done = done(at(url, &["check", "--json"]));
    let found = done.out.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        assert!(!text("message").is_empty());
        (text("check"), text("status"))
    });
    (found.collect(), done.code)
}

/// Where everything has to be installed, its absence is a failure.
fn pgbouncer() -> Option<PgBouncer> {
    let found = PgBouncer::installed();
    if std::env::var_os("DIESEL_ADVISORY_FULL").is_some() {
        return Some(found.unwrap());
    }
    if let Err(error) = &found {
        eprintln!("notice: {error}, so this is not tried");
    }
    found.ok()
}

#[test]
fn a_server_is_fit() {
    let server = Sandbox::builder()
        .setting("client_connection_check_interval", "10s")
        .start()
        .unwrap();
    let (found, code) = check(server.url());
    assert_eq!(code, 0);
    assert!(found.values().all(|status| status == "ok"), "{found:?}");
    for name in [
        "server",
        "session",
        "exclusion",
        "primary",
        "idle_session_timeout",
        "lease",
        "token",
        "lock_timeout",
        "statement_timeout",
        "client_connection_check_interval",
        "tcp_keepalives",
        "max_locks_per_transaction",
        "catalog",
    ] {
        assert!(found.contains_key(name), "{name}: {found:?}");
    }
    assert_eq!(
        done(at(server.url(), &["check"])).out,
        "Fit for `pg-advisory run`.\n"
    );
    let all = done(at(server.url(), &["check", "--all"])).out;
    assert!(
        all.contains("ok    exclusion: two sessions exclude each other"),
        "{all}"
    );
    assert!(all.contains("catalog: not installed"), "{all}");
    assert_eq!(done(at(server.url(), &["install"])).code, 0);
    let all = done(at(server.url(), &["check", "--all"])).out;
    assert!(all.contains("catalog: installed, version 2026"), "{all}");
}

#[test]
fn what_lies_in_wait_is_told() {
    let server = Sandbox::builder()
        .setting("statement_timeout", "1min")
        .setting("lock_timeout", "30s")
        .setting("max_locks_per_transaction", "10")
        .start()
        .unwrap();
    client(&server)
        .batch_execute("CREATE ROLE check_poor LOGIN")
        .unwrap();
    let (found, code) = check(&server.url_as("check_poor", "postgres"));
    assert_eq!(code, 0, "{found:?}");
    for name in [
        "statement_timeout",
        "lock_timeout",
        "max_locks_per_transaction",
        "client_connection_check_interval",
        "rights to see",
        "rights to end",
    ] {
        assert_eq!(found[name], "warn", "{name}");
    }
    let text = done(at(server.url(), &["check"])).out;
    assert!(
        text.contains("warn  statement_timeout: 1min\n      it ends waits"),
        "{text}"
    );
}

#[test]
fn a_standby_is_not_fit() {
    let primary = Sandbox::start().unwrap();
    let standby = primary.standby().start().unwrap();
    let (found, code) = check(standby.url());
    assert_eq!((found["primary"].as_str(), code), ("fail", 1));
}

#[test]
fn pgbouncer_in_session_mode_is_fit() {
    let Some(pgbouncer) = pgbouncer() else {
        return;
    };
    let server = Sandbox::start().unwrap();
    let pooler = pgbouncer
        .setting("pool_mode", "session")
        .in_front_of(&server)
        .unwrap();
    let (found, code) = check(pooler.url());
    assert_eq!((found["session"].as_str(), code), ("ok", 0), "{found:?}");
    let run = done(at(
        pooler.url(),
        &["run", "check-session", "--", "echo", "ran"],
    ));
    assert_eq!((run.code, run.out.as_str()), (0, "ran\n"), "{}", run.err);
}

#[test]
fn pgbouncer_in_transaction_mode_is_not_fit() {
    let Some(pgbouncer) = pgbouncer() else {
        return;
    };
    let server = Sandbox::start().unwrap();
    let pooler = pgbouncer
        .setting("pool_mode", "transaction")
        .in_front_of(&server)
        .unwrap();
    let (found, code) = check(pooler.url());
    assert_eq!((found["session"].as_str(), code), ("fail", 1), "{found:?}");
    assert_eq!(found["exclusion"], "ok");
    let text = done(at(pooler.url(), &["check"])).out;
    assert!(
        text.contains("a pooler in transaction mode is in between"),
        "{text}"
    );

    // One lease at a time in a session: the second one is given the session of the first.
    let _first = hold(pooler.url(), "check-first", &["--ttl", "1s"]);
    let second = ["run", "check-second", "--ttl", "1s", "--", "sleep", "1000"];
    let second = done(at(pooler.url(), &second));
    assert_eq!(second.code, 69, "{}", second.err);
    assert!(
        second.err.contains("a pooler in transaction mode"),
        "{}",
        second.err
    );
}

/// As `CockroachDB` has them.
#[test]
fn functions_that_do_nothing_are_found_out() {
    let server = Sandbox::start().unwrap();
    client(&server)
        .batch_execute(
            "CREATE OR REPLACE FUNCTION pg_catalog.pg_try_advisory_xact_lock(bigint) RETURNS boolean \
             LANGUAGE sql AS 'SELECT true'",
        )
        .unwrap();
    let (found, code) = check(server.url());
    assert_eq!(
        (found["exclusion"].as_str(), code),
        ("fail", 1),
        "{found:?}"
    );
    let text = done(at(server.url(), &["check"])).out;
    assert!(
        text.contains("two sessions were granted one lock"),
        "{text}"
    );
}

//! `kill`: whom it ends, and whom it does not.

use diesel_advisory_sandbox::Sandbox;

use crate::support::{Running, at, client, done, eventually, holder, pids, program};

#[test]
fn without_a_terminal_it_ends_nobody_unless_told_not_to_ask() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    let held = Running::start(program(server, &["run", "kill-ask", "--", "sleep", "1000"]));
    let pid = holder(&mut sql, "kill-ask");
    let refused = done(program(server, &["kill", "kill-ask"]));
    assert_eq!(refused.code, 64, "{}", refused.err);
    assert_eq!(pids(&mut sql, "kill-ask", true), [pid]);

    let killed = done(program(server, &["kill", "kill-ask", "--yes"]));
    assert_eq!(killed.code, 0, "{}", killed.err);
    assert!(killed.out.contains(&pid.to_string()), "{}", killed.out);
    assert!(
        killed.err.contains(&format!("process {pid} is gone")),
        "{}",
        killed.err
    );
    assert!(pids(&mut sql, "kill-ask", true).is_empty());
    assert_eq!(held.end().code, 74);
}

#[test]
fn those_who_wait_live_unless_they_are_meant() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    let name = "kill-waiters";
    let run = || Running::start(program(server, &["run", name, "-q", "--", "sleep", "1000"]));
    let _held = run();
    let first = holder(&mut sql, name);
    let _next = run();
    eventually("it waits", || !pids(&mut sql, name, false).is_empty());
    let second = pids(&mut sql, name, false)[0];
    let pid = first.to_string();
    assert_eq!(done(program(server, &["kill", &pid, "-y"])).code, 0);
    eventually("the next one holds it", || {
        pids(&mut sql, name, true) == [second]
    });
    let _third = run();
    eventually("a third waits", || !pids(&mut sql, name, false).is_empty());
    assert_eq!(
        done(program(server, &["kill", name, "--waiters", "-y"])).code,
        0
    );
    let rest = [pids(&mut sql, name, true), pids(&mut sql, name, false)].concat();
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn who_holds_no_lock_is_not_ended() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    let pid: i32 = sql
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    let kill = done(program(
        server,
        &["kill", &pid.to_string(), "kill-nobody", "-y"],
    ));
    assert_eq!(kill.code, 1);
    assert!(
        kill.err.contains("neither holds nor awaits"),
        "{}",
        kill.err
    );
    assert!(
        kill.err.contains("nobody holds \"kill-nobody\""),
        "{}",
        kill.err
    );
    sql.query_one("SELECT 1", &[]).unwrap();
}

#[test]
fn who_may_not_end_a_session_is_told_so() {
    let server = Sandbox::start().unwrap();
    let mut sql = client(&server);
    sql.batch_execute("CREATE ROLE kill_stranger LOGIN")
        .unwrap();
    let _held = Running::start(program(
        &server,
        &["run", "kill-rights", "--", "sleep", "1000"],
    ));
    let pid = holder(&mut sql, "kill-rights");
    let url = server.url_as("kill_stranger", "postgres");
    let kill = done(at(&url, &["kill", "kill-rights", "-y"]));
    assert_eq!(kill.code, 1);
    assert!(
        kill.err.contains(&format!("process {pid} was not ended")),
        "{}",
        kill.err
    );
    assert_eq!(pids(&mut sql, "kill-rights", true), [pid]);
}

#[test]
fn what_a_prepared_transaction_holds_is_ended_by_somebody_else() {
    let server = Sandbox::builder()
        .setting("max_prepared_transactions", "5")
        .start()
        .unwrap();
    let key = done(program(&server, &["key", "kill-prepared"])).out;
    let (_, key) = key
        .lines()
        .find_map(|line| line.split_once("bigint"))
        .unwrap();
    let take = format!(
        "BEGIN; SELECT pg_advisory_xact_lock({}); PREPARE TRANSACTION 'it''s'",
        key.trim()
    );
    client(&server).batch_execute(&take).unwrap();
    let kill = done(program(&server, &["kill", "kill-prepared", "-y"]));
    assert_eq!(kill.code, 1);
    assert!(
        kill.err.contains("ROLLBACK PREPARED 'it''s'"),
        "{}",
        kill.err
    );
}

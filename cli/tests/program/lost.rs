//! A lease that is lost ends its command.

use std::time::Instant;

use diesel_advisory_sandbox::{Direction, Sandbox};

use crate::support::{LONG, Running, at, client, done, eventually, holder, program, runs};

#[test]
fn a_session_that_is_ended_ends_the_command_by_sigterm() {
    let server = Sandbox::shared();
    let script = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let run = [
        "run",
        "lost-killed",
        "--ttl",
        "1s",
        "--",
        "bash",
        "-c",
        script,
    ];
    let mut run = Running::start(program(server, &run));
    assert_eq!(run.line(), "ready");
    let pid = holder(&mut client(server), "lost-killed");
    server.kill_backend(pid).unwrap();
    let done = run.end();
    assert_eq!((done.code, done.out.as_str()), (74, "told\n"));
    let own = done.err.lines().filter(|line| line.contains("pg-advisory"));
    assert_eq!(own.count(), 1, "{}", done.err);
    assert!(
        done.err
            .contains("the lease of advisory lock \"lost-killed\" is lost"),
        "{}",
        done.err
    );
}

#[test]
fn a_command_that_does_not_obey_is_killed_with_its_group_after_the_grace() {
    let script = "trap '' TERM; sleep 1000 & echo $!; wait; wait";
    assert_kills("lost-grace", script);
}

#[test]
fn what_the_command_has_started_is_killed_though_it_has_gone() {
    // It leaves at once, and what it leaves does not.
    let script = "(trap '' TERM; echo $BASHPID; while :; do sleep 0.01; done) & trap 'exit 0' TERM; \
                  while :; do sleep 0.01; done";
    assert_kills("lost-left", script);
}

/// Asserts that the process whose id the script prints is gone once the lease is lost.
#[track_caller]
fn assert_kills(name: &str, script: &str) {
    let server = Sandbox::shared();
    let options = [
        "--ttl", "1s", "--grace", "200ms", "--", "bash", "-c", script,
    ];
    let args = [&["run", name][..], &options].concat();
    let mut run = Running::start(program(server, &args));
    let started = run.line().parse().unwrap();
    let pid = holder(&mut client(server), name);
    server.kill_backend(pid).unwrap();
    assert_eq!(run.end().code, 74);
    eventually("what it has started is gone", || !runs(started));
}

#[test]
fn a_server_that_does_not_answer_ends_the_command_in_time() {
    let server = Sandbox::shared();
    assert_eq!(done(program(server, &["install"])).code, 0);
    for options in [&[][..], &["--every", "1ms"]] {
        let proxy = server.proxy();
        let args = [
            &["run", "lost-silent", "--ttl", "1s"],
            options,
            &["--", "sh", "-c", "echo ready; exec sleep 1000"],
        ];
        let mut run = Running::start(at(proxy.url(), &args.concat()));
        assert_eq!(run.line(), "ready");
        proxy.swallow(Direction::Both);
        let began = Instant::now();
        let done = run.end();
        assert_eq!(done.code, 74, "{}", done.err);
        assert!(done.err.contains("its time was up"), "{}", done.err);
        assert!(began.elapsed() < LONG / 4, "{:?}", began.elapsed());
    }
}

#[test]
fn a_server_that_does_not_answer_in_the_end_is_no_reason_to_wait() {
    let server = Sandbox::shared();
    let proxy = server.proxy();
    let script = "echo ready; read -r line < $0; exit 0";
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let fifo = fifo.to_str().unwrap();
    let run = [
        "run",
        "lost-late",
        "--ttl",
        "2s",
        "--",
        "sh",
        "-c",
        script,
        fifo,
    ];
    let mut run = Running::start(at(proxy.url(), &run));
    assert_eq!(run.line(), "ready");
    proxy.swallow(Direction::Both);
    std::fs::write(fifo, "go on\n").unwrap();
    let done = run.end();
    assert_eq!(done.code, 74, "{}", done.err);
}

#[test]
fn a_process_that_was_stopped_for_too_long_has_lost_its_lease() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    let script = "echo ready; exec sleep 1000";
    let run = [
        "run",
        "lost-stopped",
        "--ttl",
        "300ms",
        "--",
        "sh",
        "-c",
        script,
    ];
    let mut run = Running::start(program(server, &run));
    assert_eq!(run.line(), "ready");
    run.signal("STOP");
    eventually("the server has freed the lock", || {
        crate::support::pids(&mut sql, "lost-stopped", true).is_empty()
    });
    run.signal("CONT");
    assert_eq!(run.end().code, 74);
}

#[test]
fn a_server_that_crashes_ends_the_command() {
    let server = Sandbox::start().unwrap();
    let script = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let run = [
        "run",
        "lost-crash",
        "--ttl",
        "2s",
        "--",
        "bash",
        "-c",
        script,
    ];
    let mut run = Running::start(program(&server, &run));
    assert_eq!(run.line(), "ready");
    let pid = holder(&mut client(&server), "lost-crash");
    server.crash_backend(pid).unwrap();
    let done = run.end();
    assert_eq!(
        (done.code, done.out.as_str()),
        (74, "told\n"),
        "{}",
        done.err
    );
}

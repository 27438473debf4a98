//! Signals to the program, and the end of its parts by SIGKILL.

use std::process::Command;

use diesel_advisory_sandbox::Sandbox;

use crate::support::{Running, client, eventually, holder, pids, program, runs, signal};

/// Does something for a signal, and goes on until then.
fn trap(name: &str) -> String {
    format!("trap 'echo got {name}; exit 3' {name}; echo ready; while :; do sleep 0.01; done")
}

#[test]
fn signals_reach_the_command() {
    let server = Sandbox::shared();
    for name in ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH"] {
        let lock = format!("signal-{name}");
        let script = trap(name);
        let mut run = Running::start(program(
            server,
            &["run", &lock, "--", "bash", "-c", &script],
        ));
        assert_eq!(run.line(), "ready");
        run.signal(name);
        let done = run.end();
        assert_eq!(
            (done.code, done.out.as_str()),
            (3, format!("got {name}\n").as_str())
        );
    }
}

#[test]
fn signals_reach_the_whole_group_of_the_command() {
    let server = Sandbox::shared();
    let script = "sleep 1000 & echo $!; wait";
    let mut run = Running::start(program(
        server,
        &["run", "signal-group", "--", "sh", "-c", script],
    ));
    let grandchild = run.line().parse().unwrap();
    assert!(runs(grandchild));
    run.signal("TERM");
    assert_eq!(run.end().code, 143);
    eventually("the grandchild is gone", || !runs(grandchild));
}

#[test]
fn a_signal_to_the_program_s_own_group_reaches_the_command_once() {
    let server = Sandbox::shared();
    let script = "trap 'echo got' USR1; echo ready; while :; do sleep 0.01; done";
    let run = program(
        server,
        &["run", "signal-own-group", "--", "bash", "-c", script],
    );
    let mut alone = Command::new("setsid");
    alone
        .arg("--wait")
        .arg(run.get_program())
        .args(run.get_args());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => alone.env(name, value),
            None => alone.env_remove(name),
        };
    }
    let mut run = Running::start(alone);
    assert_eq!(run.line(), "ready");
    let mut sql = client(server);
    holder(&mut sql, "signal-own-group");
    // setsid forks where it leads a group itself; what it has started leads one now.
    let find = format!("ps -o pid= --ppid {} | tr -d ' '", run.pid());
    let found = Command::new("sh").args(["-c", &find]).output().unwrap();
    let child = String::from_utf8(found.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap_or(run.pid());
    assert!(signal("USR1", -child));
    assert_eq!(run.line(), "got");
    assert!(signal("TERM", -child));
    let done = run.end();
    assert_eq!(done.out, "", "once");
}

#[test]
fn a_signal_that_is_ignored_stays_so() {
    let server = Sandbox::shared();
    let run = program(
        server,
        &[
            "run",
            "signal-nohup",
            "--",
            "sh",
            "-c",
            "grep SigIgn /proc/self/status; kill -HUP $$; echo lives",
        ],
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    shell.arg(run.get_program()).args(run.get_args());
    shell.env("DATABASE_URL", server.url());
    let done = Running::start(shell).end();
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.ends_with("lives\n"), "{}", done.out);
}

#[test]
fn a_signal_ends_a_wait_and_leaves_nobody_in_the_queue() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    let hold = ["run", "signal-wait", "--", "sleep", "1000"];
    let _held = Running::start(program(server, &hold));
    holder(&mut sql, "signal-wait");
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
        let next = Running::start(program(
            server,
            &["run", "signal-wait", "--", "echo", "ran"],
        ));
        eventually("it waits", || {
            !pids(&mut sql, "signal-wait", false).is_empty()
        });
        next.signal(name);
        let done = next.end();
        assert_eq!((done.code, done.out.as_str()), (code, ""));
        eventually("nobody waits", || {
            pids(&mut sql, "signal-wait", false).is_empty()
        });
    }
}

#[test]
fn the_command_does_not_outlive_the_program() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    let script = "echo $$; exec sleep 1000";
    let mut run = Running::start(program(
        server,
        &["run", "signal-kill", "--", "sh", "-c", script],
    ));
    let command = run.line().parse().unwrap();
    run.signal("KILL");
    eventually("the command is gone", || !runs(command));
    eventually("the lock is free", || {
        pids(&mut sql, "signal-kill", true).is_empty()
    });
}

#[test]
fn a_command_that_is_killed_frees_the_lock() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    let script = "echo $$; exec sleep 1000";
    let mut run = Running::start(program(
        server,
        &["run", "signal-command", "--", "sh", "-c", script],
    ));
    assert!(signal("KILL", run.line().parse().unwrap()));
    assert_eq!(run.end().code, 137);
    assert!(pids(&mut sql, "signal-command", true).is_empty());
}

//! Every exit code but that of a lease that was lost.

use diesel_advisory_sandbox::Sandbox;

use crate::support::{at, bare, done, hold, program};

#[test]
fn the_command_s_own_code_is_the_program_s() {
    let server = Sandbox::shared();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255)] {
        let run = ["run", "exit-own", "--", "sh", "-c", script];
        assert_eq!(done(program(server, &run)).code, code);
    }
}

#[test]
fn a_command_that_a_signal_ends_is_128_and_its_number() {
    let server = Sandbox::shared();
    for (name, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139)] {
        let script = format!("kill -{name} $$");
        let run = ["run", "exit-signal", "--", "sh", "-c", &script];
        assert_eq!(done(program(server, &run)).code, code, "{name}");
    }
}

#[test]
fn a_command_that_cannot_be_executed_is_told_as_shells_do() {
    let server = Sandbox::shared();
    for (command, code) in [
        ("/no/such/command", 127),
        ("no-such-command", 127),
        ("/etc/passwd", 126),
    ] {
        let done = done(program(server, &["run", "exit-exec", "--", command]));
        assert_eq!(done.code, code, "{command}");
        assert!(done.err.contains(command), "{}", done.err);
    }
}

#[test]
fn a_lock_that_cannot_be_had_is_75_or_what_was_asked_for() {
    let server = Sandbox::shared();
    let _held = hold(server.url(), "exit-busy", &[]);
    for (options, code) in [
        (&["--no-wait"][..], 75),
        (&["--wait", "50ms"], 75),
        (&["--no-wait", "-E", "0"], 0),
        (&["--shared", "-n", "-E", "9", "-q"], 9),
    ] {
        let mut run = vec!["run", "exit-busy"];
        run.extend(options);
        run.extend(["--", "echo", "ran"]);
        let done = done(program(server, &run));
        assert_eq!((done.code, done.out.as_str()), (code, ""), "{options:?}");
        assert_eq!(
            done.err.contains("held by pid"),
            !options.contains(&"-q"),
            "{}",
            done.err
        );
    }
}

#[test]
fn those_who_share_a_lock_run_together() {
    let server = Sandbox::shared();
    let _held = hold(server.url(), "exit-shared", &["-s"]);
    let run = |options: &[&str]| {
        let args = [&["run", "exit-shared"], options, &["--", "true"]].concat();
        done(program(server, &args)).code
    };
    assert_eq!(run(&["--shared", "--no-wait"]), 0);
    assert_eq!(run(&["--no-wait"]), 75);
}

#[test]
fn wrong_usage_is_64() {
    for args in [
        &[][..],
        &["no-such-command"],
        &["run", "name"],
        &["run", "name", "true"],
        &["run", "", "--", "true"],
        &["run", "name", "--wait", "soon", "--", "true"],
        &["run", "name", "--wait", "1s", "--no-wait", "--", "true"],
        &["run", "name", "--ttl", "10ms", "--", "true"],
        &["run", "name", "-d", "host=h no-such-option=1", "--", "true"],
        &["kill"],
        &["key"],
    ] {
        let done = done(bare(args));
        assert_eq!(done.code, 64, "{args:?}: {}", done.err);
        assert!(!done.err.is_empty(), "{args:?}");
    }
}

#[test]
fn help_is_no_failure() {
    for args in [
        &["--help"][..],
        &["-?"],
        &["--version"],
        &["-V"],
        &["run", "--help"],
        &["check", "-?"],
    ] {
        let done = done(bare(args));
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{args:?}");
    }
    let long = done(bare(&["run", "--help"])).out;
    assert!(long.contains("Examples:") && long.len() > done(bare(&["run", "-?"])).out.len());
}

#[test]
fn a_server_that_cannot_be_reached_is_69() {
    for args in [
        &["run", "name", "-h", "127.0.0.1", "-p", "1", "--", "true"][..],
        &["run", "name", "-h", "/no/such/folder", "--", "true"],
        &["who", "-d", "postgres://127.0.0.1:1/db"],
        &["kill", "name", "-d", "postgres://127.0.0.1:1/db"],
        &["check", "-d", "postgres://127.0.0.1:1/db"],
    ] {
        assert_eq!(done(bare(args)).code, 69, "{args:?}");
    }
}

#[test]
fn who_is_not_let_in_is_told_so() {
    let server = Sandbox::shared();
    for url in [
        server.url_as("nobody-here", "postgres"),
        server.url_as("postgres", "no-such-database"),
    ] {
        let done = done(at(&url, &["run", "name", "--", "true"]));
        assert_eq!(done.code, 77, "{}", done.err);
    }
}

#[test]
fn a_standby_is_no_server_for_a_lock() {
    let primary = Sandbox::start().unwrap();
    let standby = primary.standby().start().unwrap();
    let done = done(program(&standby, &["run", "name", "--", "true"]));
    assert_eq!(done.code, 69);
    assert!(done.err.contains("the server is a standby"), "{}", done.err);
}

#[test]
fn a_wait_that_the_server_ends_is_75() {
    let server = Sandbox::shared();
    let _held = hold(server.url(), "exit-timeout", &[]);
    let mut run = program(server, &["run", "exit-timeout", "--", "true"]);
    run.env("PGOPTIONS", "-c statement_timeout=100ms");
    let done = done(run);
    assert_eq!(done.code, 75, "{}", done.err);
    assert!(done.err.contains("statement timeout"), "{}", done.err);
}

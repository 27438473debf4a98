//! What a command has of `run`, and when it is not started.

use std::io::Write as _;
use std::process::Stdio;

use diesel_advisory_sandbox::Sandbox;

use crate::support::{
    Done, Running, at, bare, client, done, eventually, hold, holder, pids, program,
};

#[test]
fn standard_streams_are_the_command_s_own() {
    let server = Sandbox::shared();
    let mut run = program(
        server,
        &["run", "streams", "--", "sh", "-c", "cat; echo told >&2"],
    );
    let run = run
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = run.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"some\0bytes\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"some\0bytes\n");
    assert_eq!(output.stderr, b"told\n");
}

#[test]
fn the_environment_tells_of_the_lease_and_of_no_password() {
    let server = Sandbox::shared();
    let url = server
        .url()
        .replacen("postgres@", "postgres:hush%2Fhush@", 1);
    let env = |options: &[&str]| {
        let args = [
            &["run", "environment", "--ttl", "1500ms"],
            options,
            &["--", "env"],
        ]
        .concat();
        let mut run = at(&url, &args);
        run.env("PGPASSWORD", "hush-hush");
        done(run).out
    };
    let text = env(&[]);
    for line in ["PG_ADVISORY_NAME=environment", "PG_ADVISORY_TTL=1.5"] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    let token = text
        .lines()
        .find_map(|line| line.strip_prefix("PG_ADVISORY_TOKEN="));
    assert_eq!(token.unwrap().len(), 32);
    assert!(!text.contains("hush"), "{text}");
    assert!(text.contains("DATABASE_URL=postgres://postgres@"), "{text}");
    let kept = env(&["--keep-password"]);
    assert!(
        kept.contains("PGPASSWORD=hush-hush") && kept.contains(&url),
        "{kept}"
    );
}

#[test]
fn a_later_holder_has_a_larger_token() {
    let server = Sandbox::shared();
    let token = || {
        let print = ["run", "tokens", "--", "sh", "-c", "echo $PG_ADVISORY_TOKEN"];
        done(program(server, &print)).out
    };
    let (first, second) = (token(), token());
    assert!(first < second, "{first} {second}");
}

#[test]
fn the_command_does_not_inherit_the_connection() {
    let server = Sandbox::shared();
    let list = ["run", "descriptors", "--", "sh", "-c", "ls -l /proc/$$/fd"];
    let text = done(program(server, &list)).out;
    assert!(!text.contains("socket:"), "{text}");
}

#[test]
fn a_password_of_the_command_line_is_not_in_the_list_of_processes() {
    let server = Sandbox::shared();
    let url = server.url().replacen("postgres@", "postgres:hush-hush@", 1);
    let show = [
        "run",
        "ps",
        "-d",
        &url,
        "--",
        "sh",
        "-c",
        "tr '\\0' ' ' </proc/$PPID/cmdline; env",
    ];
    let Done { code, out, .. } = done(bare(&show));
    assert_eq!(code, 0);
    assert!(out.contains("run ps -d") && !out.contains("hush"), "{out}");
}

#[test]
fn run_has_one_session() {
    let server = Sandbox::start().unwrap();
    let _run = hold(server.url(), "one", &[]);
    let query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
                 AND pid <> pg_backend_pid()";
    let count: i64 = client(&server).query_one(query, &[]).unwrap().get(0);
    assert_eq!(count, 1);
}

#[test]
fn who_waits_is_told_for_whom_unless_quiet() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    let _held = hold(server.url(), "told", &[]);
    let pid = holder(&mut sql, "told");
    let told = done(program(
        server,
        &["run", "told", "--wait", "2500ms", "--", "true"],
    ));
    let line =
        format!("waiting for \"told\" for 1s: held by pid {pid} (pg-advisory told) for at most");
    assert!(told.err.contains(&line), "{}", told.err);
    let quiet = done(program(
        server,
        &["run", "told", "--wait", "2500ms", "-q", "--", "true"],
    ));
    assert_eq!((quiet.code, quiet.err.as_str()), (75, ""));
}

#[test]
fn who_waits_runs_when_the_lock_is_free() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    let held = hold(server.url(), "handed-on", &[]);
    let next = Running::start(program(server, &["run", "handed-on", "--", "echo", "mine"]));
    eventually("the next one waits", || {
        !pids(&mut sql, "handed-on", false).is_empty()
    });
    held.signal("TERM");
    assert_eq!(held.end().code, 143);
    let next = next.end();
    assert_eq!((next.code, next.out.as_str()), (0, "mine\n"));
}

#[test]
fn every_and_once_start_a_command_no_more_often() {
    let server = Sandbox::start().unwrap();
    let run = |options: &[&str], command: &str| {
        let args = [&["run", options[0]], &options[1..], &["--", command]].concat();
        done(program(&server, &args))
    };
    let without = run(&["job", "--every", "1h"], "true");
    assert_eq!(without.code, 78);
    assert!(
        without.err.contains("pg-advisory install"),
        "{}",
        without.err
    );
    assert_eq!(done(program(&server, &["install"])).code, 0);

    assert_eq!(run(&["job", "--every", "1h"], "true").code, 0);
    let again = run(&["job", "--every", "1h"], "true");
    assert_eq!(again.code, 75);
    assert!(again.err.contains("\"job\" is not due"), "{}", again.err);
    assert_eq!(run(&["job", "--every", "1h", "-E", "3"], "true").code, 3);
    assert_eq!(run(&["job", "--every", "1ms"], "true").code, 0);

    assert_eq!(run(&["first", "--once", "--retry-failed"], "false").code, 1);
    assert_eq!(run(&["first", "--once"], "false").code, 1);
    assert_eq!(run(&["first", "--once"], "true").code, 75);
}

#[test]
fn permits_are_for_so_many() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    let run = |options: &[&str], script: &str| {
        let args = [
            &["run", "permits", "--permits", "2"],
            options,
            &["--", "sh", "-c", script],
        ];
        program(server, &args.concat())
    };
    let hold = || hold(server.url(), "permits", &["--permits", "2"]);
    let (first, second) = (hold(), hold());
    assert_eq!(done(run(&["--no-wait"], "true")).code, 75);

    let third = Running::start(run(&["--wait", "60s"], "echo ran"));
    let table = || done(program(server, &["who", "permits"])).out;
    eventually("the third is at the gate", || {
        table().contains("permits (gate)")
    });
    let shown = table();
    assert!(
        shown.contains("permits (permit 1)") && shown.contains("permits (permit 2)"),
        "{shown}"
    );
    first.signal("TERM");
    let third = third.end();
    assert_eq!(
        (third.code, third.out.as_str()),
        (0, "ran\n"),
        "{}",
        third.err
    );
    assert!(
        pids(&mut sql, "permits", true).is_empty(),
        "the lock without permits is another"
    );

    let killed = done(program(server, &["kill", "permits", "-y"]));
    assert_eq!(killed.code, 0, "{}", killed.err);
    assert_eq!(second.end().code, 74);
}

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use diesel_advisory_sandbox::{Error, Sandbox};
use postgres::error::SqlState;
use postgres::{Client, NoTls};

use crate::{backend_pid, connect, folder_of, show, wait_until};

/// Our own program, in a process of its own.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diesel-advisory-sandbox"));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn owner_of_a_server() -> (Child, String) {
    let mut owner = program().spawn().unwrap();
    let mut url = String::new();
    BufReader::new(owner.stdout.as_mut().unwrap())
        .read_line(&mut url)
        .unwrap();
    assert!(!url.is_empty(), "the program started no server");
    (owner, url.trim_end().to_owned())
}

#[test]
fn is_the_version_it_says() {
    let sandbox = Sandbox::shared();
    let number = show(&mut connect(sandbox.url()), "server_version_num");
    assert_eq!(number.parse::<u32>().unwrap() / 10_000, sandbox.version());
}

#[test]
fn is_unlike_any_other() {
    let folders: Vec<_> = thread::scope(|scope| {
        let starts = [(); 3].map(|()| scope.spawn(|| Sandbox::start().unwrap()));
        let sandboxes = starts.map(|start| start.join().unwrap());
        sandboxes
            .iter()
            .map(|sandbox| folder_of(sandbox.url()))
            .collect()
    });
    assert!(folders[0] != folders[1] && folders[1] != folders[2] && folders[2] != folders[0]);
}

#[test]
fn takes_settings() {
    let sandbox = Sandbox::builder()
        .setting("deadlock_timeout", "77ms")
        .setting("application_name", r"it's a \")
        .setting("max_connections", "20")
        .start()
        .unwrap();
    let mut client = connect(sandbox.url());
    assert_eq!(show(&mut client, "deadlock_timeout"), "77ms");
    assert_eq!(show(&mut client, "application_name"), r"it's a \");
    assert_eq!(show(&mut client, "max_connections"), "20");
}

#[test]
fn shows_the_log_if_it_cannot_start() {
    let error = Sandbox::builder()
        .setting("max_connections", "many")
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::Server { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.starts_with("the throwaway PostgreSQL failed to start"),
        "{text}"
    );
    assert!(
        text.contains(r#"invalid value for parameter "max_connections""#),
        "{text}"
    );
}

#[test]
fn connects_other_users_to_other_databases() {
    let sandbox = Sandbox::shared();
    let mut client = connect(sandbox.url());
    client
        .batch_execute(r#"CREATE ROLE "a@b/c" LOGIN"#)
        .unwrap();
    client.batch_execute(r#"CREATE DATABASE "ä?b&c""#).unwrap();
    let row = connect(&sandbox.url_as("a@b/c", "ä?b&c"))
        .query_one("SELECT current_user::text, current_database()::text", &[])
        .unwrap();
    assert_eq!((row.get(0), row.get(1)), ("a@b/c", "ä?b&c"));
}

#[test]
fn is_gone_when_dropped() {
    let sandbox = Sandbox::start().unwrap();
    let url = sandbox.url().to_owned();
    let folder = folder_of(&url);
    let _busy = connect(&url);
    assert!(folder.exists());
    drop(sandbox);
    assert!(!folder.exists());
    assert!(Client::connect(&url, NoTls).is_err());
}

#[test]
fn is_gone_when_dropped_crashed_or_stopped() {
    for end in [Sandbox::crash, Sandbox::stop] {
        let sandbox = Sandbox::start().unwrap();
        let folder = folder_of(sandbox.url());
        end(&sandbox).unwrap();
        drop(sandbox);
        assert!(!folder.exists());
    }
}

#[test]
fn is_gone_when_its_owner_was_killed() {
    let (mut owner, url) = owner_of_a_server();
    let folder = folder_of(&url);
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until("the folder is gone", || !folder.exists());
    assert!(Client::connect(&url, NoTls).is_err());
}

#[test]
fn does_not_hold_what_its_owner_wrote_to() {
    let (mut owner, url) = owner_of_a_server();
    let mut client = connect(&url);
    owner.kill().unwrap();
    owner.wait().unwrap();
    // Ends at once, and not when all who inherited the pipe have closed it.
    let mut output = Vec::new();
    owner
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut output)
        .unwrap();
    owner
        .stderr
        .take()
        .unwrap()
        .read_to_end(&mut output)
        .unwrap();
    wait_until("the server is gone", || {
        client.is_valid(crate::SECOND).is_err()
    });
}

#[test]
fn a_command_finds_it_in_the_environment() {
    let output = program()
        .args(["sh", "-c", "echo $DATABASE_URL; exit 3"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let url = String::from_utf8(output.stdout).unwrap();
    assert!(
        url.starts_with("postgres://postgres@/postgres?host=%2F"),
        "{url}"
    );
}

#[test]
fn a_folder_without_a_server_is_an_error() {
    for folder in ["/nonexistent", "/usr/bin"] {
        let output = program()
            .env("DIESEL_ADVISORY_PG_BIN", folder)
            .output()
            .unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        let expected = format!("error: DIESEL_ADVISORY_PG_BIN is {folder}, where initdb,");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn recovers_from_a_crash() {
    let sandbox = Sandbox::start().unwrap();
    let mut client = connect(sandbox.url());
    client
        .batch_execute("CREATE TABLE kept (); CREATE UNLOGGED TABLE lost AS SELECT 1")
        .unwrap();
    let mut busy = connect(sandbox.url());
    thread::scope(|scope| {
        let busy = scope.spawn(move || busy.batch_execute("SELECT pg_sleep(60)"));
        wait_until("it is busy", || {
            let count = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            client.query_one(count, &[]).unwrap().get::<_, i64>(0) == 1
        });
        sandbox.crash().unwrap();
        let error = busy.join().unwrap().unwrap_err();
        assert!(error.code().is_none(), "{error:?}");
    });
    assert!(Client::connect(sandbox.url(), NoTls).is_err());
    sandbox.crash().unwrap();

    sandbox.start_again().unwrap();
    sandbox.start_again().unwrap();
    let mut client = connect(sandbox.url());
    client.batch_execute("SELECT FROM kept").unwrap();
    // Emptied by a recovery, but not by a start after an orderly stop.
    assert!(client.query("SELECT FROM lost", &[]).unwrap().is_empty());
}

#[test]
fn leaves_nothing_of_a_crashed_server() {
    let sandbox = Sandbox::start().unwrap();
    let folder = folder_of(sandbox.url());
    let postmaster = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    sandbox.crash().unwrap();
    drop(sandbox);
    let segment = postmaster
        .lines()
        .nth(6)
        .unwrap()
        .split_whitespace()
        .last()
        .unwrap();
    // Only Linux has this file.
    let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let left = segments
        .lines()
        .any(|line| line.split_whitespace().nth(1) == Some(segment));
    assert!(!left, "{segments}");
}

#[test]
fn restarts_with_the_data_it_had() {
    let sandbox = Sandbox::start().unwrap();
    let mut client = connect(sandbox.url());
    client
        .batch_execute("CREATE UNLOGGED TABLE kept AS SELECT 1")
        .unwrap();
    sandbox.restart().unwrap();
    assert!(client.is_valid(crate::SECOND).is_err());
    assert_eq!(
        connect(sandbox.url())
            .query("SELECT FROM kept", &[])
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn kills_one_backend() {
    let sandbox = Sandbox::shared();
    let (mut victim, mut other) = (connect(sandbox.url()), connect(sandbox.url()));
    let pid = backend_pid(&mut victim);
    sandbox.kill_backend(pid).unwrap();
    let left = "SELECT FROM pg_stat_activity WHERE pid = $1";
    assert!(other.query(left, &[&pid]).unwrap().is_empty());
    let error = victim.batch_execute("SELECT 1").unwrap_err();
    // The client may find the connection closed before it reads why.
    assert!(
        error
            .code()
            .is_none_or(|code| *code == SqlState::ADMIN_SHUTDOWN),
        "{error:?}"
    );
    assert!(sandbox.kill_backend(pid).is_err());
}

#[test]
fn kills_nothing_but_backends() {
    let sandbox = Sandbox::shared();
    let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
    let pid_file = folder_of(sandbox.url()).join("data/postmaster.pid");
    let postmaster = fs::read_to_string(pid_file).unwrap();
    let postmaster = postmaster.lines().next().unwrap().parse().unwrap();
    for pid in [i32::try_from(stranger.id()).unwrap(), postmaster, 1, 0, -1] {
        assert!(sandbox.kill_backend(pid).is_err(), "{pid}");
    }
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_number_that_became_anothers_is_left_alone() {
    let sandbox = Sandbox::start().unwrap();
    let folder = folder_of(sandbox.url());
    sandbox.crash().unwrap();
    let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
    let pid_file = folder.join("data/postmaster.pid");
    fs::write(
        pid_file,
        format!("{}\n{}\n", stranger.id(), folder.join("data").display()),
    )
    .unwrap();
    sandbox.stop().unwrap();
    drop(sandbox);
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(!Path::new(&folder).exists());
}

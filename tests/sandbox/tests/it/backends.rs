use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use diesel_advisory_sandbox::{Sandbox, signal};
use postgres::{Client, NoTls};

use crate::{backend_pid, connect, wait_until};

#[test]
fn recovers_when_a_backend_was_killed() {
    let sandbox = Sandbox::start().unwrap();
    let (mut victim, mut other) = (connect(sandbox.url()), connect(sandbox.url()));
    other
        .batch_execute("CREATE UNLOGGED TABLE lost AS SELECT 1")
        .unwrap();
    let pid = backend_pid(&mut victim);
    sandbox.crash_backend(pid).unwrap();
    assert!(victim.batch_execute("SELECT 1").is_err());
    wait_until("the others are disconnected", || {
        other.is_valid(Duration::from_secs(1)).is_err()
    });
    wait_until("it has recovered", || {
        Client::connect(sandbox.url(), NoTls).is_ok()
    });
    let rows = connect(sandbox.url()).query("SELECT FROM lost", &[]);
    assert!(rows.unwrap().is_empty());
    assert!(sandbox.crash_backend(pid).is_err());
}

#[test]
fn recovers_when_it_was_stopped_at_once() {
    let sandbox = Sandbox::start().unwrap();
    connect(sandbox.url())
        .batch_execute("CREATE TABLE kept (); CREATE UNLOGGED TABLE lost AS SELECT 1")
        .unwrap();
    sandbox.stop_immediately().unwrap();
    sandbox.stop_immediately().unwrap();
    assert!(Client::connect(sandbox.url(), NoTls).is_err());
    sandbox.start_again().unwrap();
    let mut client = connect(sandbox.url());
    client.batch_execute("SELECT FROM kept").unwrap();
    assert!(client.query("SELECT FROM lost", &[]).unwrap().is_empty());
}

#[test]
fn does_nothing_while_it_is_frozen() {
    let sandbox = Sandbox::shared();
    let mut client = connect(sandbox.url());
    let pid = backend_pid(&mut client);
    let frozen = sandbox.freeze_backend(pid).unwrap();
    thread::scope(|scope| {
        let asked = scope.spawn(|| client.batch_execute("SELECT 1"));
        thread::sleep(Duration::from_millis(50));
        assert!(!asked.is_finished());
        drop(frozen);
        asked.join().unwrap().unwrap();
    });
    sandbox.kill_backend(pid).unwrap();
    assert!(sandbox.freeze_backend(pid).is_err());
}

#[test]
fn is_gone_with_what_is_frozen() {
    let sandbox = Sandbox::start().unwrap();
    let mut client = connect(sandbox.url());
    let frozen = sandbox.freeze_backend(backend_pid(&mut client)).unwrap();
    std::mem::forget(frozen);
    let folder = crate::folder_of(sandbox.url());
    drop(sandbox);
    assert!(!folder.exists());
    assert!(client.batch_execute("SELECT 1").is_err());
}

#[test]
fn signals_any_process() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let is_stopped = || {
        // Only Linux has this file.
        fs::read_to_string(&status).map_or(true, |status| status.contains("State:\tT"))
    };
    signal(child.id(), "STOP");
    wait_until("it is stopped", is_stopped);
    signal(child.id(), "KILL");
    assert!(!child.wait().unwrap().success());
}

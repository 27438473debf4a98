use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use diesel_advisory_sandbox::{Proxy, Sandbox};
use postgres::{Client, NoTls};

use crate::{connect, wait_until};

/// The round trips and the SQL of some work.
fn observe(proxy: &Proxy, work: impl FnOnce()) -> (usize, Vec<String>) {
    proxy.reset();
    work();
    (proxy.round_trips(), proxy.sent())
}

#[test]
fn counts_a_connection_once() {
    let proxy = Sandbox::shared().proxy();
    let counted = observe(&proxy, || connect(proxy.url()).close().unwrap());
    assert_eq!(counted, (1, vec![]));
}

#[test]
fn counts_bursts_that_are_answered() {
    let proxy = Sandbox::shared().proxy();
    let mut client = connect(proxy.url());

    let counted = observe(&proxy, || client.batch_execute("SELECT 1").unwrap());
    assert_eq!(counted, (1, vec!["SELECT 1".to_owned()]));

    let counted = observe(&proxy, || {
        client.batch_execute("BEGIN; SELECT 1; COMMIT").unwrap();
    });
    assert_eq!(counted, (1, vec!["BEGIN; SELECT 1; COMMIT".to_owned()]));

    let counted = observe(&proxy, || {
        client.batch_execute("BEGIN").unwrap();
        client.batch_execute("COMMIT").unwrap();
    });
    assert_eq!(counted, (2, vec!["BEGIN".to_owned(), "COMMIT".to_owned()]));

    let counted = observe(&proxy, || {
        assert!(client.batch_execute("nonsense").is_err());
    });
    assert_eq!(counted, (1, vec!["nonsense".to_owned()]));
}

#[test]
fn counts_the_extended_protocol() {
    let proxy = Sandbox::shared().proxy();
    let mut client = connect(proxy.url());
    let mut statement = None;
    let counted = observe(&proxy, || {
        statement = Some(client.prepare("SELECT $1::int").unwrap());
    });
    assert_eq!(counted, (1, vec!["SELECT $1::int".to_owned()]));
    let statement = statement.unwrap();
    let counted = observe(&proxy, || {
        for number in 0..10 {
            let row = client.query_one(&statement, &[&number]).unwrap();
            assert_eq!(row.get::<_, i32>(0), number);
        }
    });
    assert_eq!(counted, (10, vec![]));
}

#[test]
fn counts_large_messages_once() {
    let proxy = Sandbox::shared().proxy();
    let mut client = connect(proxy.url());
    let large = format!(
        "SELECT repeat('x', 1000000) /* {} */",
        "y".repeat(3_000_000)
    );
    let counted = observe(&proxy, || client.batch_execute(&large).unwrap());
    assert_eq!(counted, (1, vec![large]));
}

#[test]
fn counts_bursts_that_come_in_pieces_once() {
    let proxy = Sandbox::shared().proxy();
    let mut client = RawClient::connect(&proxy);
    assert_eq!(proxy.round_trips(), 1);
    client.send(b"Q\0\0\0\x0dSELECT 1\0");
    client.receive_until_ready();
    assert_eq!(proxy.round_trips(), 2);
    client.send(b"P\0\0\0\x10\0SELECT 2\0\0\0S\0\0\0\x04");
    client.receive_until_ready();
    assert_eq!(proxy.round_trips(), 3);
    assert_eq!(proxy.sent(), ["SELECT 1", "SELECT 2"]);
}

#[test]
fn counts_connections_side_by_side() {
    let proxy = Sandbox::shared().proxy();
    let (round_trips, sent) = observe(&proxy, || {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = connect(proxy.url());
                    for _ in 0..100 {
                        client.batch_execute("SELECT 1").unwrap();
                    }
                });
            }
        });
    });
    assert_eq!((round_trips, sent.len()), (808, 800));
}

#[test]
fn cuts_connections_off() {
    let proxy = Sandbox::shared().proxy();
    let mut idle = connect(proxy.url());
    let mut busy = connect(proxy.url());
    proxy.reset();
    thread::scope(|scope| {
        let busy = scope.spawn(move || busy.batch_execute("SELECT pg_sleep(60)"));
        wait_until("it is busy", || proxy.round_trips() == 1);
        proxy.cut();
        assert!(busy.join().unwrap().unwrap_err().code().is_none());
    });
    assert!(idle.batch_execute("SELECT 1").is_err());
    connect(proxy.url()).batch_execute("SELECT 1").unwrap();
}

#[test]
fn refuses_connections_until_told_otherwise() {
    let proxy = Sandbox::shared().proxy();
    let mut client = connect(proxy.url());
    proxy.refuse(true);
    assert!(Client::connect(proxy.url(), NoTls).is_err());
    client.batch_execute("SELECT 1").unwrap();
    proxy.refuse(false);
    connect(proxy.url());
}

#[test]
fn passes_on_the_servers_last_word() {
    let sandbox = Sandbox::shared();
    let proxy = sandbox.proxy();
    for _ in 0..20 {
        let mut client = RawClient::connect(&proxy);
        client.send(b"Q\0\0\0\x32SELECT pg_terminate_backend(pg_backend_pid())\0");
        let mut last_word = Vec::new();
        client.0.read_to_end(&mut last_word).unwrap();
        let last_word = String::from_utf8_lossy(&last_word);
        assert!(last_word.contains("57P01"), "{last_word}");
    }
}

#[test]
fn ends_when_dropped() {
    let sandbox = Sandbox::start().unwrap();
    let proxies = [sandbox.proxy(), sandbox.proxy()];
    let url = proxies[0].url().to_owned();
    assert_ne!(url, proxies[1].url());
    let mut client = connect(&url);
    let [first, second] = proxies;
    drop(first);
    assert!(client.batch_execute("SELECT 1").is_err());
    assert!(Client::connect(&url, NoTls).is_err());

    let _client = connect(second.url());
    drop(sandbox);
    assert!(Client::connect(second.url(), NoTls).is_err());
    drop(second);
}

/// Speaks the protocol byte by byte, where a real client would buffer, or hear only half of it.
struct RawClient(UnixStream);

impl RawClient {
    fn connect(proxy: &Proxy) -> Self {
        let folder = proxy
            .url()
            .split_once("host=")
            .unwrap()
            .1
            .split_once('&')
            .unwrap()
            .0;
        let socket = format!("{}/.s.PGSQL.5432", folder.replace("%2F", "/"));
        let mut client = Self(UnixStream::connect(socket).unwrap());
        client.send(b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0");
        client.receive_until_ready();
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0.write_all(&[*byte]).unwrap();
            thread::yield_now();
        }
    }

    fn receive_until_ready(&mut self) {
        let mut answer = Vec::new();
        while !answer.ends_with(b"Z\0\0\0\x05I") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
    }
}

//! A proxy as the network that fails.

use std::thread;
use std::time::{Duration, Instant};

use diesel_advisory_sandbox::{Direction, Proxy, Sandbox};
use postgres::{Client, NoTls};

use crate::{SECOND, backend_pid, connect, wait_until};

/// Longer than anything that is not delayed takes.
const LONG: Duration = Duration::from_secs(20);

fn proxies() -> [Proxy; 2] {
    [Sandbox::shared().proxy(), Sandbox::shared().tcp_proxy()]
}

/// What the server says that a session is doing; `gone` once it is not there.
fn state_of(pid: i32) -> String {
    let sql = "SELECT coalesce(max(state), 'gone') FROM pg_stat_activity WHERE pid = $1";
    let row = connect(Sandbox::shared().url()).query_one(sql, &[&pid]);
    row.unwrap().get(0)
}

fn last_query_of(pid: i32) -> String {
    let sql = "SELECT query FROM pg_stat_activity WHERE pid = $1";
    let row = connect(Sandbox::shared().url()).query_one(sql, &[&pid]);
    row.unwrap().get(0)
}

#[test]
fn delays_each_direction() {
    const DELAY: Duration = Duration::from_millis(30);

    for proxy in proxies() {
        let mut client = connect(proxy.url());
        let mut select = || {
            let began = Instant::now();
            client.batch_execute("SELECT 1").unwrap();
            began.elapsed()
        };
        for (direction, least) in [
            (Direction::ToServer, DELAY),
            (Direction::ToClient, DELAY),
            (Direction::Both, 2 * DELAY),
        ] {
            proxy.delay(Direction::Both, Duration::ZERO);
            proxy.delay(direction, DELAY);
            let took = select();
            assert!(took >= least, "{direction:?}: {took:?}");
        }
        proxy.delay(Direction::Both, LONG);
        proxy.delay(Direction::Both, Duration::ZERO);
        assert!(select() < LONG);
    }
}

#[test]
fn delays_new_connections() {
    let proxy = Sandbox::shared().proxy();
    proxy.delay(Direction::Both, Duration::from_millis(20));
    let began = Instant::now();
    connect(proxy.url());
    assert!(began.elapsed() >= Duration::from_millis(40));
}

#[test]
fn what_is_delayed_does_not_delay_what_follows() {
    const DELAY: Duration = Duration::from_secs(1);

    let proxy = Sandbox::shared().proxy();
    let mut client = connect(proxy.url());
    proxy.delay(Direction::ToClient, DELAY);
    // Rows go out in many pieces, each of which would wait for the one before.
    let began = Instant::now();
    let rows = client.simple_query("SELECT repeat('x', 10000) FROM generate_series(1, 1000)");
    assert_eq!(rows.unwrap().len(), 1000 + 2);
    let took = began.elapsed();
    assert!(DELAY <= took && took < LONG, "{took:?}");
}

#[test]
fn counts_the_same_with_a_delay() {
    let proxy = Sandbox::shared().proxy();
    let mut client = connect(proxy.url());
    proxy.delay(Direction::Both, Duration::from_millis(1));
    proxy.reset();
    for _ in 0..20 {
        client.simple_query("SELECT 1; SELECT 2").unwrap();
    }
    assert_eq!(proxy.round_trips(), 20);
}

#[test]
fn an_answer_that_was_swallowed_arrives_later() {
    for proxy in proxies() {
        let mut client = connect(proxy.url());
        let pid = backend_pid(&mut client);
        proxy.swallow(Direction::ToClient);
        thread::scope(|scope| {
            let asked = scope.spawn(|| {
                client
                    .query_one("SELECT 'answered'", &[])
                    .unwrap()
                    .get::<_, String>(0)
            });
            // It waits for the answer to `Parse` already.
            wait_until("the server has done it", || {
                last_query_of(pid) == "SELECT 'answered'" && state_of(pid) == "idle"
            });
            assert!(!asked.is_finished());
            proxy.resume();
            assert_eq!(asked.join().unwrap(), "answered");
        });
        client.batch_execute("SELECT 1").unwrap();
    }
}

#[test]
fn a_question_that_was_swallowed_arrives_later() {
    for proxy in proxies() {
        let mut client = connect(proxy.url());
        let pid = backend_pid(&mut client);
        proxy.reset();
        proxy.swallow(Direction::ToServer);
        thread::scope(|scope| {
            let asked = scope.spawn(|| client.batch_execute("SELECT 'swallowed'"));
            wait_until("it is asked", || proxy.sent() == ["SELECT 'swallowed'"]);
            thread::sleep(Duration::from_millis(20));
            assert_ne!(last_query_of(pid), "SELECT 'swallowed'");
            proxy.resume();
            asked.join().unwrap().unwrap();
        });
        assert_eq!(last_query_of(pid), "SELECT 'swallowed'");
    }
}

#[test]
fn an_end_that_was_swallowed_is_not_heard() {
    for proxy in proxies() {
        let mut client = connect(proxy.url());
        let pid = backend_pid(&mut client);
        proxy.swallow(Direction::Both);
        // This client waits until the server has closed its end too.
        let dropped = thread::spawn(move || drop(client));
        thread::sleep(Duration::from_millis(20));
        assert_eq!(state_of(pid), "idle");
        proxy.resume();
        wait_until("the session has ended", || state_of(pid) == "gone");
        dropped.join().unwrap();

        let mut client = connect(proxy.url());
        let pid = backend_pid(&mut client);
        proxy.swallow(Direction::ToClient);
        Sandbox::shared().kill_backend(pid).unwrap();
        thread::scope(|scope| {
            let asked = scope.spawn(|| client.batch_execute("SELECT 1"));
            thread::sleep(Duration::from_millis(20));
            assert!(!asked.is_finished());
            proxy.resume();
            asked.join().unwrap().unwrap_err();
        });
    }
}

#[test]
fn new_connections_are_swallowed_too() {
    for proxy in proxies() {
        proxy.swallow(Direction::ToClient);
        thread::scope(|scope| {
            let connecting = scope.spawn(|| Client::connect(proxy.url(), NoTls));
            wait_until("it has begun", || proxy.round_trips() == 1);
            thread::sleep(Duration::from_millis(20));
            assert!(!connecting.is_finished());
            proxy.resume();
            assert!(connecting.join().unwrap().is_ok());
        });
    }
}

#[test]
fn what_is_cut_is_not_resumed() {
    for proxy in proxies() {
        let mut client = connect(proxy.url());
        let pid = backend_pid(&mut client);
        client.batch_execute("CREATE TEMPORARY TABLE t ()").unwrap();
        proxy.reset();
        proxy.swallow(Direction::ToServer);
        thread::scope(|scope| {
            let asked = scope.spawn(|| client.batch_execute("SELECT FROM t"));
            wait_until("it is asked", || proxy.sent() == ["SELECT FROM t"]);
            proxy.cut();
            asked.join().unwrap().unwrap_err();
        });
        wait_until("the session has ended", || state_of(pid) == "gone");
        proxy.resume();
        connect(proxy.url()).batch_execute("SELECT 1").unwrap();
    }
}

#[test]
fn the_server_does_not_hear_that_clients_are_cut() {
    for proxy in proxies() {
        let mut client = connect(proxy.url());
        let pid = backend_pid(&mut client);
        proxy.cut_clients();
        client.batch_execute("SELECT 1").unwrap_err();
        drop(client);
        // Others are not concerned.
        connect(proxy.url()).batch_execute("SELECT 1").unwrap();
        assert_eq!(state_of(pid), "idle");
        proxy.resume();
        wait_until("the session has ended", || state_of(pid) == "gone");
    }
}

#[test]
fn ends_whatever_is_under_way() {
    for proxy in proxies() {
        let mut client = connect(proxy.url());
        let pid = backend_pid(&mut client);
        proxy.delay(Direction::Both, LONG);
        proxy.swallow(Direction::ToServer);
        thread::scope(|scope| {
            let asked = scope.spawn(|| client.batch_execute("SELECT 'never'"));
            wait_until("it is asked", || {
                proxy.sent().iter().any(|sql| sql == "SELECT 'never'")
            });
            let began = Instant::now();
            drop(proxy);
            assert!(began.elapsed() < LONG);
            asked.join().unwrap().unwrap_err();
        });
        wait_until("the session has ended", || state_of(pid) == "gone");
        assert!(client.is_valid(SECOND).is_err());
    }
}

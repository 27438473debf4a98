use std::time::Duration;

use diesel_advisory_sandbox::{Direction, Sandbox};

use crate::{connect, wait_until};

fn is_in_recovery(sandbox: &Sandbox) -> bool {
    let row = connect(sandbox.url()).query_one("SELECT pg_is_in_recovery()", &[]);
    row.unwrap().get(0)
}

fn has_table(sandbox: &Sandbox, name: &str) -> bool {
    let row = connect(sandbox.url()).query_one("SELECT to_regclass($1) IS NOT NULL", &[&name]);
    row.unwrap().get(0)
}

#[test]
fn follows_until_it_is_promoted() {
    let primary = Sandbox::builder()
        .setting("deadlock_timeout", "77ms")
        .start()
        .unwrap();
    let mut client = connect(primary.url());
    client.batch_execute("CREATE TABLE before ()").unwrap();
    let standby = primary
        .standby()
        .setting("log_min_messages", "error")
        .start()
        .unwrap();
    assert!(!is_in_recovery(&primary) && is_in_recovery(&standby));
    assert_eq!(standby.version(), primary.version());
    let mut reader = connect(standby.url());
    assert_eq!(crate::show(&mut reader, "deadlock_timeout"), "77ms");
    assert_eq!(crate::show(&mut reader, "log_min_messages"), "error");
    reader.batch_execute("CREATE TABLE refused ()").unwrap_err();

    assert!(has_table(&standby, "before"));
    client.batch_execute("CREATE TABLE after ()").unwrap();
    wait_until("it has followed", || has_table(&standby, "after"));

    // It goes on from where it was, however it was away.
    for away in [Sandbox::stop, Sandbox::stop_immediately, Sandbox::crash] {
        away(&standby).unwrap();
        client
            .batch_execute("DROP TABLE after; CREATE TABLE after (again int)")
            .unwrap();
        standby.start_again().unwrap();
        let sql = "SELECT again FROM after";
        wait_until("it has followed", || {
            connect(standby.url()).batch_execute(sql).is_ok()
        });
    }

    assert!(primary.promote().is_err());
    primary.crash().unwrap();
    standby.promote().unwrap();
    assert!(!is_in_recovery(&standby));
    connect(standby.url())
        .batch_execute("CREATE TABLE accepted ()")
        .unwrap();
    assert!(standby.promote().is_err());
}

#[test]
fn follows_through_a_network_that_fails() {
    let primary = Sandbox::start().unwrap();
    for proxy in [primary.proxy(), primary.tcp_proxy()] {
        let standby = primary.standby().through(&proxy).start().unwrap();
        let mut client = connect(primary.url());
        proxy.swallow(Direction::ToClient);
        client
            .batch_execute("DROP TABLE IF EXISTS t; CREATE TABLE t (); CREATE TABLE late ()")
            .unwrap();
        let lsn: String = client
            .query_one("SELECT pg_current_wal_lsn()::text", &[])
            .unwrap()
            .get(0);
        let has_received = || {
            let sql = format!("SELECT pg_last_wal_receive_lsn() >= '{lsn}'");
            let row = connect(standby.url()).query_one(&sql, &[]).unwrap();
            row.get::<_, Option<bool>>(0) == Some(true)
        };
        std::thread::sleep(Duration::from_millis(50));
        assert!(!has_received() && !has_table(&standby, "late"));
        proxy.resume();
        wait_until("it has followed", has_received);
        client.batch_execute("DROP TABLE late").unwrap();
    }
}

#[test]
fn a_primary_that_was_cut_off_goes_on_beside_the_promoted() {
    let primary = Sandbox::start().unwrap();
    let proxy = primary.proxy();
    let standby = primary.standby().through(&proxy).start().unwrap();
    proxy.refuse(true);
    proxy.cut();
    standby.promote().unwrap();
    for server in [&primary, &standby] {
        connect(server.url())
            .batch_execute("CREATE TABLE own ()")
            .unwrap();
    }
}

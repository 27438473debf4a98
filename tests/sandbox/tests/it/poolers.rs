use diesel_advisory_sandbox::{Error, HaProxy, PgBouncer, Pgpool, Sandbox};
use postgres::{Client, NoTls};

use crate::{SECOND, backend_pid, connect, show, wait_until};

/// `None`, with a notice, if it is not installed.
fn installed<T>(found: Result<T, Error>) -> Option<T> {
    match found {
        Err(error @ Error::NoPooler { .. }) => {
            eprintln!("notice: {error}, so this is not tried");
            None
        }
        found => Some(found.unwrap()),
    }
}

#[test]
fn pgbouncer_pools_transactions_or_sessions() {
    let server = Sandbox::start().unwrap();
    for pgbouncer in PgBouncer::each_version() {
        let one_session = pgbouncer.setting("default_pool_size", "1");
        let pooler = one_session
            .clone()
            .setting("pool_mode", "transaction")
            .in_front_of(&server)
            .unwrap();
        let (mut client, mut other) = (connect(pooler.url()), connect(pooler.url()));
        // Without statements of its own, as older versions need it in this mode.
        let pid = |client: &mut Client| {
            let messages = client.simple_query("SELECT pg_backend_pid()").unwrap();
            let row = messages.iter().find_map(|message| match message {
                postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            row.unwrap()
        };
        let before = pid(&mut client);
        assert_eq!(before, pid(&mut other));
        assert_eq!(before, pid(&mut client));
        drop(pooler);

        let pooler = one_session.in_front_of(&server).unwrap();
        let mut client = connect(pooler.url());
        assert_ne!(
            backend_pid(&mut client),
            backend_pid(&mut connect(server.url()))
        );
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| connect(pooler.url()).batch_execute("SELECT 1"));
            client.batch_execute("SELECT pg_sleep(0.05)").unwrap();
            assert!(!waiting.is_finished());
            drop(client);
            waiting.join().unwrap().unwrap();
        });
    }
}

#[test]
fn poolers_end_and_start_again() {
    let server = Sandbox::start().unwrap();
    let mut poolers: Vec<_> = PgBouncer::each_version()
        .into_iter()
        .map(|pgbouncer| pgbouncer.in_front_of(&server).unwrap())
        .collect();
    poolers.extend(
        installed(Pgpool::installed()).map(|pgpool| pgpool.in_front_of(&server, &[]).unwrap()),
    );
    poolers.extend(
        installed(HaProxy::installed()).map(|haproxy| haproxy.in_front_of(&server, &[]).unwrap()),
    );
    for pooler in poolers {
        let mut client = connect(pooler.url());
        client.batch_execute("SELECT 1").unwrap();
        pooler.stop().unwrap();
        pooler.stop().unwrap();
        assert!(client.batch_execute("SELECT 1").is_err());
        assert!(Client::connect(pooler.url(), NoTls).is_err());
        pooler.start_again().unwrap();
        pooler.start_again().unwrap();

        let proxy = pooler.proxy();
        let mut client = connect(proxy.url());
        client.batch_execute("SELECT 1").unwrap();
        assert_eq!(proxy.round_trips(), 2);
        let url = pooler.url().to_owned();
        drop(pooler);
        assert!(client.is_valid(SECOND).is_err());
        assert!(Client::connect(&url, NoTls).is_err());
    }
}

#[test]
fn a_pooler_that_cannot_start_shows_its_log() {
    let Some(pgbouncer) = installed(PgBouncer::installed()) else {
        return;
    };
    let error = pgbouncer
        .setting("pool_mode", "none")
        .in_front_of(Sandbox::shared())
        .unwrap_err();
    assert!(matches!(error, Error::Pooler { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("pgbouncer did not start;"), "{text}");
    assert!(text.contains("pool_mode"), "{text}");
}

#[test]
fn pgpool_sends_reads_to_the_standby() {
    let Some(pgpool) = installed(Pgpool::installed()) else {
        return;
    };
    let primary = Sandbox::start().unwrap();
    let standby = primary.standby().start().unwrap();
    let on_standby = format!("current_setting('data_directory') = '{}'", {
        show(&mut connect(standby.url()), "data_directory")
    });
    for (name, settings) in Pgpool::CONFIGURATIONS {
        let pooler = pgpool
            .clone()
            .settings(settings)
            .in_front_of(&primary, &[&standby])
            .unwrap();
        let mut client = connect(pooler.url());
        let goes_astray = |client: &mut Client, sql: &str| -> bool {
            client.query_one(sql, &[]).unwrap().get("on_standby")
        };
        let read = format!("SELECT {on_standby} AS on_standby");
        assert!(goes_astray(&mut client, &read), "{name}");
        client
            .batch_execute("CREATE TABLE t (); DROP TABLE t")
            .unwrap();
        // Where it lists the functions that write, all others are reads.
        let lock = format!("SELECT {on_standby} AS on_standby, pg_advisory_lock(7)");
        let lists = settings
            .iter()
            .any(|(name, _)| *name == "write_function_list");
        assert_eq!(goes_astray(&mut client, &lock), lists, "{name}");
    }
}

#[test]
fn haproxy_goes_on_with_the_next_server() {
    let Some(haproxy) = installed(HaProxy::installed()) else {
        return;
    };
    let servers = [(); 2].map(|()| Sandbox::start().unwrap());
    let pooler = haproxy.in_front_of(&servers[0], &[&servers[1]]).unwrap();
    let folder = |url: &str| show(&mut connect(url), "data_directory");
    assert_eq!(folder(pooler.url()), folder(servers[0].url()));
    let mut client = connect(pooler.url());
    servers[0].crash().unwrap();
    assert!(client.batch_execute("SELECT 1").is_err());
    let second = folder(servers[1].url());
    wait_until("the next one is used", || {
        Client::connect(pooler.url(), NoTls)
            .is_ok_and(|mut client| show(&mut client, "data_directory") == second)
    });
}

#[test]
fn haproxy_ends_connections_that_are_silent() {
    let Some(haproxy) = installed(HaProxy::installed()) else {
        return;
    };
    let pooler = haproxy
        .setting("timeout client", "100ms")
        .in_front_of(Sandbox::shared(), &[])
        .unwrap();
    let mut client = connect(pooler.url());
    let pid = backend_pid(&mut client);
    wait_until("the session has ended", || {
        let sql = "SELECT FROM pg_stat_activity WHERE pid = $1";
        let mut observer = connect(Sandbox::shared().url());
        observer.query(sql, &[&pid]).unwrap().is_empty()
    });
    client.batch_execute("SELECT 1").unwrap_err();
}

use std::env;

use diesel_advisory_sandbox::{Error, Sandbox};
use postgres::Client;

use crate::{connect, show};

/// Whether `script/versions` has fetched them.
fn are_there() -> bool {
    let are_there = env::var_os("DIESEL_ADVISORY_VERSIONS").is_some();
    if !are_there {
        eprintln!("notice: DIESEL_ADVISORY_VERSIONS is not set, so this is not tried");
    }
    are_there
}

#[test]
fn each_version_starts_and_has_a_standby() {
    if !are_there() {
        return;
    }
    for version in 14..=18 {
        let sandbox = Sandbox::builder()
            .version(version)
            .setting("max_prepared_transactions", "7")
            .setting("shared_preload_libraries", "pg_stat_statements")
            .start()
            .unwrap();
        assert_eq!(sandbox.version(), version);
        let standby = sandbox.standby().start().unwrap();
        assert_eq!(standby.version(), version);
        for mut client in [&sandbox, &standby].map(|server| connect(server.url())) {
            let number = show(&mut client, "server_version_num");
            assert_eq!(number.parse::<u32>().unwrap() / 10_000, version);
            assert_eq!(show(&mut client, "max_prepared_transactions"), "7");
            let preloaded = show(&mut client, "shared_preload_libraries");
            assert_eq!(preloaded, "pg_stat_statements");
        }
        standby.promote().unwrap();
    }
}

#[test]
fn a_version_that_is_not_there_is_an_error() {
    let error = Sandbox::builder().version(9).start().unwrap_err();
    assert!(
        matches!(error, Error::NoSuchVersion { major_version: 9 }),
        "{error:?}"
    );
}

#[test]
fn keeps_its_data_in_an_upgrade() {
    if !are_there() {
        return;
    }
    let born = |client: &mut Client| -> i64 {
        let sql = "SELECT system_identifier FROM pg_control_system()";
        client.query_one(sql, &[]).unwrap().get(0)
    };
    let mut sandbox = Sandbox::builder().version(15).start().unwrap();
    let mut client = connect(sandbox.url());
    client
        .batch_execute("CREATE TABLE kept AS SELECT 7 AS value")
        .unwrap();
    let before = born(&mut client);
    sandbox.upgrade(18).unwrap();
    assert_eq!(sandbox.version(), 18);
    let mut client = connect(sandbox.url());
    let number = show(&mut client, "server_version_num");
    assert_eq!(number.parse::<u32>().unwrap() / 10_000, 18);
    let row = client.query_one("SELECT value FROM kept", &[]).unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
    assert!(born(&mut client) > before);
}

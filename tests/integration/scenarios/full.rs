//! What takes minutes: `script/test --full` runs it.

use diesel_advisory::{Error, inspect};
use diesel_advisory_sandbox::{Pgpool, Sandbox, is_full_run};

use super::side::*;
use crate::support::{self, LEVELS, Wait, at_level, skip, unique};

/// In every configuration, locks are taken on the primary, and so is what is written under them.
#[scenario]
async fn behind_pgpool_locks_are_those_of_the_primary() {
    if !is_full_run() {
        return;
    }
    let Ok(pgpool) = Pgpool::installed() else {
        skip("pgpool is not installed");
        return;
    };
    let primary = Sandbox::start().unwrap();
    let standby = primary.standby().start().unwrap();
    let mut direct = support::connect_to(primary.url());
    support::execute(&mut direct, "CREATE TABLE counter AS SELECT 0 AS value");
    for (configuration, settings) in Pgpool::CONFIGURATIONS {
        let pgpool = pgpool.clone().settings(settings);
        let pooler = pgpool.in_front_of(&primary, &[&standby]).unwrap();
        let mut conn = connect_to(pooler.url()).await;
        for wait in Wait::ALL {
            let case = format!("{configuration}, {wait:?}");
            let name = unique("pgpool");
            for level in LEVELS.map(Some).into_iter().chain([None]) {
                let run = wait.on(at_level!(level, conn.advisory(&name)));
                let ran = run.run(async |conn| {
                    assert_holders(&primary, &name, 1, &case);
                    execute(conn, "UPDATE counter SET value = value + 1").await;
                    Ok::<_, Error>(())
                });
                ran.await.expect(&case);
            }

            begin(&mut conn).await;
            let lock = wait.on(conn.advisory_xact(&name));
            lock.acquire().await.expect(&case);
            assert_holders(&primary, &name, 1, &case);
            // Behind such a lock, a read is the primary's too.
            let value = integer(&mut conn, "SELECT value FROM counter").await;
            assert_eq!(
                value,
                support::integer(&mut direct, "SELECT value FROM counter")
            );
            commit(&mut conn).await;

            let lock = wait.on(conn.advisory_session(&name));
            let mut held = lock.acquire().await.expect(&case);
            assert_holders(&primary, &name, 1, &case);
            assert!(held.is_held().await.expect(&case), "{case}");
            held.release().await.expect(&case);
            assert_holders(&primary, &name, 0, &case);
        }
    }
}

fn assert_holders(primary: &Sandbox, name: &str, holders: usize, case: &str) {
    let mut conn = support::connect_to(primary.url());
    let locks = diesel::QueryDsl::filter(inspect::locks(), inspect::is_lock(name));
    let locks = diesel::RunQueryDsl::load::<inspect::Lock>(locks, &mut conn).unwrap();
    assert_eq!(locks.len(), holders, "{case}");
}

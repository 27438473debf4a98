//! What a lock that is not free leaves in the server's log: an operator's alarm is on its errors.

use std::time::Duration;

use diesel_advisory::Error;
use diesel_advisory_sandbox::Sandbox;

use super::side::*;
use crate::support::{Holder, LEVELS, Level, Wait, at_level};

/// The errors that the server has logged, each with its statement.
fn errors(server: &Sandbox) -> Vec<String> {
    let log = server.log();
    let lines = log.lines().filter(|line| !line.starts_with('\t'));
    let lines = lines.filter(|line| line.contains("ERROR:") || line.contains("STATEMENT:"));
    lines.map(ToOwned::to_owned).collect()
}

/// Asks in vain in every scope, at every level that is named.
#[helper]
async fn ask_in_vain(conn: &mut Conn, wait: Wait) -> usize {
    let mut asked = 0;
    for level in LEVELS {
        let run = at_level!(Some(level), conn.advisory("log"));
        let ran = wait.on(run).try_run(async |_| Ok::<_, Error>(())).await;
        assert!(ran.unwrap().is_none(), "{level:?}");
        asked += 1;
    }
    begin(conn).await;
    let acquired = wait.on(conn.advisory_xact("log")).try_acquire().await;
    assert!(!acquired.unwrap());
    let run = wait.on(conn.advisory("log"));
    let ran = run.try_run(async |_| Ok::<_, Error>(())).await;
    assert!(ran.unwrap().is_none());
    roll_back(conn).await;
    let ran = wait.on(conn.advisory_session("log"));
    let ran = ran.try_run(async |_| Ok::<_, Error>(())).await;
    assert!(ran.unwrap().is_none());
    asked + 3
}

#[scenario]
async fn a_lock_that_is_not_waited_for_leaves_no_error_in_the_log() {
    let server = Sandbox::start().unwrap();
    let _holder = Holder::at(server.url(), "log");
    let mut conn = connect_to(server.url()).await;
    ask_in_vain(&mut conn, Wait::No).await;
    assert_eq!(errors(&server), Vec::<String>::new());
}

#[scenario]
async fn a_timeout_leaves_one_error_and_less_than_a_kilobyte_with_it() {
    let server = Sandbox::start().unwrap();
    let _holder = Holder::at(server.url(), "log");
    let mut conn = connect_to(server.url()).await;
    let timeout = Wait::AtMost(Duration::from_millis(5));
    let asked = ask_in_vain(&mut conn, timeout).await;
    let errors = errors(&server);
    let (statements, errors): (Vec<_>, Vec<_>) =
        errors.iter().partition(|line| line.contains("STATEMENT:"));
    assert_eq!(errors.len(), asked, "{errors:#?}");
    // The longest are those above read committed, where one message carries the lock from one
    // transaction into the next.
    for statement in statements {
        assert!(statement.len() < 900, "{statement}");
    }
}

/// What the guide says of it: two for each transaction, unless it names its level.
#[scenario]
async fn a_free_lock_in_a_session_above_read_committed_leaves_two_errors_unless_it_names_its_level()
{
    let server = Sandbox::start().unwrap();
    let mut conn = connect_to(server.url()).await;
    let mut expected = 0;
    for default in [Level::RepeatableRead, Level::Serializable] {
        let set = format!("SET default_transaction_isolation = '{}'", default.name());
        execute(&mut conn, &set).await;
        for wait in Wait::ALL {
            for level in LEVELS {
                let run = wait.on(at_level!(Some(level), conn.advisory("log")));
                run.run(async |_| Ok::<_, Error>(())).await.unwrap();
            }
            let logged = errors(&server);
            assert_eq!(logged.len(), 2 * expected, "{wait:?}: {logged:#?}");
            let run = wait.on(conn.advisory("log"));
            run.run(async |_| Ok::<_, Error>(())).await.unwrap();
            // A query with parameters answers, and needs no error.
            expected += if wait == Wait::No { 0 } else { 2 };
            let logged = errors(&server);
            assert_eq!(logged.len(), 2 * expected, "{wait:?}: {logged:#?}");
        }
    }
}

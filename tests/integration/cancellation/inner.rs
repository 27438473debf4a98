//! A transaction that is dropped inside of a closure, which goes on and returns `Ok`.

use diesel::result::Error as DieselError;
use diesel_advisory::{AsyncAdvisoryConnection, Error};
use diesel_async::{AsyncConnection, AsyncPgConnection};

use super::polls::{Moment, Polls};
use super::witness::Witness;
use crate::support::asynchronous::{connect, insert, table};
use crate::support::{committed, unique};

/// How the closure of a lock in this scope ended, and what the transaction around it did, if there is one.
struct Ended {
    completed: bool,
    result: Result<(), Error>,
    outer: Option<Result<(), Error>>,
}

async fn drop_inside(
    conn: &mut AsyncPgConnection,
    scope: &str,
    lock: &str,
    table: &str,
    moment: Moment,
    polls: usize,
) -> Ended {
    let mut completed = false;
    let work = async |conn: &mut AsyncPgConnection| {
        insert(conn, table, 1).await?;
        let inner = conn.transaction(async |conn| {
            insert(conn, table, 2).await?;
            insert(conn, table, 3).await
        });
        completed = Polls::at_most(polls, moment, inner).await.is_some();
        Ok(())
    };
    let (result, outer) = match scope {
        "run" => (conn.advisory(lock).run(work).await, None),
        "session" => (conn.advisory_session(lock).run(work).await, None),
        _ => {
            let mut result = None;
            let outer = conn.transaction(async |conn| {
                insert(conn, table, 0).await?;
                // It ignores the error, and so commits what it can.
                result = Some(conn.advisory(lock).run(work).await);
                Ok(())
            });
            let outer = outer.await;
            (result.unwrap(), Some(outer))
        }
    };
    Ended {
        completed,
        result,
        outer,
    }
}

#[tokio::test]
async fn a_transaction_dropped_inside_of_a_closure_is_told_at_its_end() {
    let mut witness = Witness::new().await;
    for scope in ["run", "nested run", "session"] {
        for moment in [Moment::AtOnce, Moment::Woken] {
            for polls in 1.. {
                let case = format!("{scope}, {moment:?}, {polls} polls");
                let lock = unique("cancellation.inside");
                let mut conn = connect().await;
                let table = table(&mut conn).await;
                let ended = drop_inside(&mut conn, scope, &lock, &table, moment, polls).await;
                let outer_is_committed = matches!(ended.outer, Some(Ok(())));
                let mut expected = if outer_is_committed { vec![0] } else { vec![] };
                if ended.completed {
                    ended
                        .result
                        .unwrap_or_else(|error| panic!("{case}: {error}"));
                    expected.extend([1, 2, 3]);
                    assert_eq!(committed(&table), expected, "{case}");
                    break;
                }
                let is_usable = match ended.result {
                    Err(Error::TransactionLeftOpen) => true,
                    Err(Error::Database(DieselError::BrokenTransactionManager)) => false,
                    other => panic!("{case}: {other:?}"),
                };
                let rows = committed(&table);
                // In a session, each statement commits on its own, and the transaction all or nothing.
                if scope == "session" {
                    assert!(matches!(rows[..], [1] | [1, 2, 3]), "{case}: {rows:?}");
                } else {
                    assert_eq!(rows, expected, "{case}");
                }
                assert_eq!(
                    insert(&mut conn, &table, 4).await.is_ok(),
                    is_usable,
                    "{case}"
                );
                witness.assert_soon_free(&lock, &case).await;
            }
        }
    }
}

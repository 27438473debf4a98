//! A lock that is dropped inside of a transaction, which goes on.

use diesel::QueryResult;
use diesel_advisory::AsyncAdvisoryConnection;
use diesel_async::AsyncConnection;

use super::polls::{Moment, Polls};
use super::witness::Witness;
use crate::support::asynchronous::{connect, insert, table};
use crate::support::{committed, unique};

/// The code around it may not know that something inside of it was dropped.
#[tokio::test]
async fn inside_of_a_transaction_nothing_can_be_committed_any_more() {
    let mut witness = Witness::new().await;
    for scope in ["run", "xact"] {
        for moment in [Moment::AtOnce, Moment::Woken] {
            for polls in 1.. {
                let case = format!("{scope}, {moment:?}, {polls} polls");
                let (before, lock) = (unique("cancellation.before"), unique("cancellation.inner"));
                let mut conn = connect().await;
                let table = table(&mut conn).await;
                let mut completed = false;
                let transaction = conn.transaction(async |conn| {
                    conn.advisory_xact(&before).acquire().await?;
                    insert(conn, &table, 1).await?;
                    completed = if scope == "run" {
                        let run = conn
                            .advisory(&lock)
                            .run(async |conn| insert(conn, &table, 2).await);
                        Polls::at_most(polls, moment, run).await.is_some()
                    } else {
                        let acquire = conn.advisory_xact(&lock).acquire();
                        Polls::at_most(polls, moment, acquire).await.is_some()
                    };
                    // One that ignores errors too.
                    drop(insert(conn, &table, 3).await);
                    drop(insert(conn, &table, 4).await);
                    QueryResult::Ok(())
                });
                let result = transaction.await;
                if completed {
                    result.unwrap_or_else(|error| panic!("{case}: {error}"));
                    break;
                }
                assert!(result.is_err(), "{case}");
                assert_eq!(committed(&table), [], "{case}");
                witness.assert_soon_free(&before, &case).await;
                witness.assert_soon_free(&lock, &case).await;
            }
        }
    }
}

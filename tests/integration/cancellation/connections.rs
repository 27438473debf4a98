//! A connection that is in no pool.

use std::future::pending;

use diesel_advisory::{AsyncAdvisoryConnection, Error};
use diesel_async::AsyncPgConnection;
use tokio::sync::oneshot;

use super::polls::{Moment, Polls};
use super::witness::Witness;
use crate::support::asynchronous::{connect, insert, table};
use crate::support::unique;

#[tokio::test]
async fn a_connection_outside_of_any_pool_ends_its_locks_when_it_is_dropped() {
    let mut witness = Witness::new().await;
    for hold in ["run", "session", "wait"] {
        let lock = unique("cancellation.plain");
        let mut conn = connect().await;
        if hold == "wait" {
            witness.hold(&lock).await;
        }
        let (entered, has_entered) = oneshot::channel();
        let never = async |_: &mut AsyncPgConnection| {
            entered.send(()).unwrap();
            pending::<Result<(), Error>>().await
        };
        let hangs = async {
            if hold == "session" {
                conn.advisory_session(&lock).run(never).await
            } else {
                conn.advisory(&lock).run(never).await
            }
        };
        let dropped_when = async {
            if hold == "wait" {
                witness.queued(&lock).await;
            } else {
                has_entered.await.unwrap();
            }
        };
        tokio::select! {
            result = hangs => panic!("{hold}: {result:?}"),
            () = dropped_when => {}
        }
        drop(conn);
        witness.let_go().await;
        witness.assert_soon_free(&lock, hold).await;
    }
}

/// So what is sent on it after that is not taken for a part of what was dropped.
#[tokio::test]
async fn a_connection_outside_of_any_pool_is_closed() {
    let mut witness = Witness::new().await;
    for scope in ["run", "session"] {
        for moment in [Moment::AtOnce, Moment::Woken] {
            for polls in 1.. {
                let case = format!("{scope}, {moment:?}, {polls} polls");
                let lock = unique("cancellation.closed");
                let mut conn = connect().await;
                let table = table(&mut conn).await;
                let work = async |conn: &mut AsyncPgConnection| insert(conn, &table, 1).await;
                let done = if scope == "run" {
                    let run = conn.advisory(&lock).run(work);
                    Polls::at_most(polls, moment, run).await.is_some()
                } else {
                    let acquire = conn.advisory_session(&lock).acquire();
                    Polls::at_most(polls, moment, acquire).await.is_some()
                };
                let closed = insert(&mut conn, &table, 2).await.is_err();
                assert_eq!(closed, !done, "{case}");
                witness.assert_soon_free(&lock, &case).await;
                if done {
                    break;
                }
            }
        }
    }
}

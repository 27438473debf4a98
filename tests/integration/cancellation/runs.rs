//! Runs that are dropped at every point: none is half.

use std::time::Duration;

use diesel_advisory::{AsyncAdvisoryConnection, Error};
use diesel_async::AsyncPgConnection;

use super::polls::{Moment, Polls};
use super::witness::Witness;
use crate::support::asynchronous::{connect, insert, integer, table};
use crate::support::unique;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// What is kept of the job, and what its work has written.
async fn kept(conn: &mut AsyncPgConnection, job: &str, table: &str) -> (i32, i32) {
    let runs =
        format!("SELECT count(*)::int AS value FROM diesel_advisory.runs WHERE name = '{job}'");
    let written = format!("SELECT count(*)::int AS value FROM {table}");
    (integer(conn, &runs).await, integer(conn, &written).await)
}

/// Drops a run after so many polls, and tells whether it was done before.
async fn dropped(polls: usize, moment: Moment, in_session: bool, job: &str, table: &str) -> bool {
    let mut conn = connect().await;
    let work = async |conn: &mut AsyncPgConnection| {
        insert(conn, table, 1).await?;
        tokio::task::yield_now().await;
        Ok::<_, Error>(())
    };
    let run = async {
        if in_session {
            let run = conn.advisory_session(job).at_most_every(HOUR);
            run.retry_failed().run(work).await
        } else {
            conn.advisory(job).at_most_every(HOUR).run(work).await
        }
    };
    let done = Polls::at_most(polls, moment, run).await;
    done.map(|ran| ran.unwrap()).is_some()
}

#[tokio::test]
async fn a_run_that_is_dropped_is_kept_with_its_work_or_not_at_all() {
    let (mut witness, mut conn) = (Witness::new().await, connect().await);
    for in_session in [false, true] {
        for moment in [Moment::AtOnce, Moment::Woken] {
            let mut seen = Vec::new();
            for polls in 0.. {
                let case = format!("session: {in_session}, {moment:?}, {polls} polls");
                let (job, table) = (unique("cancellation.run"), table(&mut conn).await);
                let done = dropped(polls, moment, in_session, &job, &table).await;
                witness.assert_soon_free(&job, &case).await;
                let kept = kept(&mut conn, &job, &table).await;
                if in_session {
                    // The start comes before the work, so it can be there alone.
                    assert!(kept.0 >= kept.1, "{case}: {kept:?}");
                } else {
                    assert_eq!(kept.0, kept.1, "{case}");
                }
                seen.push(kept);
                if done {
                    break;
                }
            }
            assert_eq!(seen.first(), Some(&(0, 0)));
            assert_eq!(seen.last(), Some(&(1, 1)));
            assert_eq!(seen.contains(&(1, 0)), in_session, "{moment:?}: {seen:?}");
        }
    }
}

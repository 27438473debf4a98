//! Questions that are dropped: they end no session, so they must leave nothing in it.

use std::time::Duration;

use diesel_advisory::{AsyncAdvisoryConnection, inspect};

use super::polls::{Moment, Polls};
use crate::support::asynchronous::{connect, integer};
use crate::support::unique;

const PREPARED: &str = "SELECT count(*)::int AS value FROM pg_prepared_statements";

#[tokio::test]
async fn questions_that_are_dropped_leave_no_prepared_statement() {
    let mut conn = connect().await;
    let (held, mut dropped) = (unique("looks"), 0);
    let mut guard = conn.advisory_session(&held).acquire().await.unwrap();
    // The test's own question is prepared from now on.
    integer(&mut guard, PREPARED).await;
    let before = integer(&mut guard, PREPARED).await;
    for moment in [Moment::AtOnce, Moment::Woken] {
        for polls in [1, 2, 3].repeat(20) {
            let free = unique("looks.free");
            let look = guard.is_advisory_locked(free.as_str());
            let look = Polls::at_most(polls, moment, look).await;
            let several = inspect::are_advisory_locked_async(&mut *guard, [free.as_str(), "x"]);
            let several = Polls::at_most(polls, moment, several).await;
            let own = Polls::at_most(polls, moment, guard.is_held()).await;
            dropped += usize::from(look.is_none());
            dropped += usize::from(several.is_none());
            dropped += usize::from(own.is_none());
            let lost = guard.lost(Duration::from_millis(300));
            dropped += usize::from(Polls::at_most(polls, moment, lost).await.is_none());
        }
    }
    assert!(dropped >= 200, "only {dropped} were dropped");
    assert_eq!(integer(&mut guard, PREPARED).await, before);
    guard.release().await.unwrap();
}

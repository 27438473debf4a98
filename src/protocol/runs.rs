//! The last run of a job.

use std::time::{Duration, SystemTime};

use diesel::QueryResult;

use super::link::{Link, roll_back_to};
use crate::error::not_due::NotDue;
use crate::lock::id::LockId;
use crate::lock::interval::Interval;
use crate::sql::runs::{BEGIN_LOOK, LastRow, last_run};

/// Encloses the look inside a transaction of the user's.
const LOOK: &str = "diesel_advisory_look";

/// A job that starts at most once in a while.
#[derive(Debug)]
pub(crate) struct Job {
    pub(super) name: String,
    pub(super) interval: Interval,
}

impl Job {
    /// Looks when it was started last. The lock is not held any more, so what is found can be newer than what it
    /// was refused for.
    pub(super) async fn not_due<L: Link>(self, link: &mut L) -> NotDue {
        if let Ok(Some(last)) = self.last_run(link).await {
            return last.not_due(&self.name, self.interval);
        }
        let now = SystemTime::now();
        let mut not_due = NotDue::new(LockId::from(&self.name), now);
        if let Interval::AtMostEvery(period) = self.interval {
            not_due.due_at = now.checked_add(Duration::from_micros(period.unsigned_abs()));
        }
        not_due
    }

    async fn last_run<L: Link>(&self, link: &mut L) -> QueryResult<Option<LastRow>> {
        let sql = last_run(&self.name);
        let rows = if link.transaction_depth()?.is_some() {
            link.batch(&format!("SAVEPOINT {LOOK}")).await?;
            let rows = link.rows::<LastRow>(sql).await;
            link.batch(&roll_back_to(LOOK)).await?;
            rows
        } else {
            link.begin(BEGIN_LOOK).await?;
            let rows = link.rows::<LastRow>(sql).await;
            link.rollback().await?;
            rows
        };
        Ok(rows?.into_iter().next())
    }
}

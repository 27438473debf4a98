//! What has to be true before a lock is taken.

use std::fmt::Write as _;

use super::answer::{SNAPSHOT, SNAPSHOT_CODE, STANDBY, STANDBY_CODE, push_refusal};
use super::marks::Mark;
use super::statement::Statement;
use crate::lock::set::LockSet;

/// What is checked in the statements that take the locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checks {
    /// Nothing: [`begin_checked`](super::take::begin_checked) has checked all.
    None,
    /// That the server is no standby.
    Standby,
    /// That, and that the snapshot cannot be older than the lock, as it could above read committed.
    Snapshot,
}

/// Conditions that refuse a lock, with their number and text.
#[derive(Debug)]
pub(super) struct Guards(Vec<(Condition, i32, &'static str)>);

/// A condition that refuses a lock.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition {
    Sql(&'static str),
    /// The session has a mark.
    Marked,
    /// The mark on top is that of another process.
    Foreign(Mark),
    /// The mark on top is that of another process. This one is on top now.
    LandsOnForeign(Mark),
}

impl Condition {
    fn push(self, sql: &mut String) {
        match self {
            Self::Sql(condition) => sql.push_str(condition),
            Self::Marked => sql.push_str(&Mark::is_any()),
            Self::Foreign(mark) => mark.push_is_foreign(sql),
            Self::LandsOnForeign(mark) => mark.push_lands_on_foreign(sql),
        }
    }
}

impl Guards {
    pub(super) fn of(set: &LockSet<'_>) -> Self {
        let guards = Self(Vec::new());
        if set.on_standby {
            return guards;
        }
        let standby = Condition::Sql("pg_catalog.pg_is_in_recovery()");
        guards.and(standby, STANDBY_CODE, STANDBY)
    }

    pub(super) fn with(set: &LockSet<'_>, checks: Checks) -> Self {
        let isolated = "pg_catalog.current_setting('transaction_isolation') \
                        OPERATOR(pg_catalog.!~~) 'read %'";
        match checks {
            Checks::None => Self(Vec::new()),
            Checks::Standby => Self::of(set),
            Checks::Snapshot => {
                Self::of(set).and(Condition::Sql(isolated), SNAPSHOT_CODE, SNAPSHOT)
            }
        }
    }

    pub(super) fn and(mut self, condition: Condition, code: i32, text: &'static str) -> Self {
        self.0.push((condition, code, text));
        self
    }

    /// Begins a condition that is evaluated only if no guard refuses. It fails with the guard's mark if one
    /// does.
    pub(super) fn push_open(&self, sql: &mut String) {
        if !self.0.is_empty() {
            self.push_refusals(sql);
            sql.push_str(" ELSE ");
        }
    }

    /// Ends it.
    pub(super) fn push_close(&self, sql: &mut String) {
        if !self.0.is_empty() {
            sql.push_str(" END");
        }
    }

    /// A statement that fails if a guard refuses.
    pub(super) fn statement(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut sql = String::from("SELECT WHERE ");
        self.push_refusals(&mut sql);
        sql.push_str(" END; ");
        sql
    }

    /// Begins a `CASE` with a branch for each guard. To choose among the texts in one refusal, which is then
    /// evaluated for every lock, costs one in an open transaction 4 % more.
    fn push_refusals(&self, sql: &mut String) {
        sql.push_str("CASE");
        for (condition, _, text) in &self.0 {
            sql.push_str(" WHEN ");
            condition.push(sql);
            sql.push_str(" THEN ");
            push_refusal(sql, text);
        }
    }

    /// Begins a query with the branches of a `CASE` that answer with numbers.
    pub(super) fn select(&self) -> Statement {
        let mut sql = String::from("SELECT CASE");
        for (condition, code, _) in &self.0 {
            sql.push_str(" WHEN ");
            condition.push(&mut sql);
            let _ = write!(sql, " THEN {code}");
        }
        Statement::default().sql(&sql)
    }
}

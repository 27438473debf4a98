//! The protocols over a scripted link: what is sent in which order, and what is undone.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use diesel::QueryResult;
use diesel::deserialize::QueryableByName;
use diesel::pg::Pg;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};

use super::{
    Attempt, acquire_for_session, acquire_in_transaction, commit_frame, open_frame,
    release_for_session, roll_back_frame,
};
use crate::link::{Link, Transact, ready};
use crate::lock_set::{HeldLocks, Mode, Request};
use crate::transaction_modes::{Isolation, TransactionModes};
use crate::wait::Wait;
use crate::{Error, LockId, LockKey};

/// A link that answers what was laid down for it, and remembers what was asked.
///
/// It prepares queries, so that the protocols send batches only.
#[derive(Default)]
struct Script {
    answers: VecDeque<QueryResult<()>>,
    sent: Vec<String>,
    depth: u32,
    broken: bool,
}

impl Script {
    fn new<const N: usize>(depth: u32, answers: [QueryResult<()>; N]) -> Self {
        Self {
            answers: answers.into(),
            depth,
            ..Self::default()
        }
    }

    fn answer(&mut self, sql: &str) -> QueryResult<()> {
        // Nobody wants to read the whole `DO` block below.
        let shown = sql.split("$$").step_by(2).collect::<Vec<_>>().join("…");
        self.sent.push(shown);
        self.answers.pop_front().unwrap_or(Ok(()))
    }
}

impl Link for Script {
    const PREPARES_QUERIES: bool = true;

    fn transaction_depth(&mut self) -> QueryResult<Option<NonZeroU32>> {
        Ok(NonZeroU32::new(self.depth))
    }

    fn set_broken(&mut self) {
        self.broken = true;
    }

    async fn batch(&mut self, sql: &str) -> QueryResult<()> {
        self.answer(sql)
    }

    async fn rollback(&mut self) -> QueryResult<()> {
        self.answer("rollback")?;
        self.depth -= 1;
        Ok(())
    }

    async fn rows<T>(&mut self, sql: String) -> QueryResult<Vec<T>>
    where
        T: QueryableByName<Pg> + Send + 'static,
    {
        self.answer(&sql).map(|()| Vec::new())
    }
}

impl Transact for Script {
    async fn begin(&mut self, sql: &str) -> QueryResult<()> {
        self.answer(sql)?;
        self.depth += 1;
        Ok(())
    }

    async fn commit(&mut self) -> QueryResult<()> {
        self.answer("commit")?;
        self.depth -= 1;
        Ok(())
    }
}

/// What the server reports for the lock at this position of a set.
struct Raised(&'static str);

impl DatabaseErrorInformation for Raised {
    fn message(&self) -> &'static str {
        "advisory lock x is not available"
    }
    fn details(&self) -> Option<&str> {
        None
    }
    fn hint(&self) -> Option<&str> {
        None
    }
    fn table_name(&self) -> Option<&str> {
        None
    }
    fn column_name(&self) -> Option<&str> {
        Some(self.0)
    }
    fn constraint_name(&self) -> Option<&str> {
        Some("diesel_advisory")
    }
    fn statement_position(&self) -> Option<i32> {
        None
    }
}

fn raised(code: &'static str) -> QueryResult<()> {
    let information = Box::new(Raised(code));
    Err(DieselError::DatabaseError(
        DatabaseErrorKind::Unknown,
        information,
    ))
}

fn cancelled() -> QueryResult<()> {
    let message = Box::new(String::from("canceling statement due to user request"));
    Err(DieselError::DatabaseError(
        DatabaseErrorKind::Unknown,
        message,
    ))
}

fn request(wait: Wait) -> Request<'static> {
    let mut request = Request::new(LockId::from("x"));
    request.wait = wait;
    request
}

fn isolation(level: Isolation) -> TransactionModes {
    TransactionModes {
        isolation: Some(level),
        ..TransactionModes::default()
    }
}

#[test]
fn a_transaction_begins_with_its_lock() {
    let mut link = Script::new(0, []);
    let opened = ready(open_frame(
        &mut link,
        request(Wait::Forever),
        TransactionModes::default(),
    ));
    let frame = opened.unwrap().granted().unwrap();
    ready(commit_frame(&mut link, frame)).unwrap();
    assert_eq!(link.sent, ["/* advisory lock x */ BEGIN; DO …", "commit"]);
}

#[test]
fn a_transaction_without_its_lock_is_rolled_back() {
    for wait in [Wait::Inherit, Wait::AtMost(5), Wait::No] {
        let mut link = Script::new(0, [raised("1")]);
        let opened = ready(open_frame(
            &mut link,
            request(wait),
            TransactionModes::default(),
        ));
        assert!(matches!(opened, Ok(Attempt::Missing(_))));
        assert_eq!(
            link.sent,
            ["/* advisory lock x */ BEGIN; DO …", "ROLLBACK; "]
        );
        assert_eq!((link.depth, link.broken), (0, false));
    }
}

#[test]
fn a_rollback_that_fails_breaks_the_connection() {
    let mut link = Script::new(0, [cancelled(), cancelled()]);
    let opened = ready(open_frame(
        &mut link,
        request(Wait::Inherit),
        TransactionModes::default(),
    ));
    assert!(matches!(opened, Err(Error::Database(_))));
    assert!(link.broken);
}

#[test]
fn a_snapshot_that_is_too_old_is_taken_anew() {
    let mut link = Script::new(0, [raised("-1")]);
    let opened = ready(open_frame(
        &mut link,
        request(Wait::Inherit),
        TransactionModes::default(),
    ));
    assert!(opened.unwrap().granted().is_some());
    assert_eq!(link.sent.len(), 3);
    assert_eq!(link.sent[1], "ROLLBACK; ");
    let isolated = "/* advisory lock x */ BEGIN; DO …; COMMIT AND CHAIN; SELECT ";
    assert!(link.sent[2].starts_with(isolated), "{}", link.sent[2]);
}

#[test]
fn an_isolated_transaction_that_fails_leaves_no_session_lock() {
    for failure in [cancelled(), raised("1")] {
        let mut link = Script::new(0, [failure]);
        let modes = isolation(Isolation::Serializable);
        let opened = ready(open_frame(&mut link, request(Wait::Inherit), modes));
        assert!(!matches!(opened, Ok(Attempt::Granted(_))));
        // One message: a connection pooler may send the next one to another session.
        assert_eq!(link.sent.len(), 2);
        let undo = "ROLLBACK; SELECT pg_catalog.pg_advisory_unlock(";
        assert!(link.sent[1].starts_with(undo), "{}", link.sent[1]);
        assert!(!link.broken);
    }
}

#[test]
fn an_open_transaction_has_its_isolation_level_already() {
    let mut link = Script::new(1, []);
    let modes = isolation(Isolation::ReadCommitted);
    let opened = ready(open_frame(&mut link, request(Wait::Inherit), modes));
    assert!(matches!(
        opened,
        Err(Error::Database(DieselError::AlreadyInTransaction))
    ));
    assert_eq!(link.sent, [""; 0]);
}

#[test]
fn inside_a_transaction_a_frame_is_a_savepoint() {
    let mut link = Script::new(1, []);
    let opened = ready(open_frame(
        &mut link,
        request(Wait::Inherit),
        TransactionModes::default(),
    ));
    let frame = opened.unwrap().granted().unwrap();
    ready(commit_frame(&mut link, frame)).unwrap();
    assert_eq!(
        link.sent,
        [
            "/* advisory lock x */ SAVEPOINT diesel_advisory_run; SAVEPOINT diesel_advisory_attempt; \
             DO …; RELEASE SAVEPOINT diesel_advisory_attempt",
            "RELEASE SAVEPOINT diesel_advisory_run",
        ]
    );
}

#[test]
fn a_savepoint_without_its_lock_is_rolled_back() {
    for failure in [raised("1"), cancelled()] {
        let mut link = Script::new(1, [failure]);
        let modes = TransactionModes::default();
        let opened = ready(open_frame(&mut link, request(Wait::Inherit), modes));
        assert!(!matches!(opened, Ok(Attempt::Granted(_))));
        assert_eq!(
            link.sent[1..],
            [
                "ROLLBACK TO SAVEPOINT diesel_advisory_attempt; RELEASE SAVEPOINT diesel_advisory_run"
            ]
        );
    }
}

#[test]
fn what_the_work_has_left_open_ends_with_its_frame() {
    for commit in [true, false] {
        let mut link = Script::new(0, []);
        let modes = TransactionModes::default();
        let opened = ready(open_frame(&mut link, request(Wait::Inherit), modes));
        let frame = opened.unwrap().granted().unwrap();
        link.depth += 2;
        if commit {
            ready(commit_frame(&mut link, frame)).unwrap();
        } else {
            ready(roll_back_frame(&mut link, frame));
        }
        let end = if commit { "commit" } else { "rollback" };
        assert_eq!(link.sent[1..], [end; 3]);
        assert_eq!(link.depth, 0);
    }
}

#[test]
fn a_frame_that_cannot_be_committed_is_rolled_back() {
    let mut link = Script::new(1, [Ok(()), cancelled()]);
    let opened = ready(open_frame(
        &mut link,
        request(Wait::Inherit),
        TransactionModes::default(),
    ));
    let frame = opened.unwrap().granted().unwrap();
    ready(commit_frame(&mut link, frame)).unwrap_err();
    assert_eq!(
        link.sent[2..],
        ["ROLLBACK TO SAVEPOINT diesel_advisory_run; RELEASE SAVEPOINT diesel_advisory_run"]
    );
}

#[test]
fn a_step_that_was_refused_leaves_the_transaction_usable_and_one_that_failed_does_not() {
    let step = "/* advisory lock x */ SAVEPOINT diesel_advisory_step; DO …; \
                RELEASE SAVEPOINT diesel_advisory_step";
    let undo = "ROLLBACK TO SAVEPOINT diesel_advisory_step; RELEASE SAVEPOINT diesel_advisory_step";

    let mut link = Script::new(1, [raised("1")]);
    let acquired = ready(acquire_in_transaction(&mut link, request(Wait::Inherit)));
    assert!(matches!(acquired, Ok(Attempt::Missing(_))));
    assert_eq!(link.sent, [step, undo]);

    let mut link = Script::new(1, [cancelled()]);
    let acquired = ready(acquire_in_transaction(&mut link, request(Wait::Inherit)));
    assert!(matches!(acquired, Err(Error::Database(_))));
    assert_eq!(link.sent, [step]);
}

#[test]
fn what_is_wrong_before_is_told_before_anything_is_sent() {
    let empty = || Request::new(LockId::from(""));
    for depth in [0, 1] {
        let mut link = Script::new(depth, []);
        let modes = TransactionModes::default();
        assert!(matches!(
            ready(open_frame(&mut link, empty(), modes)),
            Err(Error::EmptyName)
        ));
        assert_eq!(link.sent, [""; 0]);
    }
    let mut link = Script::new(0, []);
    let acquired = ready(acquire_in_transaction(&mut link, request(Wait::Inherit)));
    assert!(matches!(acquired, Err(Error::NotInTransaction)));
    let mut link = Script::new(1, []);
    let acquired = ready(acquire_for_session(&mut link, request(Wait::Inherit)));
    assert!(matches!(acquired, Err(Error::InTransaction)));
    assert_eq!(link.sent, [""; 0]);
}

#[test]
fn a_session_lock_that_was_refused_has_nothing_to_undo() {
    let mut link = Script::new(0, [raised("1")]);
    let acquired = ready(acquire_for_session(&mut link, request(Wait::Inherit)));
    assert!(matches!(acquired, Ok(Attempt::Missing(_))));
    assert_eq!(link.sent, ["/* advisory lock x */ DO …"]);
    assert!(!link.broken);
}

#[test]
fn a_session_that_may_have_a_lock_nobody_knows_of_is_ended() {
    // The question whether it is held fails as well.
    let mut link = Script::new(0, [cancelled(), cancelled()]);
    let acquired = ready(acquire_for_session(&mut link, request(Wait::Inherit)));
    assert!(matches!(acquired, Err(Error::Database(_))));
    assert_eq!(
        link.sent[2],
        "SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())"
    );
    assert!(link.broken);
}

#[test]
fn a_release_tells_what_it_found() {
    let mut link = Script::new(0, [Ok(())]);
    assert!(matches!(release(&mut link), Ok(())));
    assert_eq!(link.sent, ["DO …"]);

    let mut link = Script::new(0, [raised("1")]);
    assert!(matches!(release(&mut link), Err(Error::NotHeld)));
    assert!(!link.broken);

    let mut link = Script::new(2, []);
    assert!(matches!(release(&mut link), Err(Error::InTransaction)));
    assert_eq!(link.sent, ["rollback", "rollback", "DO …"]);
}

#[test]
fn a_release_ends_a_transaction_that_diesel_does_not_know() {
    let mut link = Script::new(0, [raised("-1")]);
    assert!(matches!(release(&mut link), Err(Error::InTransaction)));
    assert_eq!(link.sent, ["DO …", "ROLLBACK"]);

    let mut link = Script::new(0, [cancelled()]);
    assert!(matches!(release(&mut link), Err(Error::Database(_))));
    assert_eq!(link.sent, ["DO …", "ROLLBACK", "DO …"]);
    assert!(!link.broken);
}

#[test]
fn a_release_that_fails_breaks_the_connection() {
    for answers in [
        [cancelled(), cancelled(), Ok(())],
        [cancelled(), Ok(()), cancelled()],
    ] {
        let mut link = Script::new(0, answers);
        assert!(matches!(release(&mut link), Err(Error::Database(_))));
        assert!(link.broken);
    }
}

fn release(link: &mut Script) -> Result<(), Error> {
    let held = HeldLocks {
        keys: vec![LockKey::BigInt(1)],
        mode: Mode::Exclusive,
    };
    ready(release_for_session(link, &held))
}

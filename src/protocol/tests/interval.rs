//! Work that starts at most once in a while: when its run is claimed, kept and taken back.

use diesel::result::Error as DieselError;

use super::script::Script;
use super::{DEFAULT, cancelled, marked, request};
use crate::error::Error;
use crate::lock::interval::Interval;
use crate::lock::modes::{Isolation, TransactionModes};
use crate::lock::wait::Wait;
use crate::protocol::attempt::{Attempt, LastRun};
use crate::protocol::interval::{
    DueWork, acquire_due, commit_due, finish, forget_runs, open_due, put_back, roll_back_due,
};
use crate::protocol::link::ready;
use crate::sql::release::END_SESSION;
use crate::sql::runs::{ClaimRow, Claimed, CountRow, GrantsRow, LastRow, StampRow};

const MINUTE: Interval = Interval::AtMostEvery(60_000_000);
const BEGIN: &str = "SELECT; BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ";
const CLAIM: &str = "INSERT INTO diesel_advisory.runs AS r (name, started_at, started_by, once) ";
const TAKE: &str = "/* advisory lock x */ SELECT WHERE ";
const BEGIN_CLAIM: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE; SELECT CASE ";
const RELEASE: &str = "SELECT WHERE CASE ";
const GRANTS: &str = "SELECT pg_catalog.has_schema_privilege(";

fn open(
    link: &mut Script,
    modes: TransactionModes,
    interval: Option<Interval>,
) -> Result<Attempt<'static, DueWork>, Error> {
    ready(open_due(link, request(Wait::Inherit), modes, interval))
}

fn stamped(link: Script) -> Script {
    link.with_rows(vec![StampRow { stamp: 17 }])
}

fn claimed() -> Claimed {
    StampRow { stamp: 17 }.claimed("x")
}

#[test]
fn a_run_is_claimed_and_kept_in_the_transaction_of_its_work() {
    let mut link = stamped(Script::new(0, []));
    let work = open(&mut link, DEFAULT, Some(MINUTE))
        .unwrap()
        .granted()
        .unwrap();
    ready(commit_due(&mut link, work)).unwrap();
    let done = "INSERT INTO diesel_advisory.runs AS r (name, started_at, started_by, finished_at) ";
    link.assert_sent([BEGIN, CLAIM, done, "commit"]);

    let mut link = stamped(Script::new(0, []));
    let work = open(&mut link, DEFAULT, Some(MINUTE))
        .unwrap()
        .granted()
        .unwrap();
    ready(roll_back_due(&mut link, work));
    link.assert_sent([BEGIN, CLAIM, "rollback"]);

    let mut link = Script::new(0, []);
    let work = open(&mut link, DEFAULT, None).unwrap().granted().unwrap();
    ready(commit_due(&mut link, work)).unwrap();
    link.assert_sent([BEGIN, "commit"]);
}

#[test]
fn a_job_that_is_not_due_opens_nothing() {
    let mut link = Script::new(0, []);
    let opened = open(&mut link, DEFAULT, Some(MINUTE));
    assert!(matches!(opened, Ok(Attempt::NotDue(LastRun::Of(_)))));
    link.assert_sent([BEGIN, CLAIM, "rollback"]);
    assert_eq!(link.depth, 0);
}

#[test]
fn a_claim_that_fails_says_what_is_missing() {
    let grants = |may_claim| GrantsRow {
        may_claim,
        may_forget: !may_claim,
    };
    for (rows, is_right) in [
        (
            vec![],
            (|error| matches!(error, Error::NoCatalog)) as fn(&Error) -> bool,
        ),
        (vec![grants(false)], |error| {
            matches!(error, Error::NoGrants)
        }),
        (vec![grants(true)], |error| {
            matches!(error, Error::Database(_))
        }),
    ] {
        let mut link = Script::new(0, [Ok(()), cancelled()]).with_rows(rows);
        let error = open(&mut link, DEFAULT, Some(MINUTE)).unwrap_err();
        assert!(is_right(&error), "{error:?}");
        link.assert_sent([BEGIN, CLAIM, "rollback", GRANTS]);
    }
    let mut link = Script::new(0, [Ok(()), cancelled(), Ok(()), cancelled()]);
    let opened = open(&mut link, DEFAULT, Some(MINUTE));
    assert!(matches!(opened, Err(Error::Database(_))));
}

#[test]
fn a_transaction_that_cannot_keep_a_run_is_refused() {
    let read_only = TransactionModes {
        read_only: Some(true),
        ..DEFAULT
    };
    let mut link = Script::new(0, []);
    let opened = open(&mut link, read_only, Some(MINUTE));
    assert!(matches!(opened, Err(Error::Unsupported(_))));
    assert_eq!(link.sent, [""; 0]);

    let mut link = Script::new(1, []).with_looks(["1"]);
    let opened = open(&mut link, DEFAULT, Some(MINUTE));
    assert!(matches!(opened, Err(Error::Unsupported(_))));
    link.assert_sent(["look"]);

    let mut link = stamped(Script::new(1, []));
    let opened = open(&mut link, DEFAULT, Some(MINUTE));
    assert!(opened.unwrap().granted().is_some());
    link.assert_sent(["look", "SAVEPOINT diesel_savepoint_1; ", CLAIM]);

    // What is wrong anyway is not asked for.
    let serializable = TransactionModes {
        isolation: Some(Isolation::Serializable),
        ..DEFAULT
    };
    let mut link = Script::new(1, []);
    let opened = open(&mut link, serializable, Some(MINUTE));
    let error = opened.unwrap_err();
    assert!(matches!(
        error,
        Error::Database(DieselError::AlreadyInTransaction)
    ));
    assert_eq!(link.sent, [""; 0]);
}

fn acquire(link: &mut Script, retry_failed: bool) -> Result<Option<Claimed>, Error> {
    let attempt = ready(acquire_due(
        link,
        request(Wait::Inherit),
        MINUTE,
        retry_failed,
    ))?;
    Ok(match attempt {
        Attempt::Granted((_, claimed)) => Some(claimed),
        Attempt::NotDue(LastRun::Known(_)) => None,
        attempt => panic!("{attempt:?}"),
    })
}

fn row(claimed: Option<i64>, may_delete: bool) -> Vec<ClaimRow> {
    let last = LastRow {
        now: 20,
        started_at: None,
        started_by: None,
        finished_at: None,
    };
    vec![ClaimRow {
        claimed,
        once: None,
        last,
        may_delete,
    }]
}

#[test]
fn a_run_of_a_session_is_claimed_under_its_lock() {
    for (may_delete, retry_failed) in [(true, true), (true, false), (false, false)] {
        let mut link = Script::new(0, []).with_rows(row(Some(17), may_delete));
        assert!(acquire(&mut link, retry_failed).unwrap().is_some());
        link.assert_sent([TAKE, BEGIN_CLAIM, "WITH seen AS (", "commit"]);
    }
    // A run that could not be taken back.
    let mut link = Script::new(0, []).with_rows(row(Some(17), false));
    assert!(matches!(acquire(&mut link, true), Err(Error::NoGrants)));
    link.assert_sent([TAKE, BEGIN_CLAIM, "WITH seen AS (", "rollback", RELEASE]);

    let mut link = Script::new(0, []).with_rows(row(None, true));
    assert!(acquire(&mut link, true).unwrap().is_none());
    link.assert_sent([TAKE, BEGIN_CLAIM, "WITH seen AS (", "rollback", RELEASE]);

    let mut link = Script::new(0, []);
    let found = acquire(&mut link, true).unwrap_err();
    assert!(matches!(found, Error::NoCatalog), "{found:?}");
    link.assert_sent([
        TAKE,
        BEGIN_CLAIM,
        "WITH seen AS (",
        "rollback",
        RELEASE,
        GRANTS,
    ]);
}

#[test]
fn a_job_whose_lock_is_not_free_claims_nothing() {
    let mut link = Script::new(0, []).with_codes([1]);
    let attempt = ready(acquire_due(&mut link, request(Wait::No), MINUTE, true));
    assert!(matches!(attempt, Ok(Attempt::Missing(_))));
    assert_eq!(link.sent.len(), 1);
}

#[test]
fn work_that_is_done_is_told_but_for_what_cannot_be() {
    let done = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; ";
    for answer in [Ok(()), cancelled(), marked("lock was not held")] {
        let mut link = Script::new(0, [answer]);
        ready(finish(&mut link, &claimed())).unwrap();
        link.assert_sent([done]);
    }
    let mut link = Script::new(0, [marked("transaction is open")]);
    let finished = ready(finish(&mut link, &claimed()));
    assert!(matches!(finished, Err(Error::TransactionLeftOpen)));
    link.assert_sent([done, "ROLLBACK"]);
    // The release of the lock finds that one.
    let mut link = Script::new(1, []);
    ready(finish(&mut link, &claimed())).unwrap();
    assert_eq!(link.sent, [""; 0]);
}

#[test]
fn work_that_has_failed_gives_its_run_back() {
    let back = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; ";
    let mut link = Script::new(0, []);
    ready(put_back(&mut link, &claimed()));
    link.assert_sent([back]);

    let mut link = Script::new(2, []);
    ready(put_back(&mut link, &claimed()));
    link.assert_sent(["rollback", "rollback", back]);

    // A transaction that Diesel does not know of.
    let mut link = Script::new(0, [marked("transaction is open")]);
    ready(put_back(&mut link, &claimed()));
    link.assert_sent([back, "ROLLBACK", back]);

    let mut link = Script::new(0, [cancelled(), cancelled()]);
    ready(put_back(&mut link, &claimed()));
    link.assert_sent([back, "ROLLBACK"]);

    let mut link = Script::new(0, []);
    link.cut_off = true;
    ready(put_back(&mut link, &claimed()));
    link.assert_sent([END_SESSION, END_SESSION]);
}

#[test]
fn old_runs_are_forgotten_in_a_transaction_of_its_own() {
    let mut link = Script::new(0, []).with_rows(vec![CountRow { count: 7 }]);
    assert_eq!(ready(forget_runs(&mut link, MINUTE)).unwrap(), 7);
    link.assert_sent(["BEGIN ISOLATION LEVEL ", "WITH gone AS (DELETE ", "commit"]);

    let grants = GrantsRow {
        may_claim: true,
        may_forget: false,
    };
    let mut link = Script::new(0, [Ok(()), cancelled()]).with_rows(vec![grants]);
    let forgotten = ready(forget_runs(&mut link, MINUTE));
    assert!(matches!(forgotten, Err(Error::NoGrants)));
    link.assert_sent([
        "BEGIN ISOLATION LEVEL ",
        "WITH gone AS (DELETE ",
        "rollback",
        GRANTS,
    ]);

    let mut link = Script::new(1, []);
    let forgotten = ready(forget_runs(&mut link, MINUTE)).unwrap_err();
    assert!(matches!(
        forgotten,
        Error::Database(DieselError::AlreadyInTransaction)
    ));
    assert_eq!(link.sent, [""; 0]);
}

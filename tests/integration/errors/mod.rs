//! What errors say, and the way to and from those of others.

use std::error::Error as StdError;
use std::time::Duration;

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::Sandbox;

use crate::support::{Holder, connect, lock_session, unique};

fn unavailable() -> Error {
    let lock = unique("errors");
    let url = format!("{}&application_name=web-3", Sandbox::shared().url());
    let _holder = Holder::at(&url, lock.clone());
    let result = connect()
        .advisory(&lock)
        .timeout(Duration::from_millis(1))
        .run(|_| Ok(()));
    result.unwrap_err()
}

fn not_in_transaction() -> Error {
    connect()
        .advisory_xact(unique("errors"))
        .acquire()
        .unwrap_err()
}

fn in_transaction() -> Error {
    let result = connect().transaction(|conn| {
        conn.advisory_session(unique("errors"))
            .run(|_| Ok::<_, Error>(()))
    });
    result.unwrap_err()
}

fn not_held() -> Error {
    let mut conn = connect();
    let mut held = conn.advisory_session(unique("errors")).acquire().unwrap();
    crate::support::execute(&mut held, "SELECT pg_advisory_unlock_all()");
    held.release().unwrap_err()
}

fn empty_name() -> Error {
    connect().is_advisory_locked("").unwrap_err()
}

fn database() -> Error {
    let result = connect().advisory(unique("errors")).run(|conn| {
        diesel::sql_query("SELECT 1 / 0").execute(conn)?;
        Ok(())
    });
    result.unwrap_err()
}

fn database_with_source() -> Error {
    let parse = "x".parse::<i32>().unwrap_err();
    DieselError::DeserializationError(Box::new(parse)).into()
}

/// Each variant as it comes about, what it begins and ends with, and what its source says.
type Case = (
    fn() -> Error,
    fn(&Error) -> bool,
    [&'static str; 2],
    Option<&'static str>,
);

const CASES: [Case; 7] = [
    (
        unavailable,
        |error| matches!(error, Error::Unavailable(_)),
        ["advisory lock \"errors.", "s"],
        None,
    ),
    (
        not_in_transaction,
        |error| matches!(error, Error::NotInTransaction),
        [
            "a transaction-scoped advisory lock needs an open transaction: call `advisory_xact`",
            "or use `advisory(…).run(…)`, which opens one",
        ],
        None,
    ),
    (
        in_transaction,
        |error| matches!(error, Error::InTransaction),
        [
            "a session-scoped advisory lock would be released before the open transaction commits",
            "use `advisory_xact(…)` inside a transaction, or take the session lock before it begins",
        ],
        None,
    ),
    (
        not_held,
        |error| matches!(error, Error::NotHeld),
        [
            "the advisory lock was not held any more when it was released",
            "something else has released the lock",
        ],
        None,
    ),
    (
        empty_name,
        |error| matches!(error, Error::EmptyName),
        ["an advisory lock needs a name", "the one given is empty"],
        None,
    ),
    (
        database,
        |error| matches!(error, Error::Database(DieselError::DatabaseError(..))),
        ["division by zero", "division by zero"],
        None,
    ),
    (
        database_with_source,
        |error| matches!(error, Error::Database(DieselError::DeserializationError(_))),
        [
            "invalid digit found in string",
            "invalid digit found in string",
        ],
        None,
    ),
];

#[test]
fn every_variant_says_what_it_is() {
    for (make, is_variant, [begin, end], source) in CASES {
        let error = make();
        assert!(is_variant(&error), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with(begin) && text.ends_with(end), "{text}");
        let found = error.source().map(ToString::to_string);
        assert_eq!(found.as_deref(), source, "{text}");
        assert_eq!(
            error.is_unavailable(),
            matches!(error, Error::Unavailable(_)),
            "{text}"
        );
    }
}

#[test]
fn unavailable_says_who_and_since_when() {
    let text = unavailable().to_string();
    let (lock, holder) = text.split_once(": held by pid ").unwrap();
    assert!(lock.contains("\" is not available after "), "{text}");
    let (pid, state) = holder.split_once(" (web-3), idle for ").unwrap();
    assert!(pid.parse::<i32>().is_ok_and(|pid| pid > 0), "{text}");
    assert!(state.ends_with('s'), "{text}");
}

/// How long a holder has been idle is told as of now.
fn without_time(text: &str) -> &str {
    text.split(", idle for ").next().unwrap_or(text)
}

#[test]
fn through_diesel_and_back_is_the_same_error() {
    for (make, is_variant, ..) in CASES {
        let error = make();
        let (text, debug) = (error.to_string(), format!("{error:?}"));
        let diesel = DieselError::from(error);
        let is_ours = !matches!(
            diesel,
            DieselError::DatabaseError(..) | DieselError::DeserializationError(_)
        );
        assert_eq!(without_time(&diesel.to_string()), without_time(&text));
        assert_eq!(Error::find_in(&diesel).is_some(), is_ours, "{text}");
        assert!(Error::find_in(&diesel).is_none_or(is_variant), "{text}");

        let back = Error::from(diesel);
        assert!(is_variant(&back), "{back:?}");
        assert_eq!(format!("{back:?}"), debug);
        // As often as one likes.
        let back = Error::from(DieselError::from(Error::from(DieselError::from(back))));
        assert_eq!(format!("{back:?}"), debug);
    }
}

#[test]
fn a_query_builder_error_of_others_is_not_ours() {
    let foreign = DieselError::QueryBuilderError("of others".into());
    assert!(Error::find_in(&foreign).is_none());
    let error = Error::from(foreign);
    assert!(
        matches!(error, Error::Database(DieselError::QueryBuilderError(_))),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "of others");
}

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("the lock")]
    Lock(#[from] Error),
    #[error("the database")]
    Diesel(#[from] DieselError),
    #[error("no number")]
    Parse(#[from] std::num::ParseIntError),
}

/// Runs closures that return `$error`, with `?` on what Diesel, this crate and others return.
macro_rules! with_closures_that_return {
    ($error:ty, $parse:expr, $as_error:expr) => {{
        type E = $error;
        let mut conn = connect();
        let lock = unique("errors.closure");
        let (held, mut other) = (unique("errors.held"), connect());
        lock_session(&mut other, held.clone());
        let parse: fn(&str) -> Result<i32, E> = $parse;
        let as_error: fn(&E) -> &(dyn StdError + 'static) = $as_error;

        let one = conn.advisory(&lock).run(|conn| -> Result<i32, E> {
            diesel::sql_query("SELECT 1").execute(conn)?;
            conn.advisory_xact(&lock).acquire()?;
            conn.advisory(&lock)
                .run(|conn| diesel::sql_query("SELECT 1").execute(conn))?;
            parse("1")
        });
        assert_eq!(one.unwrap(), 1);

        let failed = conn.advisory(&lock).run(|_| parse("x"));
        let failed = failed.unwrap_err();
        let found = Error::find_in(as_error(&failed));
        assert!(
            matches!(found, None | Some(Error::Database(_))),
            "{failed:?}"
        );

        // Where the lock was not to be had, in the closure and before it.
        let inside = conn.advisory(&lock).run(|conn| -> Result<(), E> {
            conn.advisory_xact(&held).no_wait().acquire()?;
            Ok(())
        });
        let in_plain_closure = conn.advisory(&lock).run(|conn| -> Result<(), E> {
            let held = conn.advisory(&held).no_wait();
            held.run(|conn| diesel::sql_query("SELECT 1").execute(conn))?;
            Ok(())
        });
        let before = conn
            .advisory(&held)
            .no_wait()
            .run(|_| -> Result<(), E> { Ok(()) });
        for error in [inside, in_plain_closure, before].map(Result::unwrap_err) {
            match Error::find_in(as_error(&error)) {
                Some(Error::Unavailable(unavailable)) => {
                    assert_eq!(unavailable.lock.to_string(), held);
                }
                found => panic!("{found:?} in {error:?}"),
            }
        }
    }};
}

/// As Diesel says that something is no number.
fn number(text: &str) -> QueryResult<i32> {
    text.parse()
        .map_err(|error| DieselError::DeserializationError(Box::new(error)))
}

#[test]
fn closures_return_what_they_like() {
    with_closures_that_return!(DieselError, number, |error| error);
    with_closures_that_return!(Error, |text| Ok(number(text)?), |error| error);
    with_closures_that_return!(AppError, |text| Ok(text.parse()?), |error| error);
    with_closures_that_return!(anyhow::Error, |text| Ok(text.parse()?), |error| &**error);
    with_closures_that_return!(
        Box<dyn StdError + Send + Sync>,
        |text| Ok(text.parse()?),
        |error| &**error
    );
}

#[test]
fn find_in_walks_the_whole_chain() {
    use anyhow::Context;

    let deep = Err::<(), _>(DieselError::from(empty_name()))
        .context("one")
        .context("two");
    let deep: Box<dyn StdError + Send + Sync> = deep.unwrap_err().into();
    assert!(matches!(Error::find_in(&*deep), Some(Error::EmptyName)));
    let app = AppError::from(DieselError::from(not_in_transaction()));
    assert!(matches!(
        Error::find_in(&app),
        Some(Error::NotInTransaction)
    ));
}

//! Errors of closures: whatever they return, ours is found in it again.

use std::error::Error as StdError;

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_advisory::{AdvisoryConnection, Error};

use super::{empty_name, not_in_transaction};
use crate::support::{Holder, connect, unique};

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
        let held = unique("errors.held");
        let _holder = Holder::of(held.clone());
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

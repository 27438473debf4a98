//! What errors say, and the way to and from those of others.

mod closures;

use std::error::Error as StdError;
use std::ffi::CString;
use std::time::Duration;

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_advisory::{AdvisoryConnection, Error, IntoAdvisorySession};
use diesel_advisory_sandbox::Sandbox;

use crate::support::{
    Holder, begin, connect, connect_to, database as database_url, execute, pid, unique,
};

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

fn transaction_left_open() -> Error {
    let result = connect()
        .advisory_session(unique("errors"))
        .run(|conn| -> Result<(), Error> {
            begin(conn);
            Ok(())
        });
    result.unwrap_err()
}

fn not_held() -> Error {
    let mut conn = connect();
    let mut held = conn.advisory_session(unique("errors")).acquire().unwrap();
    execute(&mut held, "SELECT pg_advisory_unlock_all()");
    held.release().unwrap_err()
}

fn empty_name() -> Error {
    connect().is_advisory_locked("").unwrap_err()
}

fn shared_session() -> Error {
    let mut conn = connect();
    let run = conn.advisory_session(unique("errors")).run(|conn| {
        execute(conn, "RESET ALL");
        Ok::<_, Error>(())
    });
    run.unwrap_err()
}

fn empty_set() -> Error {
    let none: [&str; 0] = [];
    let mut conn = connect();
    let acquired = conn.advisory_session_all(none).acquire();
    acquired.map(drop).unwrap_err()
}

fn unsupported() -> Error {
    let mut conn = connect();
    let lock = conn.advisory("errors").no_wait().serializable().read_only();
    lock.deferrable().run(|_| Ok::<_, Error>(())).unwrap_err()
}

fn lost() -> Error {
    let mut conn = Box::new(connect());
    let pid = pid(&mut conn);
    let lease = conn.into_advisory_session(unique("errors"));
    let run = lease.lease(Duration::from_millis(200)).run(|lease| {
        Sandbox::shared().kill_backend(pid).unwrap();
        while lease.is_held() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok::<_, Error>(())
    });
    run.unwrap_err()
}

fn shut_down() -> Error {
    let lease = Box::new(connect()).into_advisory_session(unique("errors"));
    let run = lease.lease(Duration::from_secs(60)).run(|lease| {
        lease.resign();
        lease.check()
    });
    run.unwrap_err()
}

fn no_token() -> Error {
    let (url, role) = (database_url(), unique("errors").replace('.', "_"));
    let mut owner = connect_to(&url);
    execute(&mut owner, &format!("CREATE ROLE {role} LOGIN"));
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC";
    execute(&mut owner, revoke);
    execute(&mut owner, &format!("SET SESSION AUTHORIZATION {role}"));
    let mut held = owner.advisory_session("errors").acquire().unwrap();
    held.fencing_token().unwrap_err()
}

fn not_due() -> Error {
    let mut conn = connect();
    diesel_advisory::catalog::install(&mut conn).unwrap();
    let job = unique("errors");
    let mut run = || conn.advisory(&job).once().run(|_| Ok::<_, Error>(()));
    run().unwrap();
    run().unwrap_err()
}

fn no_catalog() -> Error {
    let mut conn = connect_to(&database_url());
    let once = conn.advisory("errors").once();
    once.run(|_| Ok::<_, Error>(())).unwrap_err()
}

fn no_grants() -> Error {
    let (url, role) = (database_url(), unique("errors").replace('.', "_"));
    let mut owner = connect_to(&url);
    diesel_advisory::catalog::install(&mut owner).unwrap();
    let set = format!("CREATE ROLE {role}; SET SESSION AUTHORIZATION {role}");
    execute(&mut owner, &set);
    let once = owner.advisory("errors").once();
    once.run(|_| Ok::<_, Error>(())).unwrap_err()
}

fn database() -> Error {
    let result = connect().advisory(unique("errors")).run(|conn| {
        diesel::sql_query("SELECT 1 / 0").execute(conn)?;
        Ok(())
    });
    result.unwrap_err()
}

fn database_with_source() -> Error {
    let not_utf8 = CString::new([0xff]).unwrap().into_string().unwrap_err();
    DieselError::DeserializationError(Box::new(not_utf8)).into()
}

/// Each variant as it comes about, what it begins and ends with, and what its source says.
type Case = (
    fn() -> Error,
    fn(&Error) -> bool,
    [&'static str; 2],
    Option<&'static str>,
);

const CASES: [Case; 18] = [
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
        transaction_left_open,
        |error| matches!(error, Error::TransactionLeftOpen),
        [
            "the work under the advisory lock left a transaction open, which was rolled back",
            "or use `transaction(…)`",
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
        shared_session,
        |error| matches!(error, Error::SharedSession),
        [
            "the database session of this advisory lock is used by other clients too",
            "whose lock ends with its transaction",
        ],
        None,
    ),
    (
        || Error::Standby,
        |error| matches!(error, Error::Standby),
        [
            "the server is a standby, whose advisory locks exclude nobody on the primary",
            "or call `allow_standby()` if that is meant",
        ],
        None,
    ),
    (
        empty_set,
        |error| matches!(error, Error::EmptySet),
        [
            "a set of advisory locks needs at least one lock",
            "the iterator yielded none",
        ],
        None,
    ),
    (
        unsupported,
        |error| matches!(error, Error::Unsupported(_)),
        [
            "a serializable, read only, deferrable transaction waits for a safe snapshot",
            "or `timeout(…)` and `no_wait()`",
        ],
        None,
    ),
    (
        lost,
        |error| matches!(error, Error::Lost(_)),
        ["the lease of advisory lock \"errors.", ""],
        None,
    ),
    (
        shut_down,
        |error| matches!(error, Error::ShutDown),
        ["the lease was given up", "or its work is over"],
        None,
    ),
    (
        no_token,
        |error| matches!(error, Error::NoToken(_)),
        [
            "there is no fencing token: the role may not call `pg_control_system`",
            "grant it `EXECUTE` on them",
        ],
        None,
    ),
    (
        not_due,
        |error| matches!(error, Error::NotDue(_)),
        ["\"errors.", ", and it is never to run again"],
        None,
    ),
    (
        no_catalog,
        |error| matches!(error, Error::NoCatalog),
        [
            "there is no table `diesel_advisory.runs`",
            "or the migrations in `diesel_advisory::MIGRATIONS`",
        ],
        None,
    ),
    (
        no_grants,
        |error| matches!(error, Error::NoGrants),
        [
            "the role may not keep runs in the lock catalog: `GRANT USAGE ON SCHEMA diesel_advisory",
            "`GRANT SELECT, INSERT, UPDATE, DELETE ON diesel_advisory.runs TO …`",
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
            "C string contained non-utf8 bytes",
            "C string contained non-utf8 bytes",
        ],
        Some("invalid utf-8 sequence of 1 bytes from index 0"),
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

/// How long a holder has been idle, and when a job was started, is told as of now.
fn without_time(text: &str) -> &str {
    let text = text.split(", idle for ").next().unwrap_or(text);
    text.split(" started it ").next().unwrap_or(text)
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

//! How a wait can end, and how each end is told from the others in every language of the server.

use std::thread;
use std::time::Duration;

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::Sandbox;

use crate::support::{
    Holder, PATIENCE, Wait, assert_clean, assert_free, committed, connect, execute, insert,
    lock_session, locks_of, pid, speak_german, table, unavailable, unique, wait_until_queued,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Run,
    RunSerializable,
    RunInTransaction,
    Xact,
}

const SCOPES: [Scope; 4] = [
    Scope::Run,
    Scope::RunSerializable,
    Scope::RunInTransaction,
    Scope::Xact,
];

impl Scope {
    fn is_inside_a_transaction(self) -> bool {
        matches!(self, Self::RunInTransaction | Self::Xact)
    }

    fn begin(self, conn: &mut PgConnection) {
        if self.is_inside_a_transaction() {
            AnsiTransactionManager::begin_transaction(conn).unwrap();
        }
    }

    fn attempt(self, conn: &mut PgConnection, lock: &str, wait: Wait) -> Result<(), Error> {
        match self {
            Self::Run | Self::RunInTransaction => wait.on(conn.advisory(lock)).run(|_| Ok(())),
            Self::RunSerializable => wait.on(conn.advisory(lock).serializable()).run(|_| Ok(())),
            Self::Xact => wait.on(conn.advisory_xact(lock)).acquire(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    English,
    German,
}

impl Language {
    /// Those that the server knows.
    fn all() -> Vec<Self> {
        if speak_german(&mut connect()) {
            return vec![Self::English, Self::German];
        }
        vec![Self::English]
    }

    fn set(self, conn: &mut PgConnection) -> QueryResult<usize> {
        let locale = match self {
            Self::English => "C",
            Self::German => "de_DE.UTF-8",
        };
        diesel::sql_query(format!("SET lc_messages = '{locale}'")).execute(conn)
    }
}

/// What ends a wait, other than the lock or its timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interference {
    Cancel,
    StatementTimeout,
    Deadlock,
    Kill,
}

const INTERFERENCES: [Interference; 4] = [
    Interference::Cancel,
    Interference::StatementTimeout,
    Interference::Deadlock,
    Interference::Kill,
];

impl Interference {
    /// Makes sure that the wait for the lock, which is about to begin, ends in this way.
    fn prepare(self, conn: &mut PgConnection, mut holder: Holder, lock: &str) -> Box<dyn FnOnce()> {
        let (pid, lock) = (pid(conn), lock.to_owned());
        let interfering = match self {
            Self::Cancel => thread::spawn(move || {
                wait_until_queued(lock, 1);
                holder.execute(&format!("SELECT pg_cancel_backend({pid})"));
                holder
            }),
            Self::Kill => thread::spawn(move || {
                wait_until_queued(lock, 1);
                Sandbox::shared().kill_backend(pid).unwrap();
                holder
            }),
            Self::StatementTimeout => {
                execute(conn, "SET statement_timeout = '200ms'");
                thread::spawn(|| holder)
            }
            Self::Deadlock => {
                // Only the session that looks for deadlocks becomes the victim of one.
                execute(conn, "SET deadlock_timeout = '1ms'");
                holder.execute("SET deadlock_timeout = '10min'");
                let circle = unique("outcomes.circle");
                lock_session(conn, circle.clone());
                let waiting = {
                    let circle = circle.clone();
                    thread::spawn(move || {
                        holder.lock(circle);
                        holder
                    })
                };
                wait_until_queued(circle, 1);
                waiting
            }
        };
        Box::new(move || drop(interfering.join().unwrap()))
    }

    /// What the server says, unless that can get lost with the connection.
    fn message(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Cancel, Language::English) => "canceling statement due to user request",
            (Self::Cancel, Language::German) => "storniere Anfrage wegen Benutzeraufforderung",
            (Self::StatementTimeout, Language::English) => {
                "canceling statement due to statement timeout"
            }
            (Self::StatementTimeout, Language::German) => {
                "storniere Anfrage wegen Zeitüberschreitung der Anfrage"
            }
            (Self::Deadlock, Language::English) => "deadlock detected",
            (Self::Deadlock, Language::German) => "Verklemmung (Deadlock) entdeckt",
            (Self::Kill, _) => "",
        }
    }
}

#[test]
fn a_wait_that_fails_is_told_from_a_timeout() {
    for language in Language::all() {
        for scope in SCOPES {
            for wait in [Wait::Inherit, Wait::AtMost(PATIENCE), Wait::Forever] {
                for interference in INTERFERENCES {
                    check_failed_wait(language, scope, wait, interference);
                }
            }
        }
    }
}

fn check_failed_wait(language: Language, scope: Scope, wait: Wait, interference: Interference) {
    let case = format!("{language:?}, {scope:?}, {wait:?}, {interference:?}");
    let lock = unique("outcomes.failed");
    let mut conn = connect();
    let table = table(&mut conn);
    language.set(&mut conn).unwrap();
    let holder = Holder::of(lock.clone());
    let ends = interference.prepare(&mut conn, holder, &lock);
    scope.begin(&mut conn);
    insert(&mut conn, &table, 1).unwrap();

    let error = scope.attempt(&mut conn, &lock, wait).unwrap_err();
    match &error {
        Error::Database(DieselError::DatabaseError(_, info)) => {
            let message = interference.message(language);
            assert!(info.message().contains(message), "{case}: {error}");
        }
        _ => panic!("{case}: {error:?}"),
    }

    let lost = interference == Interference::Kill;
    if lost {
        assert!(
            diesel::sql_query("SELECT 1").execute(&mut conn).is_err(),
            "{case}"
        );
    } else {
        if scope == Scope::Xact {
            // As after any other statement that fails.
            AnsiTransactionManager::rollback_transaction(&mut conn).unwrap();
        } else if scope == Scope::RunInTransaction {
            AnsiTransactionManager::commit_transaction(&mut conn).unwrap();
        }
        if interference == Interference::Deadlock {
            assert_eq!(locks_of(pid(&mut conn)), 1, "{case}");
            execute(&mut conn, "SELECT pg_advisory_unlock_all()");
        }
        assert_clean(&mut conn);
    }
    ends();
    assert_free(lock);
    let kept = match scope {
        Scope::Run | Scope::RunSerializable => true,
        Scope::RunInTransaction => !lost,
        Scope::Xact => false,
    };
    assert_eq!(
        committed(&table),
        if kept { vec![1] } else { vec![] },
        "{case}"
    );
}

#[test]
fn a_wait_in_vain_leaves_the_transaction_usable() {
    const TIMEOUT: Duration = Duration::from_millis(30);

    for language in Language::all() {
        for scope in SCOPES {
            for (wait, least) in [
                (Wait::AtMost(TIMEOUT), TIMEOUT),
                (Wait::Inherit, TIMEOUT),
                (Wait::No, Duration::ZERO),
            ] {
                let lock = unique("outcomes.vain");
                let holder = Holder::of(lock.clone());
                let mut conn = connect();
                let table = table(&mut conn);
                language.set(&mut conn).unwrap();
                if wait == Wait::Inherit {
                    execute(&mut conn, "SET lock_timeout = '30ms'");
                }
                scope.begin(&mut conn);
                insert(&mut conn, &table, 1).unwrap();

                let error = scope.attempt(&mut conn, &lock, wait).unwrap_err();
                let unavailable = unavailable(error);
                assert_eq!(unavailable.lock.to_string(), lock);
                assert!(
                    unavailable.waited >= least,
                    "{scope:?}, {wait:?}: {unavailable}"
                );

                insert(&mut conn, &table, 2).unwrap();
                if scope.is_inside_a_transaction() {
                    AnsiTransactionManager::commit_transaction(&mut conn).unwrap();
                }
                assert_eq!(committed(&table), [1, 2], "{scope:?}, {wait:?}");
                assert_clean(&mut conn);
                drop(holder);
                assert_free(lock);
            }
        }
    }
}

#[test]
fn unavailable_says_who_holds_the_lock() {
    for scope in SCOPES {
        let lock = unique("outcomes.holders");
        let mut first = Holder::at(
            &format!("{}&application_name=first", Sandbox::shared().url()),
            lock.clone(),
        );
        first.execute("SELECT pg_advisory_unlock_all()");
        first.lock_shared(lock.clone());
        first.execute("BEGIN");
        let mut second = Holder::of(unique("outcomes.other"));
        second.execute("SET application_name = ''");
        second.lock_shared(lock.clone());

        let mut conn = connect();
        scope.begin(&mut conn);
        let error = scope.attempt(&mut conn, &lock, Wait::No).unwrap_err();
        let mut holders = unavailable(error).holders;
        holders.sort_by_key(|holder| holder.application_name.is_none());
        assert_eq!(holders.len(), 2, "{scope:?}: {holders:?}");
        assert_eq!(holders[0].pid, first.pid());
        assert_eq!(holders[0].application_name.as_deref(), Some("first"));
        assert_eq!(holders[0].state.as_deref(), Some("idle in transaction"));
        assert_eq!(holders[1].pid, second.pid());
        assert_eq!(holders[1].application_name, None);
        assert_eq!(holders[1].state.as_deref(), Some("idle"));
        for holder in holders {
            let in_state = holder.since.unwrap().elapsed().unwrap_or_default();
            assert!(in_state < PATIENCE, "{holder}");
        }
    }
}

#[test]
fn a_try_answers_instead_of_failing() {
    let lock = unique("outcomes.try");
    let holder = Holder::of(lock.clone());
    let mut conn = connect();
    for wait in [Wait::No, Wait::AtMost(Duration::from_millis(5))] {
        let called = |_: &mut PgConnection| -> Result<(), Error> { panic!("without the lock") };
        assert_eq!(wait.on(conn.advisory(&lock)).try_run(called).unwrap(), None);
        let result = conn.transaction(|conn| {
            assert_eq!(wait.on(conn.advisory(&lock)).try_run(called)?, None);
            wait.on(conn.advisory_xact(&lock)).try_acquire()
        });
        assert!(!result.unwrap());
        assert_clean(&mut conn);
    }
    drop(holder);
    let ran = conn.advisory(&lock).try_run(|_| Ok::<_, Error>(7)).unwrap();
    assert_eq!(ran, Some(7));
    let result = conn.transaction(|conn| conn.advisory_xact(&lock).try_acquire());
    assert!(result.unwrap());
}

/// A row lock that is not to be had raises the same SQLSTATE as an advisory lock.
#[test]
fn a_row_lock_in_vain_is_not_unavailable() {
    let mut conn = connect();
    let table = table(&mut conn);
    insert(&mut conn, &table, 1).unwrap();
    let mut other = Holder::of(unique("outcomes.row"));
    other.execute(&format!("BEGIN; SELECT value FROM {table} FOR UPDATE"));
    for language in Language::all() {
        language.set(&mut conn).unwrap();
        for sql in [
            format!("SELECT value FROM {table} FOR UPDATE NOWAIT"),
            format!("SET LOCAL lock_timeout = '5ms'; SELECT value FROM {table} FOR UPDATE"),
        ] {
            let error = conn.advisory(unique("outcomes.row")).run(|conn| {
                diesel::connection::SimpleConnection::batch_execute(conn, &sql)?;
                Ok::<_, Error>(())
            });
            assert!(
                matches!(error, Err(Error::Database(_))),
                "{language:?}: {error:?}"
            );
            assert_clean(&mut conn);
        }
    }
}

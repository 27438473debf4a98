//! A wait that fails, and how that is told from a timeout in every language of the server.

use std::thread;

use diesel::result::Error as DieselError;
use diesel_advisory::Error;
use diesel_advisory_sandbox::Sandbox;

use super::side::*;
use super::waiting::{SCOPES, Scope};
use crate::support::{
    Holder, Language, Wait, assert_free, committed, locks_of, unique, wait_until_queued,
};

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
    /// Makes sure that the wait for the lock, which is about to begin, ends in this way. What is
    /// returned is called when it has.
    #[helper]
    async fn prepare(self, conn: &mut Conn, mut holder: Holder, lock: &str) -> Box<dyn FnOnce()> {
        let (pid, lock) = (pid(conn).await, lock.to_owned());
        let interfering = match self {
            Self::Cancel => holder.when_queued(lock, move |mut holder| {
                holder.execute(&format!("SELECT pg_cancel_backend({pid})"));
                holder
            }),
            Self::Kill => holder.when_queued(lock, move |holder| {
                Sandbox::shared().kill_backend(pid).unwrap();
                holder
            }),
            Self::StatementTimeout => {
                execute(conn, "SET statement_timeout = '200ms'").await;
                thread::spawn(|| holder)
            }
            Self::Deadlock => {
                // Only the session that looks for deadlocks becomes the victim of one.
                execute(conn, "SET deadlock_timeout = '1ms'").await;
                holder.execute("SET deadlock_timeout = '10min'");
                let circle = unique("failed_wait.circle");
                lock_session(conn, circle.clone()).await;
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

#[scenario]
async fn a_wait_that_fails_is_told_from_a_timeout() {
    for language in Language::all() {
        for scope in SCOPES {
            for wait in Wait::WAITING {
                for interference in INTERFERENCES {
                    check_failed_wait(language, scope, wait, interference).await;
                }
            }
        }
    }
}

#[helper]
async fn check_failed_wait(
    language: Language,
    scope: Scope,
    wait: Wait,
    interference: Interference,
) {
    let case = format!("{language:?}, {scope:?}, {wait:?}, {interference:?}");
    let lock = unique("failed_wait");
    let mut conn = connect().await;
    let own_pid = pid(&mut conn).await;
    let table = table(&mut conn).await;
    execute(&mut conn, language.set()).await;
    execute(&mut conn, "SET lock_timeout = '61s'").await;
    let holder = Holder::of(lock.clone());
    let ends = interference.prepare(&mut conn, holder, &lock).await;
    scope.begin(&mut conn).await;
    insert(&mut conn, &table, 1).await.unwrap();

    let error = scope.take(&mut conn, &lock, wait).await.unwrap_err();
    match &error {
        Error::Database(DieselError::DatabaseError(_, info)) => {
            let message = interference.message(language);
            assert!(info.message().contains(message), "{case}: {error}");
        }
        _ => panic!("{case}: {error:?}"),
    }

    let lost = interference == Interference::Kill;
    if lost {
        assert!(insert(&mut conn, &table, 2).await.is_err(), "{case}");
        assert_eq!(locks_of(own_pid), 0, "{case}");
    } else {
        if scope == Scope::Xact {
            // As after any other statement that fails.
            roll_back(&mut conn).await;
        } else if scope == Scope::RunInTransaction {
            commit(&mut conn).await;
        }
        assert_eq!(lock_timeout(&mut conn).await, "61s", "{case}");
        if interference == Interference::Deadlock {
            assert_eq!(locks_of(own_pid), 1, "{case}");
            execute(&mut conn, "SELECT pg_advisory_unlock_all()").await;
        }
        assert_clean(&mut conn).await;
    }
    ends();
    assert_free(lock);
    let kept = match scope {
        Scope::Run | Scope::RunSerializable | Scope::Session => true,
        Scope::RunInTransaction => !lost,
        Scope::Xact => false,
    };
    let kept = if kept { vec![1] } else { vec![] };
    assert_eq!(committed(&table), kept, "{case}");
}

//! Above read committed, no closure reads a snapshot that is older than its lock.

use std::sync::Barrier;
use std::thread;

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_advisory::{AdvisoryConnection, AdvisoryLock, Error, OwnTransaction};

use crate::support::{
    Holder, PATIENCE, Wait, assert_clean, assert_free, committed, connect, execute, insert,
    integer, locks_of, pid, table, text, unavailable, unique, values,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

const LEVELS: [Level; 3] = [
    Level::ReadCommitted,
    Level::RepeatableRead,
    Level::Serializable,
];

impl Level {
    fn on<C>(
        self,
        lock: AdvisoryLock<'_, C, OwnTransaction>,
    ) -> AdvisoryLock<'_, C, OwnTransaction> {
        match self {
            Self::ReadCommitted => lock.read_committed(),
            Self::RepeatableRead => lock.repeatable_read(),
            Self::Serializable => lock.serializable(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
            Self::Serializable => "serializable",
        }
    }
}

/// Where the level of a transaction comes from.
#[derive(Debug, Clone, Copy)]
enum Source {
    Builder(Level),
    Session(Level),
    /// The builder's counts, and not the session's.
    BuilderOverSession(Level, Level),
}

impl Source {
    fn all() -> Vec<Self> {
        let both = LEVELS
            .iter()
            .flat_map(|&level| [Self::Builder(level), Self::Session(level)]);
        both.chain([
            Self::BuilderOverSession(Level::ReadCommitted, Level::Serializable),
            Self::BuilderOverSession(Level::RepeatableRead, Level::Serializable),
            Self::BuilderOverSession(Level::Serializable, Level::ReadCommitted),
        ])
        .collect()
    }

    fn level(self) -> Level {
        match self {
            Self::Builder(level) | Self::Session(level) | Self::BuilderOverSession(level, _) => {
                level
            }
        }
    }

    fn connect(self) -> PgConnection {
        let mut conn = connect();
        if let Self::Session(level) | Self::BuilderOverSession(_, level) = self {
            let name = level.name();
            execute(
                &mut conn,
                &format!("SET default_transaction_isolation = '{name}'"),
            );
        }
        conn
    }

    fn on<C>(
        self,
        lock: AdvisoryLock<'_, C, OwnTransaction>,
    ) -> AdvisoryLock<'_, C, OwnTransaction> {
        match self {
            Self::Builder(level) | Self::BuilderOverSession(level, _) => level.on(lock),
            Self::Session(_) => lock,
        }
    }
}

#[test]
fn two_writers_never_lose_an_update_or_fail() {
    const ROUNDS: usize = 200;

    for source in Source::all() {
        for wait in [
            Wait::Inherit,
            Wait::AtMost(PATIENCE),
            Wait::Forever,
            Wait::No,
        ] {
            let lock = unique("isolation");
            let table = table(&mut connect());
            insert(&mut connect(), &table, 0).unwrap();
            let start = Barrier::new(2);
            let add_one = |conn: &mut PgConnection| {
                let value = integer(conn, &format!("SELECT value FROM {table}"));
                diesel::sql_query(format!("UPDATE {table} SET value = {value} + 1")).execute(conn)
            };
            let write = || {
                let mut conn = source.connect();
                start.wait();
                let mut rounds = 0;
                while rounds < ROUNDS {
                    let lock = wait.on(source.on(conn.advisory(&lock)));
                    let done = match wait {
                        Wait::No => lock.try_run(add_one),
                        _ => lock.run(add_one).map(Some),
                    };
                    match done.unwrap_or_else(|error| panic!("{source:?}, {wait:?}: {error}")) {
                        Some(_) => rounds += 1,
                        None => thread::yield_now(),
                    }
                }
                assert_clean(&mut conn);
            };
            thread::scope(|scope| {
                scope.spawn(write);
                scope.spawn(write);
            });
            assert_eq!(committed(&table), [400], "{source:?}, {wait:?}");
        }
    }
}

#[test]
fn what_the_last_holder_committed_is_seen() {
    for source in Source::all() {
        for wait in [Wait::Inherit, Wait::AtMost(PATIENCE), Wait::Forever] {
            let lock = unique("isolation.fresh");
            let mut conn = source.connect();
            let (table, pid) = (table(&mut conn), pid(&mut conn));
            let mut holder = Holder::of(lock.clone());
            holder.execute(&format!("BEGIN; INSERT INTO {table} VALUES (1)"));
            let (queued, name) = (lock.clone(), lock.clone());
            let releasing = thread::spawn(move || {
                crate::support::wait_until_queued(queued, 1);
                holder.execute("COMMIT");
            });
            let result = wait.on(source.on(conn.advisory(&name))).run(|conn| {
                assert_eq!(values(conn, &table), [1], "{source:?}, {wait:?}");
                let level = text(
                    conn,
                    "SELECT current_setting('transaction_isolation') AS value",
                );
                assert_eq!(level, source.level().name(), "{source:?}, {wait:?}");
                assert_eq!(locks_of(pid), 1, "{source:?}, {wait:?}");
                QueryResult::Ok(())
            });
            assert_eq!(result, Ok(()));
            releasing.join().unwrap();
            assert_clean(&mut conn);
            assert_free(lock);
        }
    }
}

#[test]
fn a_wait_in_vain_leaves_no_session_lock() {
    for source in Source::all() {
        for wait in [Wait::No, Wait::AtMost(std::time::Duration::from_millis(3))] {
            let (lock, free) = (unique("isolation.vain"), unique("isolation.free"));
            let _holder = Holder::of(lock.clone());
            let mut conn = source.connect();
            let set = wait.on(source.on(conn.advisory(&lock))).and(&free);
            let error = set.run(|_| Ok::<_, Error>(())).unwrap_err();
            assert_eq!(unavailable(error).lock.to_string(), lock);
            assert_clean(&mut conn);
            assert_free(free);
        }
    }
}

#[test]
fn a_failure_of_the_closure_leaves_no_session_lock() {
    for level in LEVELS {
        let lock = unique("isolation.fail");
        let mut conn = connect();
        let result = level
            .on(conn.advisory(&lock))
            .and(7_001)
            .run(|_| Err::<(), _>(diesel::NotFound));
        assert_eq!(result, Err(diesel::NotFound));
        assert_clean(&mut conn);
        assert_free(lock);
    }
}

#[test]
fn a_session_lock_that_was_held_before_stays() {
    for level in LEVELS {
        let lock = unique("isolation.held");
        let mut holder = connect();
        let mut held = holder.advisory_session(&lock).acquire().unwrap();
        level
            .on(held.advisory(&lock))
            .run(|_| QueryResult::Ok(()))
            .unwrap();
        let free = connect()
            .advisory(&lock)
            .no_wait()
            .try_run(|_| QueryResult::Ok(()));
        assert_eq!(free, Ok(None), "{level:?}");
        held.release().unwrap();
        assert_free(lock);
    }
}

#[test]
fn modes_inside_an_open_transaction_are_an_error() {
    type Set = for<'a> fn(
        AdvisoryLock<'a, &'a mut PgConnection, OwnTransaction>,
    ) -> AdvisoryLock<'a, &'a mut PgConnection, OwnTransaction>;
    let modes: [Set; 7] = [
        |lock| lock.read_committed(),
        |lock| lock.repeatable_read(),
        |lock| lock.serializable(),
        |lock| lock.read_only(),
        |lock| lock.read_write(),
        |lock| lock.deferrable(),
        |lock| lock.not_deferrable(),
    ];
    let lock = unique("isolation.open");
    let mut conn = connect();
    let table = table(&mut conn);
    for (mode, value) in modes.into_iter().zip(1..) {
        let result = conn.transaction(|conn| {
            insert(conn, &table, value)?;
            let result = mode(conn.advisory(&lock)).run(|_| Ok::<_, Error>(()));
            let expected = DieselError::AlreadyInTransaction;
            assert!(matches!(result, Err(Error::Database(error)) if error == expected));
            assert_free(lock.clone());
            QueryResult::Ok(())
        });
        assert_eq!(result, Ok(()));
    }
    assert_eq!(committed(&table), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn access_modes_are_those_of_the_transaction() {
    const SETTINGS: &str = "SELECT concat_ws(' ', current_setting('transaction_isolation'), \
                            current_setting('transaction_read_only'), \
                            current_setting('transaction_deferrable')) AS value";
    for wait in Wait::ALL {
        let lock = unique("isolation.modes");
        let mut conn = connect();
        let settings = |conn: &mut PgConnection| QueryResult::Ok(text(conn, SETTINGS));

        let waiting = wait.on(conn.advisory(&lock).read_only());
        assert_eq!(waiting.run(settings).unwrap(), "read committed on off");
        let waiting = wait.on(conn.advisory(&lock).serializable().read_only().deferrable());
        assert_eq!(waiting.run(settings).unwrap(), "serializable on on");
        execute(
            &mut conn,
            "SET default_transaction_read_only = on; SET default_transaction_deferrable = on",
        );
        let waiting = wait.on(conn
            .advisory(&lock)
            .repeatable_read()
            .read_write()
            .not_deferrable());
        assert_eq!(waiting.run(settings).unwrap(), "repeatable read off off");
        let waiting = wait.on(conn.advisory(&lock));
        assert_eq!(waiting.run(settings).unwrap(), "read committed on on");
        assert_clean(&mut conn);
        assert_free(lock);
    }
}

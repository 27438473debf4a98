//! What each operation costs on the wire, for a lock that is free.

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::{Proxy, Sandbox};

use crate::support::{PATIENCE, Wait, connect_to, execute, unique};

/// A connection that can be counted, with a proxy of its own.
fn counted() -> (Proxy, PgConnection) {
    let proxy = Sandbox::shared().proxy();
    let mut conn = connect_to(proxy.url());
    // Whatever a connection does once only.
    execute(&mut conn, "SELECT");
    (proxy, conn)
}

/// The round trips of an operation: the first time, and the second.
fn count(
    conn: &mut PgConnection,
    proxy: &Proxy,
    operation: &dyn Fn(&mut PgConnection),
) -> [usize; 2] {
    [(); 2].map(|()| {
        proxy.reset();
        operation(conn);
        proxy.round_trips()
    })
}

type Operation = fn(&mut PgConnection, lock: &str, wait: Wait) -> Result<(), Error>;

fn run(conn: &mut PgConnection, lock: &str, wait: Wait) -> Result<(), Error> {
    wait.on(conn.advisory(lock)).run(|_| Ok(()))
}

#[test]
fn of_a_lock_around_a_transaction() {
    const WAITING: [Wait; 3] = [Wait::Inherit, Wait::AtMost(PATIENCE), Wait::Forever];

    let operations: [(&str, Operation, usize, usize); 6] = [
        ("run", run, 2, 3),
        (
            "try_run",
            |conn, lock, wait| wait.on(conn.advisory(lock)).try_run(|_| Ok(())).map(drop),
            2,
            3,
        ),
        (
            "shared",
            |conn, lock, wait| wait.on(conn.advisory(lock)).shared().run(|_| Ok(())),
            2,
            3,
        ),
        (
            "a set of three",
            |conn, lock, wait| {
                let set = conn.advisory(lock).and((lock, 2)).and((lock, 3));
                wait.on(set).run(|_| Ok(()))
            },
            2,
            3,
        ),
        (
            "read committed",
            |conn, lock, wait| {
                wait.on(conn.advisory(lock))
                    .read_committed()
                    .run(|_| Ok(()))
            },
            2,
            3,
        ),
        (
            "serializable",
            |conn, lock, wait| wait.on(conn.advisory(lock)).serializable().run(|_| Ok(())),
            2,
            2,
        ),
    ];
    let (proxy, mut conn) = counted();
    for (what, operation, waiting, no_wait) in operations {
        let lock = unique("round_trips");
        for (wait, expected) in WAITING
            .map(|wait| (wait, waiting))
            .into_iter()
            .chain([(Wait::No, no_wait)])
        {
            let counts = count(&mut conn, &proxy, &|conn| {
                operation(conn, &lock, wait).unwrap();
            });
            assert_eq!(counts, [expected; 2], "{what}, {wait:?}");
        }
    }
}

#[test]
fn of_a_run_that_fails() {
    let (proxy, mut conn) = counted();
    let lock = unique("round_trips.fails");
    let counts = count(&mut conn, &proxy, &|conn| {
        let result = conn.advisory(&lock).run(|_| Err::<(), _>(diesel::NotFound));
        assert_eq!(result, Err(diesel::NotFound));
    });
    assert_eq!(counts, [2; 2]);
}

#[test]
fn of_a_nested_run() {
    let (proxy, mut conn) = counted();
    AnsiTransactionManager::begin_transaction(&mut conn).unwrap();
    let lock = unique("round_trips.nested");
    for (wait, expected) in [
        (Wait::Inherit, 2),
        (Wait::AtMost(PATIENCE), 2),
        (Wait::Forever, 2),
        (Wait::No, 3),
    ] {
        let counts = count(&mut conn, &proxy, &|conn| run(conn, &lock, wait).unwrap());
        assert_eq!(counts, [expected; 2], "{wait:?}");
    }
}

#[test]
fn of_a_lock_in_an_open_transaction() {
    let operations: [(&str, Operation); 4] = [
        ("acquire", |conn, lock, wait| {
            wait.on(conn.advisory_xact(lock)).acquire()
        }),
        ("try_acquire", |conn, lock, wait| {
            wait.on(conn.advisory_xact(lock)).try_acquire().map(drop)
        }),
        ("shared", |conn, lock, wait| {
            wait.on(conn.advisory_xact(lock)).shared().acquire()
        }),
        ("a set of three", |conn, lock, wait| {
            wait.on(conn.advisory_xact(lock).and((lock, 2)).and((lock, 3)))
                .acquire()
        }),
    ];
    let (proxy, mut conn) = counted();
    AnsiTransactionManager::begin_transaction(&mut conn).unwrap();
    for (what, operation) in operations {
        for wait in Wait::ALL {
            let lock = unique("round_trips.open");
            let counts = count(&mut conn, &proxy, &|conn| {
                operation(conn, &lock, wait).unwrap();
            });
            assert_eq!(counts, [1; 2], "{what}, {wait:?}");
        }
    }
}

#[test]
fn of_a_look_whether_it_is_locked() {
    let (proxy, mut conn) = counted();
    let lock = unique("round_trips.is_locked");
    let counts = count(&mut conn, &proxy, &|conn| {
        assert!(!conn.is_advisory_locked(&lock).unwrap());
    });
    assert_eq!(counts, [1; 2]);
}

#[test]
fn none_where_the_scope_is_wrong() {
    let (proxy, mut conn) = counted();
    let lock = unique("round_trips.scope");
    for wait in Wait::ALL {
        let counts = count(&mut conn, &proxy, &|conn| {
            let result = wait.on(conn.advisory_xact(&lock)).acquire();
            assert!(matches!(result, Err(Error::NotInTransaction)), "{result:?}");
        });
        assert_eq!(counts, [0; 2]);
    }
    AnsiTransactionManager::begin_transaction(&mut conn).unwrap();
    let counts = count(&mut conn, &proxy, &|conn| {
        let result = conn
            .advisory(&lock)
            .serializable()
            .run(|_| Ok::<_, Error>(()));
        assert!(result.is_err());
    });
    assert_eq!(counts, [0; 2]);
}

/// The work between the grant and the commit goes to the server as the user wrote it, and nothing else.
#[test]
fn nothing_is_sent_while_the_lock_is_held() {
    let (proxy, mut conn) = counted();
    for wait in Wait::ALL {
        let lock = unique("round_trips.held");
        let result = wait.on(conn.advisory(&lock)).run(|conn| {
            proxy.reset();
            execute(conn, "SELECT 'work'");
            Ok::<_, Error>(())
        });
        result.unwrap();
        assert_eq!(proxy.sent(), ["SELECT 'work'", "COMMIT"], "{wait:?}");
        assert_eq!(proxy.round_trips(), 2, "{wait:?}");
    }
}

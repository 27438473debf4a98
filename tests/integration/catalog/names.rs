//! The names in the catalog.

use std::sync::Barrier;
use std::thread;

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_advisory::inspect::LockName;
use diesel_advisory::{Error, LockKey, catalog};
use diesel_advisory_sandbox::Sandbox;

use super::installed;
use crate::support::*;

#[test]
fn many_register_at_once_and_again() {
    let (url, mut conn) = installed();
    let names: Vec<String> = (0..200).map(|number| format!("report {number}")).collect();
    let threads = [0, 1, 2, 3, 4, 5, 6, 7].map(|turn| {
        let mut conn = connect_to(&url);
        let mut names = names.clone();
        names.rotate_left(turn * 25);
        if turn % 2 == 1 {
            names.reverse();
        }
        thread::spawn(move || {
            for _ in 0..3 {
                assert_eq!(catalog::register(&mut conn, &names).unwrap(), []);
            }
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    let count = "SELECT count(*)::int AS value FROM diesel_advisory.lock_names";
    assert_eq!(integer(&mut conn, count), 200);
    let known = catalog::names(&mut conn).unwrap();
    for name in &names {
        assert_eq!(known.of(LockKey::from_name(name)), [name.as_str()]);
    }
}

#[test]
fn registering_is_three_round_trips() {
    let proxy = Sandbox::shared().proxy();
    let mut conn = connect_to(proxy.url());
    catalog::install(&mut conn).unwrap();
    proxy.reset();
    let name = unique("it's; --");
    assert_eq!(catalog::register(&mut conn, [&name, "b"]).unwrap(), []);
    assert_eq!(proxy.round_trips(), 3);
    let names = catalog::names(&mut conn).unwrap();
    assert_eq!(names.display(LockKey::from_name(&name)), name);
}

#[test]
fn two_names_of_one_key_are_reported() {
    let (_, mut conn) = installed();
    let old = [("import", 42), ("export", 43)];
    assert_eq!(catalog::register(&mut conn, old).unwrap(), []);
    let new = [
        ("import of users", LockKey::BigInt(42)),
        ("pair", LockKey::Pair(0, 42)),
        ("one", LockKey::BigInt(i64::MIN)),
        ("and", LockKey::BigInt(i64::MIN)),
    ];
    for _ in 0..2 {
        let collisions = catalog::register(&mut conn, new).unwrap();
        let collisions: Vec<_> = collisions.iter().map(ToString::to_string).collect();
        assert_eq!(
            collisions,
            [
                r#"the locks "and" and "one" are the same: all have the key -9223372036854775808"#,
                r#"the locks "import" and "import of users" are the same: all have the key 42"#,
            ]
        );
    }
    // Those that are not asked for are not told.
    assert_eq!(catalog::register(&mut conn, ["other"]).unwrap(), []);
    let view = "SELECT string_agg(key || ': ' || array_to_string(names, ', '), '; ' ORDER BY key) \
                AS value FROM diesel_advisory.name_collisions";
    assert_eq!(
        text(&mut conn, view),
        "-9223372036854775808: and, one; 42: import, import of users"
    );
}

#[test]
fn registering_refuses() {
    let (_, mut conn) = installed();
    let refused = conn.transaction(|conn| {
        let refused = catalog::register(conn, ["a"]);
        assert!(
            catalog::names(conn)
                .unwrap()
                .of(LockKey::from_name("a"))
                .is_empty()
        );
        refused
    });
    assert!(matches!(
        refused.unwrap_err(),
        Error::Database(DieselError::AlreadyInTransaction)
    ));
    let empty = catalog::register(&mut conn, ["a", ""]).unwrap_err();
    assert!(matches!(empty, Error::EmptyName));
    assert_eq!(
        catalog::register(&mut conn, [] as [LockName<'_>; 0]).unwrap(),
        []
    );

    let mut conn = connect_to(&database());
    assert!(matches!(
        catalog::register(&mut conn, ["a"]).unwrap_err(),
        Error::Database(_)
    ));
    assert!(
        catalog::names(&mut conn)
            .unwrap()
            .of(LockKey::from_name("a"))
            .is_empty()
    );
}

/// Above read committed, a name that another process has added since would be a failure.
#[test]
fn many_register_at_once_in_sessions_whose_default_is_above_read_committed() {
    const ROUNDS: usize = 20;

    let (url, mut conn) = installed();
    let start = Barrier::new(6);
    let register = &|level: Level| {
        let mut conn = connect_to(&url);
        let level = level.name();
        let set = format!("SET default_transaction_isolation = '{level}'");
        execute(&mut conn, &set);
        // Who has failed goes on, so that nobody waits for it.
        let rounds = (0..ROUNDS).map(|round| {
            let names = (0..50).map(|number| format!("report {round} {number}"));
            let names: Vec<_> = names.collect();
            start.wait();
            catalog::register(&mut conn, &names)
        });
        rounds.collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let levels = [Level::RepeatableRead, Level::Serializable].repeat(3);
        let threads = levels
            .into_iter()
            .map(|level| scope.spawn(move || register(level)));
        for thread in threads.collect::<Vec<_>>() {
            for registered in thread.join().unwrap() {
                assert_eq!(registered.unwrap(), []);
            }
        }
    });
    let count = "SELECT count(*)::int AS value FROM diesel_advisory.lock_names";
    assert_eq!(integer(&mut conn, count), 1_000);
}

/// An index takes values of up to 2,704 bytes.
#[test]
fn names_of_any_length_are_registered() {
    let (_, mut conn) = installed();
    let long = |end: &str| {
        // Nothing that could be compressed.
        let random =
            (0..4_000).map(|number| format!("{:?}", LockKey::from_name(&number.to_string())));
        random.collect::<String>() + end
    };
    let names = [long("a"), long("b")];
    for _ in 0..2 {
        assert_eq!(catalog::register(&mut conn, &names).unwrap(), []);
    }
    let count = "SELECT count(*)::int AS value FROM diesel_advisory.lock_names";
    assert_eq!(integer(&mut conn, count), 2);
    let known = catalog::names(&mut conn).unwrap();
    for name in &names {
        assert_eq!(known.of(LockKey::from_name(name)), [name.as_str()]);
    }
}

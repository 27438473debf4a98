//! The names in the catalog.

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

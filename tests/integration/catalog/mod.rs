//! The lock catalog: installing it, names in it, and its views.

use std::path::Path;
use std::thread;

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_advisory::inspect::LockName;
use diesel_advisory::{Error, LockKey, MIGRATIONS, catalog};
use diesel_advisory_sandbox::Sandbox;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};

use crate::support::*;

/// A connection to a database of one's own that has the catalog.
fn installed() -> (String, PgConnection) {
    let url = database();
    let mut conn = connect_to(&url);
    catalog::install(&mut conn).unwrap();
    (url, conn)
}

/// All schemas but PostgreSQL's own, with the relations in them.
fn schemas(conn: &mut PgConnection) -> String {
    text(
        conn,
        "SELECT coalesce(string_agg(concat_ws('.', nspname, relname), ' ' ORDER BY nspname, relname), '') \
         AS value FROM pg_namespace LEFT JOIN pg_class ON relnamespace = pg_namespace.oid \
         AND relkind <> 'i' WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
    )
}

/// The one row of the query, its columns with spaces between.
fn row(conn: &mut PgConnection, columns: &str, condition: &str) -> String {
    let sql = format!(
        "SELECT concat_ws(' ', {columns}) AS value FROM diesel_advisory.locks WHERE {condition}"
    );
    text(conn, &sql)
}

#[test]
fn diesel_cli_finds_the_migrations() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(root.join("diesel.toml").exists());
    let found = || FileBasedMigrations::find_migrations_directory_in_path(root).unwrap();
    let mut conn = connect_to(&database());
    assert_eq!(conn.run_pending_migrations(found()).unwrap().len(), 2);
    assert!(!conn.has_pending_migration(MIGRATIONS).unwrap());
    conn.revert_all_migrations(found()).unwrap();
    assert_eq!(schemas(&mut conn), "public.__diesel_schema_migrations");
    // Whatever was left over would be in the way.
    conn.run_pending_migrations(found()).unwrap();
}

#[test]
fn it_is_installed_apart_from_everything_else() {
    let (_, mut conn) = installed();
    catalog::install(&mut conn).unwrap();
    assert_eq!(
        schemas(&mut conn),
        "diesel_advisory.__diesel_schema_migrations diesel_advisory.lock_names \
         diesel_advisory.locks diesel_advisory.name_collisions public"
    );
    catalog::uninstall(&mut conn).unwrap();
    assert_eq!(schemas(&mut conn), "public");
    catalog::uninstall(&mut conn).unwrap();
    assert_eq!(schemas(&mut conn), "public");
}

#[test]
fn what_is_not_of_the_catalog_stays() {
    let (_, mut conn) = installed();
    execute(&mut conn, "CREATE TABLE diesel_advisory.mine ()");
    catalog::uninstall(&mut conn).unwrap();
    assert_eq!(schemas(&mut conn), "diesel_advisory.mine public");
}

#[test]
fn the_search_path_is_restored() {
    const PATH: &str = "\"$user\", \"it's mine\"";

    let mut conn = connect_to(&database());
    execute(&mut conn, &format!("SET search_path = {PATH}"));
    catalog::install(&mut conn).unwrap();
    execute(
        &mut conn,
        "CREATE VIEW diesel_advisory.mine AS TABLE diesel_advisory.lock_names",
    );
    catalog::uninstall(&mut conn).unwrap_err();
    let search_path = "SELECT current_setting('search_path') AS value";
    assert_eq!(text(&mut conn, search_path), PATH);
}

#[test]
fn many_install_at_once() {
    let url = database();
    let threads = [(); 8].map(|()| {
        let mut conn = connect_to(&url);
        thread::spawn(move || catalog::install(&mut conn).unwrap())
    });
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn installed_it_is_verified_without_writing() {
    let (_, mut conn) = installed();
    execute(&mut conn, "SET default_transaction_read_only = on");
    catalog::install(&mut conn).unwrap();
}

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

#[test]
fn the_view_shows_every_key_as_it_was_written() {
    let (url, mut conn) = installed();
    let mut holder = Holder::at(&url, 0);
    for key in [
        LockKey::BigInt(-1),
        LockKey::BigInt(i64::MIN),
        LockKey::BigInt(i64::MAX),
        LockKey::BigInt(0x0000_0001_8000_0000),
        LockKey::Pair(0, 0),
        LockKey::Pair(-1, i32::MIN),
        LockKey::Pair(i32::MAX, 1),
        LockKey::from_name("reports.nightly"),
    ] {
        holder.lock(key);
        assert_eq!(
            row(&mut conn, "lock", &format!("key = '{key}'")),
            key.to_string()
        );
    }
    assert_eq!(
        catalog::register(&mut conn, ["reports.nightly"]).unwrap(),
        []
    );
    let named = row(&mut conn, "key", "lock = 'reports.nightly'");
    assert_eq!(named, LockKey::from_name("reports.nightly").to_string());
}

#[test]
fn the_view_shows_who_waits_for_whom() {
    let (url, mut conn) = installed();
    assert_eq!(catalog::register(&mut conn, ["a", "b"]).unwrap(), []);
    let mut holder = Holder::at(&url, "a");
    holder.lock_shared("b");
    holder.execute("SET application_name = 'web-3'");
    let mut waiting = connect_to(&url);
    let (holder_pid, waiting_pid) = (holder.pid(), pid(&mut waiting));
    let waiter = thread::spawn(move || lock_session(&mut waiting, "a"));
    wait_until_queued_at(&url, "a", 1);

    let columns = "mode, status, pid, username, application, state, blocked_by";
    assert_eq!(
        row(&mut conn, columns, "lock = 'a' AND status = 'held'"),
        format!("exclusive held {holder_pid} postgres web-3 idle {{}}")
    );
    assert_eq!(
        row(&mut conn, columns, "lock = 'b'"),
        format!("shared held {holder_pid} postgres web-3 idle {{}}")
    );
    assert_eq!(
        row(&mut conn, columns, "lock = 'a' AND status = 'waiting'"),
        format!("exclusive waiting {waiting_pid} postgres active {{{holder_pid}}}")
    );
    let detail = format!("pid = {waiting_pid} AND since <= clock_timestamp() AND query ~ 'lock'");
    assert_eq!(row(&mut conn, "lock", &detail), "a");
    drop(holder);
    waiter.join().unwrap();
}

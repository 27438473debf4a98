//! Installing the catalog, and removing it.

use std::path::Path;
use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error, LockKey, MIGRATIONS, catalog};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};

use super::installed;
use crate::support::*;

/// All schemas but PostgreSQL's own, with the relations in them.
fn schemas(conn: &mut PgConnection) -> String {
    text(
        conn,
        "SELECT coalesce(string_agg(concat_ws('.', nspname, relname), ' ' ORDER BY nspname, relname), '') \
         AS value FROM pg_namespace LEFT JOIN pg_class ON relnamespace = pg_namespace.oid \
         AND relkind <> 'i' WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
    )
}

#[test]
fn diesel_cli_finds_the_migrations() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(root.join("diesel.toml").exists());
    let found = || FileBasedMigrations::find_migrations_directory_in_path(root).unwrap();
    let mut conn = connect_to(&database());
    assert_eq!(conn.run_pending_migrations(found()).unwrap().len(), 3);
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
         diesel_advisory.locks diesel_advisory.name_collisions diesel_advisory.runs public"
    );
    catalog::uninstall(&mut conn).unwrap();
    assert_eq!(schemas(&mut conn), "public");
    catalog::uninstall(&mut conn).unwrap();
    assert_eq!(schemas(&mut conn), "public");
}

/// As an older version of this crate has left it, and goes on using it.
#[test]
fn a_catalog_without_runs_is_brought_up_to_date_and_an_old_crate_goes_on() {
    const STEPS: [(&str, &str); 2] = [
        (
            "20261124061742",
            include_str!("../../../migrations/2026-11-24-061742_create_lock_catalog/up.sql"),
        ),
        (
            "20261125132500",
            include_str!(
                "../../../migrations/2026-11-25-132500_long_names_and_prepared_transactions/up.sql"
            ),
        ),
    ];
    let mut conn = connect_to(&database());
    execute(
        &mut conn,
        "CREATE SCHEMA diesel_advisory; \
         CREATE TABLE diesel_advisory.__diesel_schema_migrations (\
         version character varying(50) PRIMARY KEY NOT NULL, \
         run_on timestamp without time zone NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    );
    for (version, up) in STEPS {
        let record = "INSERT INTO diesel_advisory.__diesel_schema_migrations (version) VALUES";
        let step = format!("SET search_path = pg_catalog; {up}; {record} ('{version}')");
        execute(&mut conn, &format!("{step}; RESET search_path"));
    }
    let register = "INSERT INTO diesel_advisory.lock_names (name, classid, objid, objsubid) \
                    VALUES ('old', 0, 7, 1) ON CONFLICT DO NOTHING";
    execute(&mut conn, register);
    catalog::install(&mut conn).unwrap();
    assert!(schemas(&mut conn).contains("diesel_advisory.runs"));
    // What the old one does.
    execute(&mut conn, register);
    execute(&mut conn, "TABLE diesel_advisory.locks");
    assert_eq!(
        catalog::names(&mut conn).unwrap().of(LockKey::BigInt(7)),
        ["old"]
    );

    // The old one uninstalls what it knows of, and leaves the runs that are there.
    let down = "DROP VIEW diesel_advisory.locks; DROP VIEW diesel_advisory.name_collisions; \
                DROP FUNCTION diesel_advisory.lock_key; DROP TABLE diesel_advisory.lock_names; \
                DROP TABLE diesel_advisory.__diesel_schema_migrations; \
                INSERT INTO diesel_advisory.runs (name, started_at) VALUES ('kept', now())";
    execute(&mut conn, down);
    catalog::install(&mut conn).unwrap();
    let kept = "SELECT string_agg(name, ' ') AS value FROM diesel_advisory.runs";
    assert_eq!(text(&mut conn, kept), "kept");
    catalog::uninstall(&mut conn).unwrap();
    assert_eq!(schemas(&mut conn), "public");
}

/// A table without an identity of its rows cannot be updated where it is published.
#[test]
fn runs_can_be_updated_where_all_tables_are_published() {
    let (_, mut conn) = installed();
    execute(&mut conn, "CREATE PUBLICATION everything FOR ALL TABLES");
    for _ in 0..2 {
        let run = conn.advisory("published").at_most_every(Duration::ZERO);
        run.run(|_| Ok::<_, Error>(())).unwrap();
    }
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

/// It is set in a transaction that Diesel does not know of.
#[test]
fn under_a_search_path_of_the_transaction_it_is_installed() {
    let mut conn = connect_to(&database());
    let before = "SET search_path = public; BEGIN; SET LOCAL search_path = \"it's mine\"";
    execute(&mut conn, before);
    catalog::install(&mut conn).unwrap();
    catalog::install(&mut conn).unwrap();
    let search_path = "SELECT current_setting('search_path') AS value";
    assert_eq!(text(&mut conn, search_path), "public");
    assert!(schemas(&mut conn).contains("diesel_advisory.locks"));
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
fn a_hostile_search_path_is_in_nobodys_way() {
    let mut conn = connect_to(&hostile_database());
    execute(&mut conn, HOSTILE);
    catalog::install(&mut conn).unwrap();
    assert!(
        catalog::register(&mut conn, ["hostile"])
            .unwrap()
            .is_empty()
    );
    let names = catalog::names(&mut conn).unwrap();
    assert_eq!(names.display(key("hostile")), "hostile");
    execute(&mut conn, "SELECT * FROM diesel_advisory.locks");
    catalog::uninstall(&mut conn).unwrap();
}

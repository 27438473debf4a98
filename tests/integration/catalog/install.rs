//! Installing the catalog, and removing it.

use std::path::Path;
use std::thread;

use diesel::prelude::*;
use diesel_advisory::{MIGRATIONS, catalog};
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

//! Wire formats, read from the files in `tests/golden`: what a released version has written, every later one
//! has to understand.

use std::fs;
use std::path::Path;

use diesel_advisory::migrations::LockedHarness;
use diesel_advisory::{
    AdvisoryConnection as _, Error, FencingToken, LockId, LockKey, MIGRATIONS, catalog,
};
use diesel_migrations::MigrationHarness;

use crate::migrations::FIVE;
use crate::support::*;

fn file(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(name)).unwrap()
}

/// The lines of a golden file: what was derived, and what from.
fn lines(name: &str) -> Vec<(String, String)> {
    let text = file(&format!("tests/golden/{name}"));
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.split_once("  ").unwrap())
        .map(|(derived, from)| (derived.to_owned(), from.to_owned()))
        .collect();
    assert!(!lines.is_empty(), "{name}");
    lines
}

/// A key as `b3sum` begins.
fn hex(digits: &str) -> LockKey {
    let key = u64::from_str_radix(digits, 16).unwrap();
    LockKey::BigInt(i64::from_be_bytes(key.to_be_bytes()))
}

#[test]
fn names_have_the_keys_of_the_golden_file() {
    for (key, name) in lines("names.b3sum") {
        assert_eq!(LockKey::from_name(&name), hex(&key), "{name}");
        assert_eq!(LockId::from(&name).key(), Some(hex(&key)), "{name}");
    }
}

#[test]
fn permits_have_the_keys_of_the_golden_file() {
    for (key, permit) in lines("permits.b3sum") {
        let (number, name) = permit.split_once("  ").unwrap();
        let permit = format!("{name}\0#{number}");
        assert_eq!(LockKey::from_name(&permit), hex(&key), "{name} {number}");
    }
}

#[test]
fn a_permit_is_what_the_golden_file_says() {
    let keys: Vec<_> = lines("permits.b3sum")
        .into_iter()
        .filter_map(|(key, permit)| Some((hex(&key), permit.strip_suffix("  render")?.to_owned())))
        .filter(|(_, number)| ["1", "2", "3"].contains(&&**number))
        .map(|(key, _)| key)
        .collect();
    let url = database();
    let mut conn = connect_to(&url);
    let mut holder = Holder::at(&url, keys[0]);
    holder.lock(keys[1]);
    let permit = conn.advisory_session("render").permits(3).no_wait();
    let permit = permit.try_acquire().unwrap().expect("one is left");
    let mut other = connect_to(&url);
    assert!(other.is_advisory_locked(keys[2]).unwrap());
    let none = other.advisory_session("render").permits(3).no_wait();
    assert!(none.try_acquire().unwrap().is_none());
    permit.release().unwrap();
}

#[cfg(feature = "django-pglock")]
#[test]
fn names_of_django_pglock_have_the_keys_of_the_golden_file() {
    for (key, name) in lines("django_pglock.txt") {
        let key = LockKey::BigInt(key.parse().unwrap());
        assert_eq!(LockKey::django_pglock(&name), key, "{name}");
    }
}

#[test]
fn keys_that_the_server_hashes_are_those_of_the_golden_file() {
    let mut conn = connect();
    for (expected, texts) in lines("hashes.txt") {
        let id = match texts.split_once("  ") {
            Some((namespace, text)) => LockId::hashtext_pair(namespace, text),
            None => LockId::hashtextextended(&*texts),
        };
        let key = match expected.split_once(' ') {
            Some((first, second)) => LockKey::Pair(first.parse().unwrap(), second.parse().unwrap()),
            None => LockKey::BigInt(expected.parse().unwrap()),
        };
        let holder = Holder::of(key);
        let refused = conn.advisory_session(id).no_wait().try_acquire().unwrap();
        assert!(refused.is_none(), "{texts}");
        drop(holder);
    }
}

#[test]
fn tokens_are_read_as_they_were_written_and_keep_their_order() {
    let mut before: Option<FencingToken> = None;
    for (text, _) in lines("tokens.txt") {
        let token: FencingToken = text.parse().unwrap();
        assert_eq!(token.to_string(), text);
        assert!(before < Some(token), "{text}");
        before = Some(token);
    }
}

#[test]
fn migrations_take_the_lock_of_the_golden_file() {
    for (key, schema) in lines("migration_locks.b3sum") {
        let url = database();
        let mut conn = connect_to(&url);
        let holder = Holder::at(&url, hex(&key));
        if schema == "diesel_advisory" {
            let installing = std::thread::spawn(move || catalog::install(&mut conn).unwrap());
            wait_until_queued_at(&url, hex(&key), 1);
            drop(holder);
            installing.join().unwrap();
            continue;
        }
        execute(&mut conn, &format!("CREATE SCHEMA IF NOT EXISTS {schema}"));
        execute(&mut conn, &format!("SET search_path TO {schema}"));
        let mut harness = LockedHarness::new(&mut conn).timeout(std::time::Duration::ZERO);
        let refused = harness.run_pending_migrations(FIVE).map(drop).unwrap_err();
        let refused = Error::find_in(&*refused).unwrap();
        assert!(refused.is_unavailable(), "{schema} {refused}");
        drop(holder);
    }
}

#[test]
fn the_catalogs_migrations_are_those_of_the_golden_file() {
    for (hash, path) in lines("migrations.b3sum") {
        let found = blake3::hash(file(&path).as_bytes());
        assert_eq!(
            found.to_hex().as_str(),
            hash,
            "{path}: a migration never changes"
        );
    }
}

/// What others can rely on in the catalog.
const SHAPE: &str = "SELECT coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\"), '') AS value FROM ( \
     SELECT concat_ws(' ', relname, attname, format_type(atttypid, atttypmod)) AS line \
     FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid \
     WHERE relnamespace = 'diesel_advisory'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0 \
     AND NOT attisdropped AND relname !~ '^__diesel' \
     UNION ALL SELECT concat(proname, '(', pg_get_function_identity_arguments(oid), ') ', \
     pg_get_function_result(oid)) FROM pg_proc WHERE pronamespace = 'diesel_advisory'::regnamespace) s";

#[test]
fn the_catalog_has_the_shape_of_the_golden_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/catalog");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let version = path.file_stem().unwrap().to_str().unwrap();
        let mut conn = connect_to(&database());
        while conn.run_next_migration(MIGRATIONS).unwrap().to_string() != version {}
        let shape = text(&mut conn, SHAPE);
        let golden = fs::read_to_string(&path).unwrap();
        assert_eq!(shape, golden.trim_end(), "{version}");
        count += 1;
    }
    assert!(count > 0);
}

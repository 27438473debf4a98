//! Keys that the server hashes: those of everybody who writes `pg_advisory_lock(hashtext(…))`.

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error, LockId, LockKey};
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

/// Texts that are easily got wrong on their way to the server.
const TEXTS: [&str; 8] = [
    "import",
    "",
    "it's",
    r"back\slash",
    r#"$$ "quoted" $tag$ */ -- "#,
    "two\nlines",
    "réunion Ärger",
    "x'; SELECT pg_terminate_backend(pg_backend_pid()); --",
];

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The key of a lock that the session has just taken by hand, in the columns of `pg_locks`.
fn only_lock(conn: &mut PgConnection) -> (u32, u32, i16) {
    let sql = "SELECT classid || ' ' || objid || ' ' || objsubid AS value FROM pg_locks \
               WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    let row = text(conn, sql);
    let mut columns = row.split(' ');
    let mut next = || columns.next().unwrap();
    (
        next().parse().unwrap(),
        next().parse().unwrap(),
        next().parse().unwrap(),
    )
}

/// A lock in both of its forms: ours, and the SQL of others.
fn both_forms<'a>(namespace: &'a str, text: &'a str) -> [(LockId<'a>, String); 2] {
    [
        (
            LockId::hashtext_pair(namespace, text),
            format!(
                "(hashtext({}), hashtext({}))",
                literal(namespace),
                literal(text)
            ),
        ),
        (
            LockId::hashtextextended(text),
            format!("(hashtextextended({}, 0))", literal(text)),
        ),
    ]
}

/// Asserts that we and those who write SQL exclude each other, in all scopes.
fn assert_mutual(url: &str, namespace: &str, text: &str) {
    let (mut conn, mut other) = (connect_to(url), connect_to(url));
    for (id, arguments) in both_forms(namespace, text) {
        let try_lock = format!("SELECT pg_try_advisory_lock{arguments}::int AS value");
        let unlock = format!("SELECT pg_advisory_unlock{arguments}::int AS value");

        let held = conn.advisory_session(id.clone()).acquire().unwrap();
        assert_eq!(integer(&mut other, &try_lock), 0, "{id}");
        held.release().unwrap();
        let ran = conn.advisory(id.clone()).run(|conn| {
            assert_eq!(integer(&mut other, &try_lock), 0, "{id}");
            conn.advisory_xact(id.clone()).acquire()
        });
        ran.unwrap();

        assert_eq!(integer(&mut other, &try_lock), 1, "{id}");
        assert!(conn.is_advisory_locked(id.clone()).unwrap());
        for wait in [Wait::No, Wait::AtMost(std::time::Duration::from_millis(2))] {
            let session = wait.on(conn.advisory_session(id.clone()));
            let error = unavailable(session.acquire().unwrap_err());
            assert_eq!(error.lock, id.clone().into_owned());
            assert_eq!(error.holders.len(), 1);
            let run = wait.on(conn.advisory(id.clone()));
            assert!(run.try_run(|_| Ok::<_, Error>(())).unwrap().is_none());
            let in_transaction =
                conn.transaction(|conn| wait.on(conn.advisory_xact(id.clone())).try_acquire());
            assert!(!in_transaction.unwrap());
        }
        assert_eq!(integer(&mut other, &unlock), 1, "{id}");
        assert!(!conn.is_advisory_locked(id.clone()).unwrap());
    }
}

/// The same lock as that of the SQL: in `pg_locks`, nothing else can be seen of it.
fn assert_same_key(url: &str, namespace: &str, text: &str) {
    let (mut conn, mut other) = (connect_to(url), connect_to(url));
    for (id, arguments) in both_forms(namespace, text) {
        execute(
            &mut other,
            &format!("SELECT pg_advisory_lock_shared{arguments}"),
        );
        let theirs = only_lock(&mut other);
        execute(&mut other, "SELECT pg_advisory_unlock_all()");
        let mut held = conn.advisory_session(id.clone()).acquire().unwrap();
        assert_eq!(only_lock(&mut held), theirs, "{id}");
        held.release().unwrap();
    }
}

/// The texts with a namespace that no other test has.
fn check(url: &str) {
    for text in TEXTS {
        // The second half of the key is the text's alone, so the tests would meet in it.
        let namespace = unique("foreign");
        let text = format!("{text}{namespace}");
        assert_same_key(url, &namespace, &text);
        assert_mutual(url, &namespace, &text);
    }
}

#[test]
fn they_are_the_locks_of_those_who_write_sql() {
    check(Sandbox::shared().url());
}

/// The server hashes bytes, and those of a text depend on the encoding of the database.
#[test]
fn they_are_so_in_another_encoding_too() {
    let mut conn = connect();
    execute(
        &mut conn,
        "CREATE DATABASE foreign_latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    );
    let url = Sandbox::shared().url_as("postgres", "foreign_latin1");
    check(&url);

    let mut latin1 = connect_to(&url);
    let bytes = "SELECT hashtext('é') AS value";
    assert_ne!(integer(&mut latin1, bytes), integer(&mut conn, bytes));

    // A text that the database does not have cannot be locked by anyone in it.
    for id in [
        LockId::hashtextextended("🔒"),
        LockId::hashtext_pair("🔒", "x"),
    ] {
        let result = latin1.advisory_session("a name").and(id.clone()).acquire();
        assert!(matches!(result.map(drop), Err(Error::Database(_))), "{id}");
        assert_clean(&mut latin1);
    }
    // A name is hashed here, so that it can be any.
    latin1
        .advisory_session("🔒")
        .run(|_| Ok::<_, Error>(()))
        .unwrap();
}

/// What PostgreSQL computes from these in a UTF-8 database, on little-endian machines.
#[test]
fn they_have_their_golden_values() {
    let mut conn = connect();
    for (id, key) in [
        (
            LockId::hashtext_pair("jobs", "import"),
            LockKey::Pair(-1_679_774_495, -538_410_546),
        ),
        (
            LockId::hashtext_pair("", "réunion"),
            LockKey::Pair(-1_477_818_771, 334_817_982),
        ),
        (
            LockId::hashtextextended("import"),
            LockKey::BigInt(-423_331_605_232_713_266),
        ),
        (
            LockId::hashtextextended("réunion"),
            LockKey::BigInt(-1_042_930_041_816_290_626),
        ),
    ] {
        let mut held = conn
            .advisory_session(id.clone())
            .shared()
            .acquire()
            .unwrap();
        assert_eq!(only_lock(&mut held), key.to_pg_locks(), "{id}");
        held.release().unwrap();
    }
}

#[test]
fn sets_mix_them_with_names() {
    let (mut conn, name) = (connect(), unique("foreign.mixed"));
    let own_pid = pid(&mut conn);
    let hashed = format!("SELECT hashtext('{name}') AS value");
    let half = integer(&mut conn, &hashed);
    for wait in Wait::ALL {
        let set = conn
            .advisory_session(LockId::hashtext_pair(&name, &name))
            .and(&name)
            .and(LockId::hashtextextended(&name))
            // Written in another way, and the same lock as the first.
            .and((half, half))
            .and(LockId::hashtextextended(&name));
        let mut held = wait.on(set).acquire().unwrap();
        assert_eq!(locks_of(own_pid), 3, "{wait:?}");
        assert!(held.is_held().unwrap());
        held.release().unwrap();
        assert_clean(&mut conn);
    }

    let _holder = Holder::of((half, half));
    let set = conn
        .advisory_session(&name)
        .and(LockId::hashtextextended(&name))
        .and(LockId::hashtext_pair(&name, &name));
    let error = unavailable(set.no_wait().acquire().unwrap_err());
    assert_eq!(error.lock, LockId::hashtext_pair(&name, &name).into_owned());
    assert_clean(&mut conn);
}

#[test]
fn their_keys_are_not_known_here() {
    assert_eq!(LockId::hashtextextended("import").key(), None);
    assert_eq!(LockId::hashtext_pair("jobs", "import").key(), None);
}

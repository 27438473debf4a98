//! Names are data: whatever is in them, a lock is taken and nothing else happens.

use std::fmt::Debug;

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::{Proxy, Sandbox};

use crate::support::{
    Holder, Wait, assert_clean, assert_free, connect, connect_to, execute, integer, is_lock, key,
    locks_of, pid, table, unavailable, unique, values,
};

/// Each is made unique by what comes after it, so that it begins as written here.
fn hostile(table: &str) -> Vec<String> {
    let drop = format!("DROP TABLE {table}");
    let mut names = vec![
        format!("'; {drop}; --"),
        format!("''; {drop}; --"),
        format!("\\'; {drop}; --"),
        format!("*/ {drop}; --"),
        format!("*/ {drop}; /*"),
        format!("/* /* */ */ {drop}; --"),
        format!("-- \n; {drop}; --"),
        format!("\r\n; {drop}; \r\n"),
        format!("$$; {drop}; $$"),
        format!("END$$; {drop}; DO $$BEGIN "),
        format!("\\\\'; {drop}; --"),
        format!("\0'; {drop}; --"),
        format!("\"; {drop}; --"),
        format!("${{1}} $1 %s %I ; {drop}"),
        format!("🔒 ü \u{202e} \u{feff} ; {drop}"),
        format!("\u{ff07}; {drop}; --"),
    ];
    names.push("'; */ -- $$ 🔒 \0 \n".repeat(1_000_000 / 20));
    names.push("x".repeat(1_000_000));
    names
}

/// What a name may look like in SQL.
fn harmless(name: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    name.chars()
        .map(|c| if harmless(c) { c } else { '_' })
        .take(100)
        .collect()
}

/// What was sent, without what has to be different for each name.
fn sent_without(proxy: &Proxy, name: &str) -> Vec<String> {
    let key = key(name.to_owned());
    let (classid, objid, _) = key.to_pg_locks();
    let label = harmless(name);
    let label = if name.chars().count() > 100 {
        format!("{label}...")
    } else {
        label
    };
    let sent = proxy.sent().into_iter();
    let keys = [key.to_string(), classid.to_string(), objid.to_string()];
    sent.map(|sql| {
        let sql = sql.replace(&label, "<label>");
        keys.iter().fold(sql, |sql, key| {
            let sql = sql.replace(&format!("'{key}'::bigint"), "<key>");
            let sql = sql.replace(&format!("'{key}'"), "<key>");
            if key.len() > 10 {
                sql.replace(key, "<key>")
            } else {
                sql.replace(&format!("[{key}]"), "[<key>]")
            }
        })
    })
    .collect()
}

/// Takes the lock in every scope.
fn lock(conn: &mut PgConnection, name: &str) {
    let pid = pid(conn);
    let is_lock = is_lock(name.to_owned());
    let held = format!(
        "SELECT count(*)::int AS value FROM pg_locks WHERE pid = {pid} AND granted AND {is_lock}"
    );
    let check = |_: &mut PgConnection| {
        assert_eq!(locks_of(pid), 1);
        assert_eq!(integer(&mut connect(), &held), 1);
        Ok::<_, Error>(())
    };
    for wait in Wait::ALL {
        wait.on(conn.advisory(name)).run(check).unwrap();
        wait.on(conn.advisory(name))
            .serializable()
            .run(check)
            .unwrap();
        let result = conn.transaction(|conn| {
            wait.on(conn.advisory(name)).run(check)?;
            wait.on(conn.advisory_xact(name)).acquire()?;
            assert!(conn.is_advisory_locked(name)?);
            check(conn)
        });
        result.unwrap();
        assert!(!conn.is_advisory_locked(name).unwrap());
    }
}

#[test]
fn nothing_but_the_lock_happens() {
    let mut observer = connect();
    let table = table(&mut observer);
    let proxy = Sandbox::shared().proxy();
    let mut conn = connect_to(proxy.url());

    // What a name without anything special sends.
    let plain = unique("names.plain");
    proxy.reset();
    lock(&mut conn, &plain);
    let (expected, round_trips) = (sent_without(&proxy, &plain), proxy.round_trips());
    assert!(
        expected
            .iter()
            .any(|sql| sql.contains("; /* advisory lock <label> */ SELECT"))
    );

    for begin in hostile(&table) {
        let name = unique(&begin);
        proxy.reset();
        lock(&mut conn, &name);
        assert_eq!(sent_without(&proxy, &name), expected, "{name:.50?}");
        assert_eq!(proxy.round_trips(), round_trips, "{name:.50?}");
        assert_clean(&mut conn);
        assert_free(name);
    }
    assert_eq!(values(&mut observer, &table), []);
}

#[test]
fn every_character_counts() {
    let name = unique("names.distinct");
    let long = "x".repeat(200);
    let names = [
        format!("{name}'"),
        format!("{name}\""),
        format!("{name}_"),
        format!("{name}\0"),
        format!("{name} "),
        format!("{name}\u{e9}"),
        format!("{name}e\u{301}"),
        format!("{name}{long}1"),
        format!("{name}{long}2"),
    ];
    let mut conn = connect();
    let pid = pid(&mut conn);
    let mut all = conn.advisory(&name);
    for name in &names {
        all = all.and(name);
    }
    let result = all.run(|_| Ok::<_, Error>(locks_of(pid)));
    assert_eq!(usize::try_from(result.unwrap()), Ok(names.len() + 1));
}

#[test]
fn an_unavailable_name_is_told_as_written() {
    let name = unique("it's */ -- \"quoted\" \\ $$ \n 🔒");
    let _holder = Holder::of(name.clone());
    let error = connect()
        .advisory(&name)
        .no_wait()
        .run(|_| Ok::<_, Error>(()))
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("advisory lock {name:?} is not available")),
        "{text}"
    );
    assert_eq!(unavailable(error).lock.to_string(), name);
}

#[track_caller]
fn assert_empty<T: Debug>(result: Result<T, Error>) {
    let error = result.expect_err("a lock without a name");
    assert!(matches!(error, Error::EmptyName), "{error:?}");
}

#[test]
fn an_empty_name_is_refused_and_nothing_sent() {
    let proxy = Sandbox::shared().proxy();
    let mut conn = connect_to(proxy.url());
    let called = |_: &mut PgConnection| -> Result<(), Error> { panic!("without a lock") };
    let full = unique("names.full");
    for begun in [false, true] {
        if begun {
            execute(&mut conn, "SELECT");
        }
        proxy.reset();
        for wait in Wait::ALL {
            assert_empty(wait.on(conn.advisory("")).run(called));
            assert_empty(wait.on(conn.advisory("")).try_run(called));
            assert_empty(wait.on(conn.advisory("")).serializable().run(called));
            assert_empty(wait.on(conn.advisory(&full).and("")).run(called));
            assert_empty(wait.on(conn.advisory("").and(&full)).run(called));
            assert_empty(wait.on(conn.advisory_session("")).run(called));
            assert_empty(wait.on(conn.advisory_session(&full).and("")).acquire());
        }
        assert_empty(conn.is_advisory_locked(""));
        assert_eq!((proxy.round_trips(), proxy.sent()), (0, vec![]));
    }
    let result = conn.transaction(|conn| {
        proxy.reset();
        for wait in Wait::ALL {
            assert_empty(wait.on(conn.advisory("")).run(called));
            assert_empty(wait.on(conn.advisory_xact("")).acquire());
            assert_empty(wait.on(conn.advisory_xact("")).try_acquire());
            assert_empty(
                wait.on(conn.advisory_xact(&full).and(String::new()))
                    .acquire(),
            );
        }
        assert_empty(conn.is_advisory_locked(""));
        assert_eq!((proxy.round_trips(), proxy.sent()), (0, vec![]));
        QueryResult::Ok(())
    });
    assert_eq!(result, Ok(()));
}

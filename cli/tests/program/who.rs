//! `who`: names, order, and what is told of whom.

use diesel_advisory_sandbox::Sandbox;
use serde_json::Value;

use crate::support::{Running, at, client, done, eventually, holder, pids, program};

fn json(server: &Sandbox, args: &[&str]) -> Vec<Value> {
    let done = done(program(server, &[&["who", "--json"], args].concat()));
    assert_eq!(done.code, 0, "{}", done.err);
    let lines = done.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn who_waits_is_listed_under_what_it_waits_for() {
    let server = Sandbox::start().unwrap();
    let mut sql = client(&server);
    let _held = Running::start(program(&server, &["run", "who-a", "--", "sleep", "1000"]));
    let held = holder(&mut sql, "who-a");
    let _next = Running::start(program(
        &server,
        &["run", "who-a", "-s", "-q", "--", "true"],
    ));
    eventually("it waits", || !pids(&mut sql, "who-a", false).is_empty());
    let waiting = pids(&mut sql, "who-a", false)[0];

    let table = done(program(&server, &["who"])).out;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(
        lines[1].starts_with("who-a ") && lines[1].contains(&format!("  {held}")),
        "{table}"
    );
    assert!(
        lines[2].starts_with("  who-a ") && lines[2].contains("shared     waiting"),
        "{table}"
    );
    assert!(lines[2].ends_with(&format!("{waiting}  {held}")), "{table}");
    assert!(!table.contains('\x1b'));
    assert!(done(program(&server, &["who", "-v"])).out.contains("QUERY"));

    let found = json(&server, &["who-a"]);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["pid"], held);
    assert_eq!(found[0]["status"], "held");
    assert_eq!(found[1]["mode"], "shared");
    assert_eq!(found[1]["waits_for"], serde_json::json!([held]));
    assert!(
        found
            .iter()
            .all(|line| line["lock"] == "who-a" && line["user"] == "postgres")
    );
    assert!(json(&server, &["who-b"]).is_empty());
}

/// What a program may rely on.
#[test]
fn the_fields_of_an_object_are_these() {
    let server = Sandbox::start().unwrap();
    let mut sql = client(&server);
    sql.execute("SELECT pg_advisory_lock(7)", &[]).unwrap();
    let found = json(&server, &[]);
    let names: Vec<_> = found[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = [
        "lock",
        "key",
        "kind",
        "classid",
        "objid",
        "objsubid",
        "mode",
        "status",
        "holder",
        "since",
        "pid",
        "prepared_transaction",
        "user",
        "application",
        "client",
        "state",
        "waits_for",
        "query",
        "hidden",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(found[0]["lock"], Value::Null);
    assert_eq!(
        (&found[0]["key"], &found[0]["kind"]),
        (&"7".into(), &"bigint".into())
    );
}

#[test]
fn names_come_from_the_catalog_the_command_line_and_the_sessions() {
    let server = Sandbox::start().unwrap();
    let mut sql = client(&server);
    assert_eq!(done(program(&server, &["install"])).code, 0);
    sql.batch_execute(
        "INSERT INTO diesel_advisory.lock_names (name, classid, objid, objsubid) VALUES ('of the catalog', 0, 7, 1); \
         SELECT pg_advisory_lock(7), pg_advisory_lock_shared(8, -9)",
    )
    .unwrap();
    let key = done(program(&server, &["key", "given"])).out;
    let take = key
        .lines()
        .find_map(|line| line.split_once("take it "))
        .unwrap()
        .1
        .trim();
    sql.batch_execute(take).unwrap();
    let _held = Running::start(program(
        &server,
        &["run", "said", "-q", "--", "sleep", "1000"],
    ));
    holder(&mut sql, "said");
    let titles = |args: &[&str]| -> Vec<String> {
        let table = done(program(&server, &[&["who"], args].concat())).out;
        let lines = table
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once("  "));
        lines.map(|(title, _)| title.to_owned()).collect()
    };
    assert!(titles(&["given"]) == ["given"]);
    let all = titles(&[]);
    for title in ["(8, -9)", "of the catalog", "said"] {
        assert!(all.iter().any(|found| found == title), "{all:?}");
    }
}

#[test]
fn a_prepared_transaction_is_shown_as_what_it_is() {
    let server = Sandbox::builder()
        .setting("max_prepared_transactions", "5")
        .start()
        .unwrap();
    client(&server)
        .batch_execute("BEGIN; SELECT pg_advisory_xact_lock(1, 2); PREPARE TRANSACTION 'of who'")
        .unwrap();
    let found = json(&server, &[]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["holder"], "prepared transaction");
    assert_eq!(found[0]["prepared_transaction"], "of who");
    assert_eq!(found[0]["pid"], Value::Null);
    assert_eq!(found[0]["user"], "postgres");
    let table = done(program(&server, &["who"])).out;
    assert!(table.contains("prepared transaction of who"), "{table}");

    let kill = done(program(&server, &["kill", "--name", "x", "1"]));
    assert_eq!(kill.code, 1, "{}", kill.err);
}

#[test]
fn what_the_server_hides_is_said_to_be_hidden() {
    let server = Sandbox::start().unwrap();
    let mut sql = client(&server);
    sql.batch_execute("CREATE ROLE who_stranger LOGIN; SELECT pg_advisory_lock(7)")
        .unwrap();
    let url = server.url_as("who_stranger", "postgres");
    let shown = done(at(&url, &["who", "--json"])).out;
    let found: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&found["hidden"], &found["query"]),
        (&true.into(), &Value::Null)
    );
    let table = done(at(&url, &["who", "-v"])).out;
    assert!(table.contains("hidden: needs pg_read_all_stats"), "{table}");
}

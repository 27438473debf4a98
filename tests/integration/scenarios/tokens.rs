//! Fencing tokens of session guards.

use diesel::prelude::QueryDsl;
use diesel_advisory::{Error, FencingToken};
use diesel_advisory_sandbox::Sandbox;

use super::side::queries::RunQueryDsl as _;
use super::side::*;
use crate::support::{self, HOSTILE, assert_free, hostile_database, unique};

/// Takes the lock, asks for a token, and releases it.
#[helper]
async fn token(conn: &mut Conn, lock: &str) -> FencingToken {
    let mut held = conn.advisory_session(lock).acquire().await.unwrap();
    let token = held.fencing_token().await.unwrap();
    held.release().await.unwrap();
    token
}

#[scenario]
async fn each_token_is_larger_than_those_before_whatever_the_session_is_like() {
    let url = hostile_database();
    let mut owner = support::connect_to(&url);
    let role = unique("tokens").replace('.', "_");
    support::execute(&mut owner, &format!("CREATE ROLE {role} LOGIN"));
    let database = support::text(&mut owner, "SELECT current_database()::text AS value");
    let mut last = None;
    for user in ["postgres", &role] {
        for set in [
            "SET synchronous_commit = on",
            "SET synchronous_commit = off",
            "SET default_transaction_read_only = on",
            "SET default_transaction_isolation = serializable",
            HOSTILE,
        ] {
            let mut conn = connect_to(&Sandbox::shared().url_as(user, &database)).await;
            execute(&mut conn, set).await;
            for _ in 0..3 {
                let token = token(&mut conn, "tokens.grow").await;
                assert!(Some(token) > last, "{user}, {set}: {token} after {last:?}");
                last = Some(token);
            }
        }
    }
}

#[scenario]
async fn the_commit_setting_of_the_session_is_what_it_was() {
    let mut conn = connect().await;
    execute(&mut conn, "SET synchronous_commit = off").await;
    token(&mut conn, &unique("tokens.setting")).await;
    let setting = text(
        &mut conn,
        "SELECT current_setting('synchronous_commit') AS value",
    );
    assert_eq!(setting.await, "off");
    assert_clean(&mut conn).await;
}

/// Inside, it would not be safe from a crash before the commit.
#[scenario]
async fn there_is_none_inside_a_transaction() {
    let (mut conn, lock) = (connect().await, unique("tokens.inside"));
    let mut held = conn.advisory_session(&lock).acquire().await.unwrap();
    begin(&mut held).await;
    let given = held.fencing_token().await;
    assert!(matches!(given, Err(Error::InTransaction)), "{given:?}");
    roll_back(&mut held).await;
    // Nobody can tell Diesel of this one.
    execute(&mut held, "BEGIN").await;
    let given = held.fencing_token().await;
    assert!(matches!(given, Err(Error::InTransaction)), "{given:?}");
    execute(&mut held, "ROLLBACK").await;
    held.fencing_token().await.unwrap();
    held.release().await.unwrap();
    assert_clean(&mut conn).await;
}

#[scenario]
async fn there_is_none_without_the_lock() {
    let (mut conn, lock) = (connect().await, unique("tokens.lost"));
    let mut held = conn.advisory_session(&lock).acquire().await.unwrap();
    execute(&mut held, "SELECT pg_advisory_unlock_all()").await;
    let given = held.fencing_token().await;
    assert!(matches!(given, Err(Error::NotHeld)), "{given:?}");
    assert!(matches!(held.release().await, Err(Error::NotHeld)));
    assert_clean(&mut conn).await;
}

#[scenario]
async fn a_role_that_may_not_make_one_is_told_and_keeps_the_lock() {
    let url = support::database();
    let mut owner = support::connect_to(&url);
    let role = unique("tokens").replace('.', "_");
    support::execute(&mut owner, &format!("CREATE ROLE {role} LOGIN"));
    let database = support::text(&mut owner, "SELECT current_database()::text AS value");
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC";
    support::execute(&mut owner, revoke);
    let mut conn = connect_to(&Sandbox::shared().url_as(&role, &database)).await;
    let mut held = conn
        .advisory_session("tokens.rights")
        .acquire()
        .await
        .unwrap();
    let given = held.fencing_token().await;
    assert!(matches!(given, Err(Error::NoToken(_))), "{given:?}");
    assert!(held.is_held().await.unwrap());
    held.release().await.unwrap();
}

#[scenario]
async fn there_is_none_on_a_standby() {
    let primary = Sandbox::start().unwrap();
    let standby = primary.standby().start().unwrap();
    let mut conn = connect_to(standby.url()).await;
    let lock = conn.advisory_session("tokens.standby").allow_standby();
    let mut held = lock.acquire().await.unwrap();
    let given = held.fencing_token().await;
    assert!(matches!(given, Err(Error::Standby)), "{given:?}");
    held.release().await.unwrap();
}

#[scenario]
async fn a_token_is_a_text_both_ways() {
    diesel::table! {
        tokens (value) {
            value -> Text,
        }
    }

    let (mut conn, lock) = (connect().await, unique("tokens.text"));
    execute(&mut conn, "CREATE TEMPORARY TABLE tokens (value text)").await;
    let old = token(&mut conn, &lock).await;
    let new = token(&mut conn, &lock).await;
    for token in [new, old] {
        let row = diesel::ExpressionMethods::eq(tokens::value, token);
        let insert = diesel::insert_into(tokens::table).values(row);
        insert.execute(&mut conn).await.unwrap();
    }
    let rows = tokens::table.order(tokens::value).select(tokens::value);
    let rows = rows.load::<FencingToken>(&mut conn).await.unwrap();
    assert_eq!(rows, [old, new]);
    assert_free(lock);
}

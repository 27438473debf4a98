//! `pg-advisory key`: the key of a name, and how to find it by hand.

use diesel::sql_types::{BigInt, Integer, Text};
use diesel::{QueryableByName, sql_query};
use diesel_advisory::LockKey;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::args::KeyArgs;
use crate::connect::{self, Settings};
use crate::exit::Failure;
use crate::output::out;

pub(crate) async fn key(args: &KeyArgs) -> Result<u8, Failure> {
    let mut keys = Vec::new();
    for name in &args.names {
        keys.push((name.clone(), LockKey::from_name(name)));
    }
    for name in &args.django {
        keys.push((
            format!("{name} (django-pglock)"),
            LockKey::django_pglock(name),
        ));
    }
    for pair in args.pair.chunks_exact(2) {
        keys.push((
            format!("({}, {})", pair[0], pair[1]),
            LockKey::Pair(pair[0], pair[1]),
        ));
    }
    if !(args.hashtext.is_empty() && args.hashtextextended.is_empty()) {
        let mut conn = connect::open(&Settings::of(&args.connect)?, "pg-advisory key").await?;
        for pair in args.hashtext.chunks_exact(2) {
            let key = LockKey::Pair(
                hashtext(&mut conn, &pair[0]).await?,
                hashtext(&mut conn, &pair[1]).await?,
            );
            keys.push((format!("hashtext({}), hashtext({})", pair[0], pair[1]), key));
        }
        for text in &args.hashtextextended {
            let key = LockKey::BigInt(hashtextextended(&mut conn, text).await?);
            keys.push((format!("hashtextextended({text}, 0)"), key));
        }
    }
    let texts: Vec<_> = keys
        .iter()
        .map(|(name, key)| describe(name, *key))
        .collect();
    out(&texts.join("\n"))?;
    Ok(0)
}

fn describe(name: &str, key: LockKey) -> String {
    let (classid, objid, objsubid) = key.to_pg_locks();
    let (number, call) = match key {
        LockKey::BigInt(key) => (format!("bigint       {key}"), key.to_string()),
        LockKey::Pair(a, b) => (format!("pair         {a}, {b}"), format!("{a}, {b}")),
    };
    format!(
        "{name}\n  \
         {number}\n  \
         hexadecimal  {classid:08x}{objid:08x}\n  \
         in pg_locks  classid {classid}, objid {objid}, objsubid {objsubid}\n  \
         take it      SELECT pg_advisory_lock({call});\n  \
         give it back SELECT pg_advisory_unlock({call});\n  \
         find it      SELECT * FROM pg_locks WHERE locktype = 'advisory' AND classid = {classid} \
         AND objid = {objid} AND objsubid = {objsubid} AND database = (SELECT oid FROM pg_database \
         WHERE datname = current_database());\n"
    )
}

#[derive(QueryableByName)]
struct IntegerRow {
    #[diesel(sql_type = Integer)]
    key: i32,
}

#[derive(QueryableByName)]
struct BigIntRow {
    #[diesel(sql_type = BigInt)]
    key: i64,
}

async fn hashtext(conn: &mut AsyncPgConnection, text: &str) -> Result<i32, Failure> {
    let query = sql_query("SELECT pg_catalog.hashtext($1) AS key").bind::<Text, _>(text);
    Ok(query.get_result::<IntegerRow>(conn).await?.key)
}

async fn hashtextextended(conn: &mut AsyncPgConnection, text: &str) -> Result<i64, Failure> {
    let query = sql_query("SELECT pg_catalog.hashtextextended($1, 0) AS key").bind::<Text, _>(text);
    Ok(query.get_result::<BigIntRow>(conn).await?.key)
}

#[cfg(test)]
mod tests {
    use diesel_advisory::LockKey;

    use super::describe;

    #[test]
    fn a_key_is_shown_in_every_form() {
        assert_eq!(
            describe("x", LockKey::BigInt(-2)),
            "x\n  bigint       -2\n  hexadecimal  fffffffffffffffe\n  \
             in pg_locks  classid 4294967295, objid 4294967294, objsubid 1\n  \
             take it      SELECT pg_advisory_lock(-2);\n  \
             give it back SELECT pg_advisory_unlock(-2);\n  \
             find it      SELECT * FROM pg_locks WHERE locktype = 'advisory' AND classid = 4294967295 \
             AND objid = 4294967294 AND objsubid = 1 AND database = (SELECT oid FROM pg_database \
             WHERE datname = current_database());\n"
        );
        assert!(describe("p", LockKey::Pair(1, -1)).contains("pg_advisory_lock(1, -1)"));
    }
}

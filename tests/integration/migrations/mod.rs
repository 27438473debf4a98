//! Migrations under a lock.

#[cfg(feature = "async")]
mod asynchronous;
mod crashes;
#[cfg(feature = "tracing")]
mod event;
mod index;
mod locked;
mod output;
mod pending;
mod processes;
mod source;
mod waits;

use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use crate::support::*;

/// Five migrations; each adds its number to the table `ran`.
pub(crate) const FIVE: EmbeddedMigrations =
    embed_migrations!("tests/integration/migrations/sets/five");

/// The lock of the schema `public`.
const LOCK: &str = "diesel_advisory.migrations:public";

/// Which of the [`FIVE`] have run, each as often as it has.
fn ran(conn: &mut PgConnection) -> Vec<i32> {
    let rows = diesel::sql_query("SELECT migration AS value FROM ran ORDER BY migration");
    let rows = rows.load::<Number>(conn).unwrap();
    rows.into_iter().map(|row| row.value).collect()
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    value: i32,
}

/// The versions that Diesel has recorded, oldest first.
fn recorded(conn: &mut PgConnection) -> String {
    text(
        conn,
        "SELECT coalesce(string_agg(version, ' ' ORDER BY version), '') AS value \
         FROM __diesel_schema_migrations",
    )
}

/// The number of advisory locks in the database.
fn locks_in_database(conn: &mut PgConnection) -> i32 {
    integer(
        conn,
        "SELECT count(*)::int AS value FROM pg_locks JOIN pg_database ON database = pg_database.oid \
         WHERE locktype = 'advisory' AND datname = current_database()",
    )
}

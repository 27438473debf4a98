//! Installing the catalog, and removing it.

#[cfg(feature = "async")]
use std::future::Future;

use diesel::prelude::*;
use diesel::sql_types::Text;

#[cfg(feature = "async")]
use crate::asynchronous::link::{AsyncPgTransactions, Unfinished};
use crate::blocking::link::Blocking;
use crate::error::Error;
use crate::lock::modes::{Isolation, TransactionModes};
use crate::lock::request::Request;
use crate::protocol::link::{Link, ready};
use crate::protocol::transaction::{commit, open, roll_back};
use crate::trace::{Scope, Trace};

/// The migrations of the catalog. See [the module](crate::catalog#installing-it) for how to run them.
#[cfg(feature = "migrations")]
pub const MIGRATIONS: diesel_migrations::EmbeddedMigrations =
    diesel_migrations::embed_migrations!("migrations");

/// A migration of the catalog.
struct Step {
    version: &'static str,
    up: &'static str,
    down: &'static str,
}

macro_rules! step {
    ($version:literal, $folder:literal) => {
        Step {
            version: $version,
            up: include_str!(concat!("../../migrations/", $folder, "/up.sql")),
            down: include_str!(concat!("../../migrations/", $folder, "/down.sql")),
        }
    };
}

const STEPS: &[Step] = &[
    step!("20261124061742", "2026-11-24-061742_create_lock_catalog"),
    step!(
        "20261125132500",
        "2026-11-25-132500_long_names_and_prepared_transactions"
    ),
    step!("20261126021500", "2026-11-26-021500_runs"),
];

/// Excludes those who do the same. It is the lock of
/// [`LockedHarness`](crate::migrations::LockedHarness) for this schema too.
const LOCK: &str = "diesel_advisory.migrations:diesel_advisory";

/// Installs the catalog, or brings it up to date. Any number of processes can do this at once.
///
/// If it is up to date, nothing is written, and no privileges are needed but to see that.
///
/// # Errors
///
/// - [`Error::Database`] inside an open transaction, with Diesel's `AlreadyInTransaction`, before anything
///   is sent.
/// - [`Error::Database`] if the role may not create it. Then nothing is changed.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::doctest!(conn);
/// diesel_advisory::catalog::install(conn)?;
/// # Ok::<_, diesel_advisory::Error>(())
/// ```
pub fn install<C>(conn: &mut C) -> Result<(), Error>
where
    C: diesel::connection::LoadConnection<Backend = diesel::pg::Pg>,
{
    ready(bring_up(&mut Blocking(conn)))
}

/// Does the same as [`install`], asynchronously.
///
/// # Errors
///
/// The same as [`install`].
///
/// # Cancel safety
///
/// If the future is dropped, the session ends, and nothing is changed.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::async_doctest!(conn, {
/// diesel_advisory::catalog::install_async(conn).await?;
/// # });
/// ```
#[cfg(feature = "async")]
#[expect(clippy::manual_async_fn, reason = "`Send` is part of the signature")]
pub fn install_async<C>(conn: &mut C) -> impl Future<Output = Result<(), Error>> + Send
where
    C: AsyncPgTransactions,
{
    async move {
        let mut conn = Unfinished::new(conn);
        let installed = bring_up(&mut conn.link()).await;
        conn.done();
        installed
    }
}

/// Removes the catalog that [`install`] has installed, and with it the schema, unless something of yours is
/// in there.
///
/// # Errors
///
/// The same as [`install`].
///
/// # Example
///
/// ```
/// # let url = diesel_advisory_sandbox::own_database!();
/// # let conn = &mut <diesel::PgConnection as diesel::Connection>::establish(&url).unwrap();
/// # diesel_advisory::catalog::install(conn)?;
/// diesel_advisory::catalog::uninstall(conn)?;
/// # Ok::<_, diesel_advisory::Error>(())
/// ```
pub fn uninstall<C>(conn: &mut C) -> Result<(), Error>
where
    C: diesel::connection::LoadConnection<Backend = diesel::pg::Pg>,
{
    ready(take_down(&mut Blocking(conn)))
}

/// Does the same as [`uninstall`], asynchronously.
///
/// # Errors
///
/// The same as [`install`].
///
/// # Cancel safety
///
/// If the future is dropped, the session ends, and nothing is changed.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::async_doctest!(conn, {
/// # let url = diesel_advisory_sandbox::own_database!();
/// # type Conn = diesel_async::AsyncPgConnection;
/// # let own = <Conn as diesel_async::AsyncConnection>::establish(&url).await?;
/// # *conn = own;
/// # diesel_advisory::catalog::install_async(conn).await?;
/// diesel_advisory::catalog::uninstall_async(conn).await?;
/// # });
/// ```
#[cfg(feature = "async")]
#[expect(clippy::manual_async_fn, reason = "`Send` is part of the signature")]
pub fn uninstall_async<C>(conn: &mut C) -> impl Future<Output = Result<(), Error>> + Send
where
    C: AsyncPgTransactions,
{
    async move {
        let mut conn = Unfinished::new(conn);
        let removed = take_down(&mut conn.link()).await;
        conn.done();
        removed
    }
}

async fn bring_up<L: Link>(link: &mut L) -> Result<(), Error> {
    const RECORD: &str = "CREATE SCHEMA IF NOT EXISTS diesel_advisory; \
         CREATE TABLE IF NOT EXISTS diesel_advisory.__diesel_schema_migrations (\
         version character varying(50) PRIMARY KEY NOT NULL, \
         run_on timestamp without time zone NOT NULL DEFAULT CURRENT_TIMESTAMP)";

    if pending(&applied(link).await?).next().is_none() {
        return Ok(());
    }
    let trace = Trace::begin(&Request::new([LOCK]), Scope::Transaction);
    let opening = async {
        let attempt = open(link, Request::new([LOCK]), MODES).await?;
        attempt.or_unavailable(link).await
    };
    let work = trace.decided(trace.around(opening).await)?;
    let brought_up = async {
        // Others may have done it meanwhile.
        let applied = applied(link).await?;
        if pending(&applied).next().is_some() {
            link.batch(&format!("{PATH}; {RECORD}")).await?;
        }
        for Step { version, up, .. } in pending(&applied) {
            link.batch(&format!(
                "{up}; INSERT INTO diesel_advisory.__diesel_schema_migrations (version) \
                 VALUES ('{version}')"
            ))
            .await?;
        }
        Ok(())
    };
    match brought_up.await {
        Ok(()) => commit(link, work).await,
        Err(error) => {
            roll_back(link, work).await;
            Err(error)
        }
    }
}

async fn take_down<L: Link>(link: &mut L) -> Result<(), Error> {
    const DROP: &str = "DROP TABLE IF EXISTS diesel_advisory.__diesel_schema_migrations; \
         DO $$BEGIN DROP SCHEMA IF EXISTS diesel_advisory; \
         EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$";

    let trace = Trace::begin(&Request::new([LOCK]), Scope::Transaction);
    let opening = async {
        let attempt = open(link, Request::new([LOCK]), MODES).await?;
        attempt.or_unavailable(link).await
    };
    let work = trace.decided(trace.around(opening).await)?;
    let taken_down = async {
        let applied = applied(link).await?;
        link.batch(PATH).await?;
        let is_applied = |step: &&Step| applied.iter().any(|version| version == step.version);
        for Step { down, .. } in STEPS.iter().rev().filter(is_applied) {
            link.batch(down).await?;
        }
        link.batch(DROP).await?;
        Ok(())
    };
    match taken_down.await {
        Ok(()) => commit(link, work).await,
        Err(error) => {
            roll_back(link, work).await;
            Err(error)
        }
    }
}

/// A transaction of its own, which sees what others have done while it waited.
const MODES: TransactionModes = TransactionModes {
    isolation: Some(Isolation::ReadCommitted),
    read_only: None,
    deferrable: None,
};

/// Names in the migrations mean what they mean in PostgreSQL.
const PATH: &str = "SET LOCAL search_path = pg_catalog";

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct VersionRow {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Reads which steps have been done.
async fn applied<L: Link>(link: &mut L) -> Result<Vec<String>, Error> {
    // A session that has waited for an advisory lock may not have heard of new relations yet. It hears
    // of them when it reads a table, but not when it looks up a name.
    const EXISTS: &str = "SELECT c.relname::pg_catalog.text AS version FROM pg_catalog.pg_class AS c \
         JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
         WHERE n.nspname OPERATOR(pg_catalog.=) 'diesel_advisory' \
         AND c.relname OPERATOR(pg_catalog.=) '__diesel_schema_migrations'";
    const VERSIONS: &str = "SELECT version::pg_catalog.text AS version FROM diesel_advisory.__diesel_schema_migrations";

    if link.rows::<VersionRow>(EXISTS.to_owned()).await?.is_empty() {
        return Ok(Vec::new());
    }
    let rows = link.rows::<VersionRow>(VERSIONS.to_owned()).await?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

fn pending(applied: &[String]) -> impl Iterator<Item = &'static Step> + use<'_> {
    let is_pending = |step: &&Step| !applied.iter().any(|version| version == step.version);
    STEPS.iter().filter(is_pending)
}

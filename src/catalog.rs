//! The lock catalog: names for the keys in `pg_locks`, for `psql` and dashboards.
//!
//! PostgreSQL knows the keys of advisory locks, not their names. The catalog is a table of names and
//! the views on it, all in the schema `diesel_advisory`; nothing else in this crate needs it.
//!
//! ```text
//! app=# SELECT lock, mode, status, pid, application, since, blocked_by FROM diesel_advisory.locks;
//!         lock         |   mode    | status  | pid  | application |     since     | blocked_by
//! ---------------------+-----------+---------+------+-------------+---------------+------------
//!  billing.close_month | exclusive | held    | 4711 | web-3       | 2026-11-24 ….. | {}
//!  billing.close_month | exclusive | waiting | 4720 | web-1       | 2026-11-24 ….. | {4711}
//! ```
//!
//! | in `diesel_advisory` | |
//! |---|---|
//! | `locks` | every advisory lock of this database, held or waited for: by name, or by key if it has none |
//! | `lock_names` | the known names and their keys |
//! | `name_collisions` | names that share one key |
//! | `lock_key(classid, objid, objsubid)` | the key as the advisory lock functions take it |
//!
//! A program adds the names that it uses when it starts, with [`register`]. Names of many rows, such as
//! `"invoice:42"`, are better left out.
//!
//! # Installing it
//!
//! With the feature `migrations`, `install` runs the migrations, and `uninstall` removes everything.
//! They keep their own record of that in the schema `diesel_advisory`: yours stays as it is.
//!
//! `MIGRATIONS` are the same migrations as a source. Run together with your own, they are recorded
//! together with your own, and Diesel cannot revert what is not in the source it is given: you have to
//! merge both into one source, or copy the migration's folder to yours.
//!
//! # Rights
//!
//! Nothing is granted to anybody. A role that shall see the view, or register names, needs
//!
//! ```sql
//! GRANT USAGE ON SCHEMA diesel_advisory TO app;
//! GRANT SELECT ON ALL TABLES IN SCHEMA diesel_advisory TO app;
//! GRANT INSERT ON diesel_advisory.lock_names TO app;
//! ```
//!
//! Of other roles' sessions the view shows to a role what `pg_stat_activity` shows to it: see
//! [`inspect::Lock`](crate::inspect::Lock#what-an-ordinary-role-sees).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{Array, Bool, Oid, SmallInt, Text};

use crate::connection::Blocking;
use crate::inspect::{LockName, Names};
use crate::link::Link;
use crate::{AdvisoryConnection, Error, LockKey};

/// The migrations of the catalog. See [the module](self#installing-it) for how to run them.
#[cfg(feature = "migrations")]
pub const MIGRATIONS: diesel_migrations::EmbeddedMigrations =
    diesel_migrations::embed_migrations!("migrations");

/// Names that share one key: their locks exclude each other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collision {
    /// The key.
    pub key: LockKey,
    /// Its names, in alphabetical order.
    pub names: Vec<String>,
}

/// Prints `the locks "a" and "b" are the same: both have the key 42`.
impl fmt::Display for Collision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the locks ")?;
        for (index, name) in self.names.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { " and " })?;
            write!(f, "{name:?}")?;
        }
        write!(f, " are the same: all have the key {}", self.key)
    }
}

#[derive(QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct NameRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Oid)]
    classid: u32,
    #[diesel(sql_type = Oid)]
    objid: u32,
    #[diesel(sql_type = SmallInt)]
    objsubid: i16,
}

impl NameRow {
    fn key(&self) -> Option<LockKey> {
        LockKey::from_pg_locks(self.classid, self.objid, self.objsubid)
    }
}

/// Adds names to the catalog, in one round trip, and tells those that share a key with another one.
///
/// Names that are there already stay as they are. Any number of processes can do this at once: they
/// neither fail nor wait for each other longer than the statement takes.
///
/// Two different names have one key by an accident that is not to be expected, or because somebody has
/// given it to both. Both are added, and shown together.
///
/// # Errors
///
/// - [`Error::EmptyName`], before anything is sent.
/// - [`Error::Database`] inside an open transaction, with Diesel's `AlreadyInTransaction`, before
///   anything is sent: until it ended, others that register the same names would wait for it.
/// - [`Error::Database`] if the catalog is not installed, or the role may not add to it.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::doctest!(conn);
/// use diesel_advisory::{Error, catalog};
///
/// # catalog::install(conn).unwrap();
/// for collision in catalog::register(conn, ["billing.close_month", "reports.nightly"])? {
///     eprintln!("{collision}");
/// }
/// # Ok::<_, Error>(())
/// ```
#[must_use = "names that share a key are only reported here, and in the view `name_collisions`"]
pub fn register<'a, C, I>(conn: &mut C, names: I) -> Result<Vec<Collision>, Error>
where
    C: AdvisoryConnection,
    I: IntoIterator<Item: Into<LockName<'a>>>,
{
    /// The rows go in by the order of their keys: two processes that add the same ones in different
    /// orders could deadlock.
    const SQL: &str = "\
        WITH given AS (\
            SELECT * FROM unnest($1, $2, $3, $4) WITH ORDINALITY \
            AS t (name, classid, objid, objsubid, position)\
        ), added AS (\
            INSERT INTO diesel_advisory.lock_names (name, classid, objid, objsubid) \
            SELECT name, classid, objid, objsubid FROM given ORDER BY position \
            ON CONFLICT DO NOTHING\
        ) \
        SELECT name, classid, objid, objsubid FROM given UNION \
        SELECT known.name, known.classid, known.objid, known.objsubid \
        FROM diesel_advisory.lock_names AS known \
        JOIN given USING (classid, objid, objsubid) \
        ORDER BY name";

    let names: BTreeSet<LockName<'a>> = names.into_iter().map(Into::into).collect();
    if names.iter().any(|name| name.name().is_empty()) {
        return Err(Error::EmptyName);
    }
    if Blocking(conn).transaction_depth()?.is_some() {
        return Err(DieselError::AlreadyInTransaction.into());
    }
    let halves = || names.iter().map(|name| name.key().to_pg_locks());
    let known = diesel::sql_query(SQL)
        .bind::<Array<Text>, _>(names.iter().map(LockName::name).collect::<Vec<_>>())
        .bind::<Array<Oid>, _>(halves().map(|(classid, ..)| classid).collect::<Vec<_>>())
        .bind::<Array<Oid>, _>(halves().map(|(_, objid, _)| objid).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(halves().map(|(.., objsubid)| objsubid).collect::<Vec<_>>())
        .load::<NameRow>(conn)?;

    let mut by_key = BTreeMap::<_, Vec<_>>::new();
    for row in known {
        if let Some(key) = row.key() {
            by_key.entry(key).or_default().push(row.name);
        }
    }
    Ok(by_key
        .into_iter()
        .filter(|(_, names)| names.len() > 1)
        .map(|(key, names)| Collision { key, names })
        .collect())
}

/// The names in the catalog; none if it is not installed.
///
/// # Errors
///
/// [`Error::Database`].
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::doctest!(conn);
/// use diesel::prelude::*;
/// use diesel_advisory::inspect::{self, Lock};
/// use diesel_advisory::{Error, catalog};
///
/// let mut names = catalog::names(conn)?;
/// names.extend(["one.more"]);
/// for lock in inspect::locks().load::<Lock>(conn)? {
///     println!("{}", lock.name(&names));
/// }
/// # Ok::<_, Error>(())
/// ```
pub fn names<C: AdvisoryConnection>(conn: &mut C) -> Result<Names, Error> {
    let installed = diesel::select(diesel::dsl::sql::<Bool>(
        "pg_catalog.to_regclass('diesel_advisory.lock_names') IS NOT NULL",
    ));
    if !installed.get_result(conn)? {
        return Ok(Names::default());
    }
    let rows = diesel::sql_query(
        "SELECT name, classid, objid, objsubid FROM diesel_advisory.lock_names \
         ORDER BY registered_at, name",
    );
    let rows = rows.load::<NameRow>(conn)?;
    let named = rows
        .into_iter()
        .filter_map(|row| Some((row.key()?, row.name)));
    Ok(named.map(|(key, name)| (name, key)).collect())
}

#[cfg(feature = "migrations")]
pub use self::schema::{install, uninstall};

/// Running the migrations so that they are recorded in the catalog's own schema.
#[cfg(feature = "migrations")]
mod schema {
    use diesel::migration::Result;
    use diesel::pg::Pg;
    use diesel::prelude::*;
    use diesel::sql_types::{Bool, Text};
    use diesel_migrations::MigrationHarness;

    use super::MIGRATIONS;
    use crate::AdvisoryConnection;
    use crate::migrations::LockedHarness;

    /// The default one of the schema, which cannot be derived before the schema exists.
    const LOCK: &str = "diesel_advisory.migrations:diesel_advisory";

    /// Installs the catalog, or brings it up to date. Any number of processes can do this at once.
    ///
    /// If it is up to date, nothing is written, and no rights are needed but to see that.
    ///
    /// It sets the session's `search_path` for as long as it runs, so that a connection pooler in
    /// transaction mode must not be in between.
    ///
    /// # Errors
    ///
    /// As [`LockedHarness`], of which it is one use.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// diesel_advisory::catalog::install(conn)?;
    /// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn install<C>(conn: &mut C) -> Result<()>
    where
        C: AdvisoryConnection + MigrationHarness<Pg> + 'static,
    {
        in_schema(conn, |conn| {
            let mut harness = LockedHarness::new(conn).lock_id(LOCK);
            if harness.has_pending_migration(MIGRATIONS)? {
                harness.locked(|conn| {
                    conn.batch_execute("CREATE SCHEMA IF NOT EXISTS diesel_advisory")?;
                    conn.run_pending_migrations(MIGRATIONS).map(drop)
                })?;
            }
            Ok(())
        })
    }

    /// Removes the catalog that [`install`] has installed, and with it the schema, if nothing of yours
    /// is in there.
    ///
    /// # Errors
    ///
    /// As [`install`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # diesel_advisory::catalog::install(conn)?;
    /// diesel_advisory::catalog::uninstall(conn)?;
    /// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn uninstall<C>(conn: &mut C) -> Result<()>
    where
        C: AdvisoryConnection + MigrationHarness<Pg> + 'static,
    {
        in_schema(conn, |conn| {
            LockedHarness::new(conn).lock_id(LOCK).locked(|conn| {
                let installed = diesel::select(diesel::dsl::sql::<Bool>(
                    "pg_catalog.to_regnamespace('diesel_advisory') IS NOT NULL",
                ));
                if installed.get_result(conn)? {
                    conn.revert_all_migrations(MIGRATIONS)?;
                    conn.batch_execute(
                        "DROP TABLE diesel_advisory.__diesel_schema_migrations; \
                         DO $$BEGIN DROP SCHEMA diesel_advisory; \
                         EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$",
                    )?;
                }
                Ok(())
            })
        })
    }

    /// Diesel's table of migrations is found, and created, in the first schema of the `search_path`.
    fn in_schema<C>(conn: &mut C, work: impl FnOnce(&mut C) -> Result<()>) -> Result<()>
    where
        C: AdvisoryConnection,
    {
        let search_path = diesel::select(diesel::dsl::sql::<Text>(
            "pg_catalog.current_setting('search_path')",
        ));
        let search_path: String = search_path.get_result(conn)?;
        conn.batch_execute("SET search_path = diesel_advisory")?;
        let worked = work(conn);
        let restored = diesel::sql_query("SELECT pg_catalog.set_config('search_path', $1, false)")
            .bind::<Text, _>(search_path)
            .execute(conn);
        worked?;
        restored?;
        Ok(())
    }
}

//! The names in the catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
#[cfg(feature = "async")]
use std::future::Future;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{Oid, SmallInt, Text};

#[cfg(feature = "async")]
use crate::asynchronous::link::{AsyncPgTransactions, Unfinished};
use crate::blocking::link::Blocking;
use crate::error::Error;
use crate::inspect::{LockName, Names};
use crate::lock::key::LockKey;
use crate::protocol::link::{Link, ready};
use crate::sql::look::text_literal;

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

/// Adds names to the catalog, and returns those that share a key with another one.
///
/// Names that are there already stay as they are. Any number of processes can do this at once: they
/// neither fail nor wait for each other longer than the statement takes. It takes three round trips.
///
/// Two names share a key only by a hash collision, or because both were registered with it. Both are
/// added, and shown together.
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
/// # catalog::install(conn)?;
/// for collision in catalog::register(conn, ["billing.close_month", "reports.nightly"])? {
///     eprintln!("{collision}");
/// }
/// # Ok::<_, Error>(())
/// ```
#[must_use = "names that share a key are only reported here, and in the view `name_collisions`"]
pub fn register<'a, C, I>(conn: &mut C, names: I) -> Result<Vec<Collision>, Error>
where
    C: diesel::connection::LoadConnection<Backend = Pg>,
    I: IntoIterator<Item: Into<LockName<'a>>>,
{
    let names = names.into_iter().map(Into::into).collect();
    ready(add(&mut Blocking(conn), names))
}

/// Does the same as [`register`], asynchronously.
///
/// # Errors
///
/// The same as [`register`].
///
/// # Cancel safety
///
/// If the future is dropped, the session ends, and nothing is added.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::async_doctest!(conn, {
/// use diesel_advisory::catalog;
///
/// # catalog::install_async(conn).await?;
/// for collision in catalog::register_async(conn, ["billing.close_month"]).await? {
///     eprintln!("{collision}");
/// }
/// # });
/// ```
#[cfg(feature = "async")]
pub fn register_async<'a, C, I>(
    conn: &'a mut C,
    names: I,
) -> impl Future<Output = Result<Vec<Collision>, Error>> + Send
where
    C: AsyncPgTransactions,
    I: IntoIterator<Item: Into<LockName<'a>>>,
{
    let names = names.into_iter().map(Into::into).collect();
    async move {
        let mut conn = Unfinished::new(conn);
        let collisions = add(&mut conn.link(), names).await;
        conn.done();
        collisions
    }
}

/// Returns the names in the catalog; none if it is not installed.
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
pub fn names<C>(conn: &mut C) -> Result<Names, Error>
where
    C: diesel::connection::LoadConnection<Backend = Pg>,
{
    ready(read(&mut Blocking(conn)))
}

/// Does the same as [`names`], asynchronously.
///
/// # Errors
///
/// [`Error::Database`].
///
/// # Cancel safety
///
/// If the future is dropped, the session ends.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::async_doctest!(conn, {
/// use diesel_advisory::LockKey;
///
/// let names = diesel_advisory::catalog::names_async(conn).await?;
/// println!("{}", names.display(LockKey::BigInt(42)));
/// # });
/// ```
#[cfg(feature = "async")]
#[expect(clippy::manual_async_fn, reason = "`Send` is part of the signature")]
pub fn names_async<C>(conn: &mut C) -> impl Future<Output = Result<Names, Error>> + Send
where
    C: AsyncPgTransactions,
{
    async move {
        let mut conn = Unfinished::new(conn);
        let names = read(&mut conn.link()).await;
        conn.done();
        names
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

async fn add<L: Link>(
    link: &mut L,
    names: BTreeSet<LockName<'_>>,
) -> Result<Vec<Collision>, Error> {
    if names.iter().any(|name| name.name().is_empty()) {
        return Err(Error::EmptyName);
    }
    if link.transaction_depth()?.is_some() {
        return Err(DieselError::AlreadyInTransaction.into());
    }
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // Above read committed, a name that another process has added meanwhile would be a failure.
    link.begin("BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE")
        .await?;
    let known = match link.rows::<NameRow>(insert(&names)).await {
        Ok(known) => known,
        Err(error) => {
            let _ = link.rollback().await;
            return Err(error.into());
        }
    };
    link.commit().await?;

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

/// Adds the names, and selects them with all others of the same keys.
///
/// The rows go in by the order of their keys: two processes that add the same ones in different orders
/// could deadlock.
fn insert(names: &BTreeSet<LockName<'_>>) -> String {
    let list = |item: &dyn Fn(&LockName<'_>) -> String| {
        names.iter().map(item).collect::<Vec<_>>().join(",")
    };
    let texts = list(&|name| text_literal(name.name()));
    let classids = list(&|name| name.key().to_pg_locks().0.to_string());
    let objids = list(&|name| name.key().to_pg_locks().1.to_string());
    let objsubids = list(&|name| name.key().to_pg_locks().2.to_string());
    format!(
        "WITH given AS (\
             SELECT * FROM unnest(ARRAY[{texts}]::pg_catalog.text[], \
             ARRAY[{classids}]::pg_catalog.oid[], ARRAY[{objids}]::pg_catalog.oid[], \
             ARRAY[{objsubids}]::smallint[]) WITH ORDINALITY \
             AS t (name, classid, objid, objsubid, position)\
         ), added AS (\
             INSERT INTO diesel_advisory.lock_names (name, classid, objid, objsubid) \
             SELECT name, classid, objid, objsubid FROM given ORDER BY position \
             ON CONFLICT DO NOTHING\
         ) \
         SELECT name, classid, objid, objsubid FROM given UNION \
         SELECT known.name, known.classid, known.objid, known.objsubid \
         FROM diesel_advisory.lock_names AS known \
         JOIN given ON known.classid OPERATOR(pg_catalog.=) given.classid \
         AND known.objid OPERATOR(pg_catalog.=) given.objid \
         AND known.objsubid OPERATOR(pg_catalog.=) given.objsubid \
         ORDER BY name"
    )
}

async fn read<L: Link>(link: &mut L) -> Result<Names, Error> {
    const EXISTS: &str = "SELECT ''::pg_catalog.text AS name, 0::pg_catalog.oid AS classid, \
         0::pg_catalog.oid AS objid, 1::smallint AS objsubid \
         WHERE pg_catalog.to_regclass('diesel_advisory.lock_names') IS NOT NULL";
    const NAMES: &str = "SELECT name, classid, objid, objsubid FROM diesel_advisory.lock_names \
         ORDER BY registered_at, name";

    if link.rows::<NameRow>(EXISTS.to_owned()).await?.is_empty() {
        return Ok(Names::default());
    }
    let rows = link.rows::<NameRow>(NAMES.to_owned()).await?;
    let named = rows
        .into_iter()
        .filter_map(|row| Some((row.key()?, row.name)));
    Ok(named.map(|(key, name)| (name, key)).collect())
}

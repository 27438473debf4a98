//! The runs in the catalog.

#[cfg(feature = "async")]
use std::future::Future;
use std::time::Duration;

use diesel::pg::Pg;

#[cfg(feature = "async")]
use crate::asynchronous::link::{AsyncPgTransactions, Unfinished};
use crate::blocking::link::Blocking;
use crate::error::Error;
use crate::protocol::interval;
use crate::protocol::link::ready;

/// Deletes the runs that were started longer ago than that, and returns how many there were.
///
/// Runs of [`once`](crate::AdvisoryTransaction::once) stay, because their jobs would run again. So does a job of
/// which the run is forgotten: call it with an age that is longer than the longest period in use.
///
/// # Errors
///
/// - [`Error::Database`] inside an open transaction, with Diesel's `AlreadyInTransaction`, before anything is
///   sent: until it ended, jobs would wait for it.
/// - [`Error::NoCatalog`] if the catalog is not installed, or too old.
/// - [`Error::NoGrants`] if the role may not delete runs.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::doctest!(conn);
/// # diesel_advisory::catalog::install(conn)?;
/// use std::time::Duration;
///
/// use diesel_advisory::{Error, catalog};
///
/// let year = Duration::from_secs(365 * 24 * 3600);
/// let forgotten = catalog::forget_runs(conn, year)?;
/// println!("{forgotten} jobs were not run for a year");
/// # Ok::<_, Error>(())
/// ```
pub fn forget_runs<C>(conn: &mut C, older_than: Duration) -> Result<usize, Error>
where
    C: diesel::connection::LoadConnection<Backend = Pg>,
{
    ready(interval::forget_runs(
        &mut Blocking(conn),
        older_than.into(),
    ))
}

/// Does the same as [`forget_runs`], asynchronously.
///
/// # Errors
///
/// The same as [`forget_runs`].
///
/// # Cancel safety
///
/// If the future is dropped, the session ends, and either all of them are deleted or none.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::async_doctest!(conn, {
/// # diesel_advisory::catalog::install_async(conn).await?;
/// use std::time::Duration;
///
/// use diesel_advisory::catalog;
///
/// let year = Duration::from_secs(365 * 24 * 3600);
/// let forgotten = catalog::forget_runs_async(conn, year).await?;
/// println!("{forgotten} jobs were not run for a year");
/// # });
/// ```
#[cfg(feature = "async")]
#[expect(clippy::manual_async_fn, reason = "`Send` is part of the signature")]
pub fn forget_runs_async<C>(
    conn: &mut C,
    older_than: Duration,
) -> impl Future<Output = Result<usize, Error>> + Send
where
    C: AsyncPgTransactions,
{
    async move {
        let mut conn = Unfinished::new(conn);
        let forgotten = interval::forget_runs(&mut conn.link(), older_than.into()).await;
        conn.done();
        forgotten
    }
}

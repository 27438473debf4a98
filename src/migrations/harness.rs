//! The harness.

use std::fmt;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::LoadConnection;
use diesel::migration::{Migration, MigrationSource, MigrationVersion, Result};
use diesel::pg::Pg;
use diesel_migrations::{HarnessWithOutput, MigrationError, MigrationHarness};

use super::applied::Applied;
use super::waiting::{Pace, Reports, Waiting};
use crate::blocking::link::{Blocking, ready};
use crate::error::Error;
use crate::error::unavailable::Unavailable;
use crate::lock::id::LockId;
use crate::lock::into_id::IntoLockId;
use crate::lock::request::Request;
use crate::lock::wait::Wait;
use crate::protocol::session;
use crate::sql::release::HeldLocks;

/// A [`MigrationHarness`](diesel_migrations::MigrationHarness) whose every run and revert is done
/// under one advisory lock.
///
/// See [the module](super) for what it does, and which lock it is. `C` is the connection: a
/// [`PgConnection`](diesel::PgConnection), or an `AsyncConnectionWrapper` of `diesel-async`.
///
/// | | without the lock | under the lock |
/// |---|---|---|
/// | `run_pending_migrations`, `run_next_migration` | if nothing is pending | read again, and run |
/// | `revert_last_migration`, `revert_all_migrations` | if nothing has been applied | read again, and revert |
/// | `run_migration`, `revert_migration` | if it has been applied, or not, already | the same once more; then run or revert |
/// | `applied_migrations`, `pending_migrations`, `has_pending_migration` | always, and without writing | |
///
/// So other than with Diesel's own harness, running a migration that has been applied is no error,
/// and does nothing; neither is reverting one that has not been.
///
/// # Errors
///
/// The migration's own error comes first. Errors of this crate are boxed, as all are here;
/// [`Error::find_in`] gets them out again:
///
/// - [`Error::Unavailable`], if a [`timeout`](Self::timeout) was set, with whoever holds the lock;
/// - [`Error::InTransaction`], inside an open transaction: others would be let in before it
///   commits;
/// - [`Error::SharedSession`], through a connection pooler in transaction mode;
/// - [`Error::NotHeld`], if the lock got lost while the migrations ran, and another process may
///   have run some as well;
/// - [`Error::Database`].
///
/// # Panics
///
/// If a migration panics, the lock is released while the panic goes on.
#[must_use = "nothing is migrated until it is told to"]
pub struct LockedHarness<'h, C> {
    conn: &'h mut C,
    /// `None`: the one that is migrated.
    lock_connection: Option<&'h mut C>,
    lock_id: Option<LockId<'static>>,
    timeout: Option<Duration>,
    on_wait: Option<OnWait>,
    output: Option<Box<dyn Write + Send>>,
}

/// If it could borrow, so would the harness until it is dropped, and not only until it is used
/// last.
type OnWait = Box<dyn FnMut(&Waiting) + Send>;

impl<'h, C> LockedHarness<'h, C>
where
    C: LoadConnection<Backend = Pg> + MigrationHarness<Pg>,
{
    /// Makes a harness for a connection.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::MIGRATIONS;
    /// use diesel_advisory::migrations::LockedHarness;
    /// use diesel_migrations::MigrationHarness;
    ///
    /// LockedHarness::new(conn).run_pending_migrations(MIGRATIONS)?;
    /// # conn.revert_all_migrations(MIGRATIONS)?;
    /// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn new(conn: &'h mut C) -> Self {
        Self {
            conn,
            lock_connection: None,
            lock_id: None,
            timeout: None,
            on_wait: None,
            output: None,
        }
    }

    /// Makes a harness for a connection, and lets another one hold the lock.
    ///
    /// Use it to migrate through a connection pooler in transaction mode. The other connection has to be
    /// a direct one, to the same database.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(pooled, direct);
    /// # use diesel_advisory::MIGRATIONS;
    /// use diesel_advisory::migrations::LockedHarness;
    /// use diesel_migrations::MigrationHarness;
    ///
    /// LockedHarness::with_lock_on(pooled, direct).run_pending_migrations(MIGRATIONS)?;
    /// # pooled.revert_all_migrations(MIGRATIONS)?;
    /// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn with_lock_on(conn: &'h mut C, lock_connection: &'h mut C) -> Self {
        Self {
            lock_connection: Some(lock_connection),
            ..Self::new(conn)
        }
    }

    /// Waits no longer than this for the lock; `None` waits without end.
    ///
    /// Default: `None`. The session's `lock_timeout` does not matter. Zero does not wait at all.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn, other);
    /// # use diesel_advisory::MIGRATIONS;
    /// use std::time::Duration;
    ///
    /// use diesel_advisory::migrations::LockedHarness;
    /// use diesel_advisory::{AdvisoryConnection, Error};
    /// use diesel_migrations::MigrationHarness;
    ///
    /// let held = other.advisory_session("schema").acquire()?;
    ///
    /// let error = LockedHarness::new(conn)
    ///     .lock_id("schema")
    ///     .timeout(Duration::from_millis(20))
    ///     .run_pending_migrations(MIGRATIONS)
    ///     .unwrap_err();
    /// assert!(Error::find_in(&*error).is_some_and(Error::is_unavailable));
    /// # held.release()?;
    /// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Takes this lock.
    ///
    /// Default: [the one of the schema](super#which-lock).
    pub fn lock_id<'a>(mut self, id: impl IntoLockId<'a>) -> Self {
        self.lock_id = Some(id.into_lock_id().into_owned());
        self
    }

    /// Writes a line for each migration that is run or reverted, as Diesel's
    /// [`HarnessWithOutput`](diesel_migrations::HarnessWithOutput) does.
    ///
    /// Default: nothing is written.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::MIGRATIONS;
    /// use diesel_advisory::migrations::LockedHarness;
    /// use diesel_migrations::MigrationHarness;
    ///
    /// LockedHarness::new(conn)
    ///     .output(std::io::stdout())
    ///     .run_pending_migrations(MIGRATIONS)?;
    /// # conn.revert_all_migrations(MIGRATIONS)?;
    /// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn output(mut self, writer: impl Write + Send + 'static) -> Self {
        self.output = Some(Box::new(writer));
        self
    }

    /// Calls this while it waits for another process: at once, after a second, and in longer
    /// intervals then, up to ten seconds.
    ///
    /// Default: silence, but for an event of the level `INFO` if the feature `tracing` is on.
    ///
    /// [`Waiting`] prints the line for the log:
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::MIGRATIONS;
    /// use diesel_advisory::migrations::LockedHarness;
    /// use diesel_migrations::MigrationHarness;
    ///
    /// LockedHarness::new(conn)
    ///     .on_wait(|waiting| eprintln!("{waiting}"))
    ///     .run_pending_migrations(MIGRATIONS)?;
    /// # conn.revert_all_migrations(MIGRATIONS)?;
    /// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn on_wait(mut self, on_wait: impl FnMut(&Waiting) + Send + 'static) -> Self {
        self.on_wait = Some(Box::new(on_wait));
        self
    }

    /// Reverts the last migration and runs it again, under one lock.
    ///
    /// # Errors
    ///
    /// As `revert_last_migration`, then as `run_migration`.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::MIGRATIONS;
    /// use diesel_advisory::migrations::LockedHarness;
    /// use diesel_migrations::MigrationHarness;
    ///
    /// let mut harness = LockedHarness::new(conn);
    /// harness.run_pending_migrations(MIGRATIONS)?;
    /// harness.redo_last_migration(MIGRATIONS)?;
    /// # harness.revert_all_migrations(MIGRATIONS)?;
    /// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn redo_last_migration<S>(&mut self, source: S) -> Result<MigrationVersion<'static>>
    where
        S: MigrationSource<Pg>,
    {
        let schema = self.lock_schema()?;
        self.locked_in(&schema, |harness| {
            let migrations = source.migrations()?;
            let version = harness.revert_last_migration(source)?;
            let migration = migrations.iter().find(|m| m.name().version() == version);
            match migration {
                Some(migration) => harness.run_migration(migration),
                None => Err(MigrationError::UnknownMigrationVersion(version).into()),
            }
        })
    }

    /// Does anything under the lock, for example several runs and reverts that belong together.
    ///
    /// The closure gets the harness as it is. What it reads of the applied migrations stays true
    /// until it is done.
    ///
    /// # Errors
    ///
    /// The closure's own error comes first; then those of [`LockedHarness`].
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::MIGRATIONS;
    /// use diesel_advisory::migrations::LockedHarness;
    /// use diesel_migrations::MigrationHarness;
    ///
    /// LockedHarness::new(conn).locked(|conn| {
    ///     conn.run_pending_migrations(MIGRATIONS)?;
    ///     conn.revert_all_migrations(MIGRATIONS)?;
    ///     Ok(())
    /// })?;
    /// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn locked<T>(&mut self, work: impl FnOnce(&mut C) -> Result<T>) -> Result<T> {
        let schema = self.lock_schema()?;
        self.locked_in(&schema, |harness| work(harness.conn))
    }

    pub(super) fn locked_in<T>(
        &mut self,
        schema: &str,
        work: impl FnOnce(&mut Reporting<'_, C>) -> Result<T>,
    ) -> Result<T> {
        let id = self
            .lock_id
            .clone()
            .unwrap_or_else(|| ("diesel_advisory.migrations", schema).into());
        let locks = self.acquire(&id)?;
        let mut held = Held {
            harness: self,
            locks: Some(locks),
        };
        let value = work(&mut Reporting {
            conn: held.harness.conn,
            output: held.harness.output.as_deref_mut(),
        })?;
        held.release()?;
        Ok(value)
    }

    pub(super) fn applied(&mut self) -> Result<Applied> {
        Ok(Applied::read(self.conn)?)
    }

    /// The schema that the lock is of, if it is not set.
    fn lock_schema(&mut self) -> Result<String> {
        match self.lock_id {
            Some(_) => Ok(String::new()),
            None => Ok(self.applied()?.schema),
        }
    }

    fn lock_connection(&mut self) -> &mut C {
        match &mut self.lock_connection {
            Some(conn) => conn,
            None => self.conn,
        }
    }

    /// Tries until the lock is there. Between two attempts the session is idle: see
    /// [why](super#why-it-polls).
    fn acquire(&mut self, id: &LockId<'static>) -> Result<HeldLocks> {
        let began = Instant::now();
        let mut pace = Pace::new();
        let mut reports = Reports::new();
        loop {
            let waited = began.elapsed();
            let is_last = self.timeout.is_some_and(|timeout| waited >= timeout);
            let look = is_last || (self.is_heard() && reports.is_due(waited));
            let attempt = try_lock(self.lock_connection(), id.clone(), look)?;
            let unavailable = match attempt {
                Attempt::Held(locks) => return Ok(locks),
                Attempt::Busy(unavailable) => unavailable,
            };
            match unavailable {
                Some(mut unavailable) if is_last => {
                    unavailable.waited = waited;
                    return Err(Error::Unavailable(unavailable).into());
                }
                // It has been released since: there is nobody to wait for.
                Some(unavailable) if unavailable.holders.is_empty() => {}
                Some(unavailable) => {
                    self.tell(&Waiting::new(unavailable, waited));
                    reports.told(waited);
                }
                None => {}
            }
            let left = self
                .timeout
                .map(|timeout| timeout.saturating_sub(began.elapsed()));
            let delay = pace.next_delay();
            thread::sleep(left.map_or(delay, |left| left.min(delay)));
        }
    }

    /// Whether anybody wants to know for whom it waits.
    fn is_heard(&self) -> bool {
        #[cfg(feature = "tracing")]
        if tracing::enabled!(tracing::Level::INFO) {
            return true;
        }
        self.on_wait.is_some()
    }

    fn tell(&mut self, waiting: &Waiting) {
        #[cfg(feature = "tracing")]
        tracing::info!(
            lock = %waiting.lock,
            pid = waiting.holders.first().map(|holder| holder.pid),
            application = waiting.holders.first().and_then(|holder| holder.application_name.as_deref()),
            waited = ?waiting.waited,
            "{waiting}"
        );
        if let Some(on_wait) = &mut self.on_wait {
            on_wait(waiting);
        }
    }
}

enum Attempt {
    Held(HeldLocks),
    /// With the holders, if they were to be looked for.
    Busy(Option<Unavailable>),
}

fn try_lock<C>(conn: &mut C, id: LockId<'static>, look: bool) -> Result<Attempt>
where
    C: LoadConnection<Backend = Pg>,
{
    let mut request = Request::new([id]);
    request.wait = Wait::No;
    let conn = &mut Blocking(conn);
    let attempt = ready(session::acquire(conn, request))?;
    if !look {
        return Ok(attempt.granted().map_or(Attempt::Busy(None), Attempt::Held));
    }
    match ready(attempt.or_unavailable(conn)) {
        Ok(locks) => Ok(Attempt::Held(locks)),
        Err(Error::Unavailable(unavailable)) => Ok(Attempt::Busy(Some(unavailable))),
        Err(error) => Err(error.into()),
    }
}

/// A harness that holds its lock. Dropped before it was released, which an error and a panic do, it
/// is released as well as it can be.
struct Held<'l, 'h, C>
where
    C: LoadConnection<Backend = Pg> + MigrationHarness<Pg>,
{
    harness: &'l mut LockedHarness<'h, C>,
    locks: Option<HeldLocks>,
}

impl<C> Held<'_, '_, C>
where
    C: LoadConnection<Backend = Pg> + MigrationHarness<Pg>,
{
    fn release(&mut self) -> Result<()> {
        if let Some(locks) = self.locks.take() {
            let conn = self.harness.lock_connection();
            ready(session::release(&mut Blocking(conn), &locks))?;
        }
        Ok(())
    }
}

impl<C> Drop for Held<'_, '_, C>
where
    C: LoadConnection<Backend = Pg> + MigrationHarness<Pg>,
{
    fn drop(&mut self) {
        drop(self.release());
    }
}

/// The connection, with what it runs and reverts written to the output.
pub(super) struct Reporting<'r, C> {
    conn: &'r mut C,
    output: Option<&'r mut (dyn Write + Send + 'static)>,
}

impl<C: MigrationHarness<Pg>> MigrationHarness<Pg> for Reporting<'_, C> {
    fn run_migration(
        &mut self,
        migration: &dyn Migration<Pg>,
    ) -> Result<MigrationVersion<'static>> {
        match &mut self.output {
            None => self.conn.run_migration(migration),
            Some(output) => HarnessWithOutput::new(self.conn, output).run_migration(migration),
        }
    }

    fn revert_migration(
        &mut self,
        migration: &dyn Migration<Pg>,
    ) -> Result<MigrationVersion<'static>> {
        match &mut self.output {
            None => self.conn.revert_migration(migration),
            Some(output) => HarnessWithOutput::new(self.conn, output).revert_migration(migration),
        }
    }

    fn applied_migrations(&mut self) -> Result<Vec<MigrationVersion<'static>>> {
        self.conn.applied_migrations()
    }
}

impl<C> fmt::Debug for LockedHarness<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedHarness")
            .field("lock_id", &self.lock_id)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

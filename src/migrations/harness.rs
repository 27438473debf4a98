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

/// A [`MigrationHarness`] that runs and reverts migrations under an advisory lock.
///
/// See [the module](super) for what it does, and which lock it takes. `C` is the connection: a
/// [`PgConnection`], or an `AsyncConnectionWrapper` of `diesel-async`.
///
/// | method | takes no lock | otherwise, under the lock |
/// |---|---|---|
/// | `run_pending_migrations`, `run_next_migration` | if none is pending | looks again, and runs what is pending |
/// | `revert_last_migration`, `revert_all_migrations` | if none has been applied | looks again, and reverts |
/// | `run_migration` | if it has been applied | looks again, and runs it |
/// | `revert_migration` | if it has not been applied | looks again, and reverts it |
/// | `applied_migrations`, `pending_migrations`, `has_pending_migration` | always, and they do not write | |
///
/// Unlike with Diesel's own harness, running a migration that has been applied does nothing and returns `Ok`,
/// and so does reverting one that has not.
///
/// # Errors
///
/// If a migration fails, you get its error, even when the release fails too. Otherwise, boxed as all errors
/// of migrations are, so that [`Error::find_in`] finds them:
///
/// - [`Error::Unavailable`] if a [`timeout`](Self::timeout) is set and has passed. It says who holds the lock;
/// - [`Error::InTransaction`] inside an open transaction: the lock would be released before it commits;
/// - [`Error::SharedSession`] through a connection pooler in transaction mode;
/// - [`Error::Standby`] if migrations are pending and the server is a standby;
/// - [`Error::NotHeld`] if the lock was lost while the migrations ran. Another process may have run some of
///   them in the meantime;
/// - [`Error::Database`] if the lock, its release or a query failed.
///
/// # Panics
///
/// If a migration panics, the lock is released while the panic goes on.
///
/// [`PgConnection`]: https://docs.rs/diesel/2.3/diesel/pg/struct.PgConnection.html
#[must_use = "nothing is migrated until one of its methods is called"]
pub struct LockedHarness<'h, C> {
    conn: &'h mut C,
    /// `None`: the one that is migrated.
    lock_connection: Option<&'h mut C>,
    lock_id: Option<LockId<'static>>,
    timeout: Option<Duration>,
    on_wait: Option<OnWait>,
    output: Option<Box<dyn Write + Send>>,
}

/// It owns what it captures. If it could borrow, the harness would be borrowed until it is dropped, instead
/// of until its last use.
type OnWait = Box<dyn FnMut(&Waiting) + Send>;

impl<'h, C> LockedHarness<'h, C>
where
    C: LoadConnection<Backend = Pg> + MigrationHarness<Pg>,
{
    /// Creates a harness that takes the lock on the connection that it migrates.
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

    /// Creates a harness that takes the lock on another connection.
    ///
    /// Use it to migrate through a connection pooler in transaction mode. The other connection has to be a
    /// direct one, to the same database.
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

    /// Waits for the lock no longer than `timeout`. `None` waits forever, and zero does not wait.
    ///
    /// The session's `lock_timeout` has no effect, because no statement waits.
    ///
    /// Default: `None`.
    ///
    /// # Example
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

    /// Takes this lock instead.
    ///
    /// Default: [the lock of the schema](super#which-lock).
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::MIGRATIONS;
    /// use diesel_advisory::migrations::LockedHarness;
    /// use diesel_migrations::MigrationHarness;
    ///
    /// LockedHarness::new(conn).lock_id("deployment").run_pending_migrations(MIGRATIONS)?;
    /// # conn.revert_all_migrations(MIGRATIONS)?;
    /// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn lock_id<'a>(mut self, id: impl IntoLockId<'a>) -> Self {
        self.lock_id = Some(id.into_lock_id().into_owned());
        self
    }

    /// Writes a line for each migration that is run or reverted, as Diesel's [`HarnessWithOutput`] does.
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

    /// Calls the closure while the harness waits for another process: at once, after a second, and then at
    /// growing intervals of up to ten seconds.
    ///
    /// [`Waiting`] implements `Display`, and prints a line for the log. With the feature `tracing`, the same
    /// line is also an event of level `INFO`, whether or not there is a closure.
    ///
    /// Default: no closure is called.
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
    ///     .on_wait(|waiting| eprintln!("{waiting}"))
    ///     .run_pending_migrations(MIGRATIONS)?;
    /// # conn.revert_all_migrations(MIGRATIONS)?;
    /// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn on_wait(mut self, on_wait: impl FnMut(&Waiting) + Send + 'static) -> Self {
        self.on_wait = Some(Box::new(on_wait));
        self
    }

    /// Reverts the last migration and runs it again, without releasing the lock in between.
    ///
    /// # Errors
    ///
    /// Those of `revert_last_migration` and of `run_migration`.
    ///
    /// # Example
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

    /// Runs the closure under the lock, for several runs and reverts that belong together.
    ///
    /// The closure gets the connection. No other harness runs or reverts migrations until it returns.
    ///
    /// # Errors
    ///
    /// If the closure fails, you get its error. Otherwise, those of [`LockedHarness`](Self#errors).
    ///
    /// # Example
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

    /// Tries until it has acquired the lock. Between two attempts the session is idle: see
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
                // It has been released since: no session is left to name.
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

    /// Whether the holders are worth a query: a closure or a subscriber is told of them.
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
    /// With the holders, if they were asked for.
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

/// A harness that holds its lock. Dropping it, as an error or a panic does, releases the lock without
/// reporting errors.
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

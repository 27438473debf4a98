//! The harness.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::LoadConnection;
use diesel::migration::{Migration, MigrationSource, MigrationVersion, Result};
use diesel::pg::Pg;
use diesel_migrations::MigrationError;

use super::applied::Applied;
use super::reach::{Directly, Lockable};
use super::waiting::{Pace, Reports, Waiting};
use crate::connection::Blocking;
use crate::link::ready;
use crate::lock_set::{HeldLocks, Request};
use crate::wait::Wait;
use crate::{Error, LockId, Unavailable, protocol};

/// A [`MigrationHarness`](diesel_migrations::MigrationHarness) whose every run and revert is done
/// under one advisory lock.
///
/// See [the module](super) for what it does, and which lock it is. `H` is a connection or a
/// [`HarnessWithOutput`](diesel_migrations::HarnessWithOutput).
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
/// - [`Error::NotHeld`], if the lock got lost while the migrations ran, and another process may
///   have run some as well;
/// - [`Error::Database`].
///
/// # Panics
///
/// If a migration panics, the lock is released while the panic goes on.
#[must_use = "nothing is migrated until it is told to"]
pub struct LockedHarness<'h, H, How = Directly>
where
    H: Lockable<How>,
{
    harness: &'h mut H,
    /// `None`: the harness's own.
    lock_connection: Option<&'h mut H::Connection>,
    lock_id: Option<LockId<'static>>,
    timeout: Option<Duration>,
    on_wait: Option<OnWait>,
}

/// If it could borrow, so would the harness until it is dropped, and not only until it is used
/// last.
type OnWait = Box<dyn FnMut(&Waiting) + Send>;

impl<'h, H, How> LockedHarness<'h, H, How>
where
    H: Lockable<How>,
{
    /// Locks a connection, or a [`HarnessWithOutput`](diesel_migrations::HarnessWithOutput) around
    /// one.
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
    pub fn new(harness: &'h mut H) -> Self {
        Self {
            harness,
            lock_connection: None,
            lock_id: None,
            timeout: None,
            on_wait: None,
        }
    }

    /// Locks a harness, and has another connection hold the lock.
    ///
    /// It is for a harness behind a connection pooler in transaction mode; the other connection has
    /// to be a direct one, to the same database.
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
    pub fn with_lock_on(harness: &'h mut H, lock_connection: &'h mut H::Connection) -> Self {
        Self {
            lock_connection: Some(lock_connection),
            ..Self::new(harness)
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
    pub fn lock_id(mut self, id: impl Into<LockId<'static>>) -> Self {
        self.lock_id = Some(id.into());
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
        self.locked(|harness| {
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
    pub fn locked<T>(&mut self, work: impl FnOnce(&mut H) -> Result<T>) -> Result<T> {
        let schema = match self.lock_id {
            Some(_) => String::new(),
            None => self.applied()?.schema,
        };
        self.locked_in(&schema, work)
    }

    pub(super) fn locked_in<T>(
        &mut self,
        schema: &str,
        work: impl FnOnce(&mut H) -> Result<T>,
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
        let value = work(held.harness.harness)?;
        held.release()?;
        Ok(value)
    }

    pub(super) fn applied(&mut self) -> Result<Applied> {
        Ok(self.harness.with_connection(Applied::read)??)
    }

    /// Visits the connection that the lock is taken on.
    fn on_lock_connection<T>(&mut self, visit: impl FnOnce(&mut H::Connection) -> T) -> Result<T> {
        match &mut self.lock_connection {
            Some(conn) => Ok(visit(conn)),
            None => self.harness.with_connection(visit),
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
            let attempt = self.on_lock_connection(|conn| try_lock(conn, id.clone(), look))??;
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
    let mut request = Request::new(id);
    request.wait = Wait::No;
    let conn = &mut Blocking(conn);
    let attempt = ready(protocol::acquire_for_session(conn, request))?;
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
struct Held<'l, 'h, H, How>
where
    H: Lockable<How>,
{
    harness: &'l mut LockedHarness<'h, H, How>,
    locks: Option<HeldLocks>,
}

impl<H, How> Held<'_, '_, H, How>
where
    H: Lockable<How>,
{
    fn release(&mut self) -> Result<()> {
        if let Some(locks) = self.locks.take() {
            self.harness.on_lock_connection(|conn| {
                ready(protocol::release_for_session(&mut Blocking(conn), &locks))
            })??;
        }
        Ok(())
    }
}

impl<H, How> Drop for Held<'_, '_, H, How>
where
    H: Lockable<How>,
{
    fn drop(&mut self) {
        drop(self.release());
    }
}

impl<H, How> fmt::Debug for LockedHarness<'_, H, How>
where
    H: Lockable<How>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedHarness")
            .field("lock_id", &self.lock_id)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

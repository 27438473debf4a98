//! The lock around the migrations: how it is waited for, and released.

use std::thread;
use std::time::Instant;

use diesel::connection::LoadConnection;
use diesel::migration::Result;
use diesel::pg::Pg;
use diesel_migrations::MigrationHarness;

use super::applied::Applied;
use super::harness::LockedHarness;
use super::output::Reporting;
use super::waiting::{Pace, Reports, Waiting};
use crate::blocking::link::Blocking;
use crate::error::Error;
use crate::error::unavailable::Unavailable;
use crate::lock::id::LockId;
use crate::lock::request::Request;
use crate::lock::wait::Wait;
use crate::protocol::link::ready;
use crate::protocol::session;
use crate::sql::release::HeldLocks;
use crate::trace::{Scope, Trace};

impl<C> LockedHarness<'_, C>
where
    C: LoadConnection<Backend = Pg> + MigrationHarness<Pg>,
{
    pub(super) fn locked_in<T>(
        &mut self,
        schema: &str,
        work: impl FnOnce(&mut Reporting<'_, C>) -> Result<T>,
    ) -> Result<T> {
        let id = self
            .lock_id
            .clone()
            .unwrap_or_else(|| ("diesel_advisory.migrations", schema).into());
        let trace = Trace::begin(&Request::new([id.clone()]), Scope::Session);
        trace.inside(|| {
            let locks = self.acquire(&id);
            if let Some(error) = locks.as_ref().err().and_then(|error| error.downcast_ref()) {
                trace.failed(error);
            }
            let mut held = Held {
                harness: self,
                locks: Some(locks?),
            };
            trace.taken();
            let value = work(&mut Reporting {
                conn: held.harness.conn,
                output: held.harness.output.as_deref_mut(),
            })?;
            held.release()?;
            Ok(value)
        })
    }

    pub(super) fn applied(&mut self) -> Result<Applied> {
        Ok(Applied::read(self.conn)?)
    }

    /// The schema that the lock is of, if it is not set.
    pub(super) fn lock_schema(&mut self) -> Result<String> {
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

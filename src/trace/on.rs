//! One span for each lock, from asking to release.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tracing::field::{Empty, display};
use tracing::instrument::Instrumented;
use tracing::{Instrument, Span};

use super::{Ending, Scope, is_worth_a_warning};
use crate::error::Error;
use crate::error::unavailable::Unavailable;
use crate::lock::id::LockId;
use crate::lock::request::{Mode, Request};
use crate::lock::wait::Wait;

/// What subscribers filter by. The modules that tell are nobody's concern.
const TARGET: &str = "diesel_advisory";

/// A wait that is an event.
const LONG: Duration = Duration::from_secs(1);

/// The span of one lock, or of none. It ends with the last clone, and then has what became of the lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(Option<Arc<Told>>);

/// A span that others may end: a clone of a lease can outlive its lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct WeakTrace(Weak<Told>);

struct Told {
    span: Span,
    lock: LockId<'static>,
    asked: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the wait was over.
    decided: Option<Instant>,
    granted: Option<Instant>,
    /// When the lock was found to be lost.
    lost: Option<Instant>,
    outcome: Option<Outcome>,
    /// Who was told to hold it.
    holders: Option<Vec<i32>>,
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Taken,
    Unavailable,
    NotDue,
    Error,
    Lost,
}

impl Trace {
    pub(crate) fn begin(request: &Request<'_>, scope: Scope) -> Self {
        let lock = request.ids.first().cloned().map(LockId::into_owned);
        let lock = lock.unwrap_or_else(|| LockId::from(""));
        let span = tracing::info_span!(
            target: TARGET,
            "advisory_lock",
            lock.name = %lock,
            lock.count = i64::try_from(request.ids.len()).unwrap_or(i64::MAX),
            lock.permits = request.permits.map(i64::from),
            lock.scope = scope.name(),
            lock.mode = mode(request.mode),
            lock.timeout = %Timeout(request.wait),
            lock.waited = Empty,
            lock.held = Empty,
            lock.outcome = Empty,
            db.system.name = "postgresql",
            db.operation.name = function(scope, request),
            "error.type" = Empty,
            otel.status_code = Empty,
        );
        Self(Some(Arc::new(Told {
            span,
            lock,
            asked: Instant::now(),
            state: Mutex::default(),
        })))
    }

    /// Has a future run inside of the span, and be dropped inside of it.
    pub(crate) fn around<F: Future>(&self, future: F) -> Instrumented<F> {
        future.instrument(self.span())
    }

    pub(crate) fn inside<R>(&self, work: impl FnOnce() -> R) -> R {
        self.span().in_scope(work)
    }

    /// Takes down whether the lock was granted, and hands that on.
    pub(crate) fn decided<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_ok() {
            self.taken();
        }
        self.checked(result)
    }

    /// The same where an unavailable lock is no error.
    pub(crate) fn decided_if<T>(
        &self,
        result: Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        match (&self.0, result) {
            (Some(told), Ok(None)) => {
                told.unavailable(None);
                Ok(None)
            }
            (_, result) => self.decided(result),
        }
    }

    /// The lock was granted, and is not needed: the work was run too recently.
    pub(crate) fn not_due(&self) {
        if let Some(told) = &self.0 {
            told.decide(Instant::now(), Outcome::NotDue);
        }
    }

    /// Takes down that a lock which is asked for again and again was unavailable. It is told when others hold it
    /// than before.
    pub(crate) fn refused(&self, unavailable: &Unavailable) {
        if let Some(told) = &self.0 {
            told.refused(unavailable);
        }
    }

    /// Takes down what the crate's own work has failed with, and hands it on.
    pub(crate) fn checked<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            self.failed(error);
        }
        result
    }

    /// A loss is told once.
    pub(crate) fn failed(&self, error: &Error) {
        if let Some(told) = &self.0 {
            told.failed(error);
        }
    }

    pub(crate) fn taken(&self) {
        if let Some(told) = &self.0 {
            told.taken();
        }
    }

    pub(crate) fn weak(&self) -> WeakTrace {
        WeakTrace(self.0.as_ref().map(Arc::downgrade).unwrap_or_default())
    }

    fn span(&self) -> Span {
        self.0
            .as_ref()
            .map_or_else(Span::none, |told| told.span.clone())
    }
}

impl WeakTrace {
    /// The work does not keep the span from ending.
    pub(crate) fn inside<R>(&self, work: impl FnOnce() -> R) -> R {
        let span = Trace(self.0.upgrade()).span();
        span.in_scope(work)
    }

    pub(crate) fn failed(&self, error: &Error) {
        Trace(self.0.upgrade()).failed(error);
    }
}

/// Tells that a session was ended, with all that it held.
pub(crate) fn session_ended(ending: Ending) {
    match ending {
        Ending::Failed => tracing::warn!(
            target: TARGET,
            "ended the session, because nobody can tell what it holds"
        ),
        #[cfg(feature = "async")]
        Ending::Cancelled => tracing::info!(
            target: TARGET,
            "ended the session, because a future was dropped in the middle of its work"
        ),
    }
}

impl Told {
    fn taken(&self) {
        let now = Instant::now();
        let mut state = self.state();
        state.decided = Some(now);
        state.granted = Some(now);
        state.outcome = Some(Outcome::Taken);
        drop(state);
        self.tell_long_wait(now.duration_since(self.asked), "was acquired");
    }

    /// The holders are only known if they were asked for.
    fn unavailable(&self, unavailable: Option<&Unavailable>) {
        let waited = unavailable.map_or_else(|| self.asked.elapsed(), |refusal| refusal.waited);
        self.decide(self.asked + waited, Outcome::Unavailable);
        self.tell_unavailable(waited, unavailable);
        self.tell_long_wait(waited, "was unavailable");
    }

    fn refused(&self, unavailable: &Unavailable) {
        let holders: Vec<_> = unavailable
            .holders
            .iter()
            .map(|holder| holder.pid)
            .collect();
        let before = self.state().holders.clone();
        self.decide(Instant::now(), Outcome::Unavailable);
        // If nobody has it, it has been released since.
        if !holders.is_empty() && before.as_ref() != Some(&holders) {
            self.state().holders = Some(holders);
            self.tell_unavailable(self.asked.elapsed(), Some(unavailable));
        }
    }

    fn decide(&self, decided: Instant, outcome: Outcome) {
        let mut state = self.state();
        state.decided = Some(decided);
        state.outcome = Some(outcome);
    }

    fn tell_unavailable(&self, waited: Duration, unavailable: Option<&Unavailable>) {
        let lock = unavailable.map_or(&self.lock, |unavailable| &unavailable.lock);
        let holders = unavailable.map(|unavailable| display(Holders(unavailable)));
        let waited = waited.as_secs_f64();
        self.span.in_scope(|| {
            tracing::debug!(
                target: TARGET,
                { lock.name = %lock, lock.waited = waited, lock.holders = holders },
                "the lock is unavailable"
            );
        });
    }

    fn tell_long_wait(&self, waited: Duration, became: &str) {
        /// The level of an event has to be a constant.
        macro_rules! tell {
            ($event:ident) => {
                tracing::$event!(
                    target: TARGET,
                    { lock.name = %self.lock, lock.waited = waited.as_secs_f64() },
                    "waited for {waited:.1?}, until the lock {became}"
                )
            };
        }
        self.span.in_scope(|| {
            if is_worth_a_warning(waited) {
                tell!(warn);
            } else if waited > LONG {
                tell!(debug);
            }
        });
    }

    fn failed(&self, error: &Error) {
        let outcome = match error {
            Error::Unavailable(unavailable) => return self.unavailable(Some(unavailable)),
            Error::NotDue(_) => return self.decide(Instant::now(), Outcome::NotDue),
            Error::Lost(_) | Error::NotHeld => Outcome::Lost,
            _ => Outcome::Error,
        };
        let now = Instant::now();
        let mut state = self.state();
        if state.outcome == Some(Outcome::Lost) {
            return;
        }
        state.decided = state.decided.or(Some(now));
        state.outcome = Some(outcome);
        state.error = Some(error_type(error));
        if outcome != Outcome::Lost {
            return;
        }
        state.lost = Some(now);
        drop(state);
        self.span.in_scope(|| {
            tracing::warn!(target: TARGET, { lock.name = %self.lock }, "{error}");
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let state = self.state();
        let decided = state.decided.unwrap_or_else(Instant::now);
        let waited = decided.duration_since(self.asked);
        self.span.record("lock.waited", waited.as_secs_f64());
        if let Some(granted) = state.granted {
            let ended = state.lost.unwrap_or_else(Instant::now);
            let held = ended.duration_since(granted);
            self.span.record("lock.held", held.as_secs_f64());
        }
        let outcome = state.outcome.map_or("cancelled", Outcome::name);
        self.span.record("lock.outcome", outcome);
        if let Some(error) = &state.error {
            self.span.record("error.type", error.as_str());
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told")
            .field("lock", &self.lock)
            .finish_non_exhaustive()
    }
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Unavailable => "unavailable",
            Self::NotDue => "not_due",
            Self::Error => "error",
            Self::Lost => "lost",
        }
    }
}

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Xact => "xact",
            Self::Session => "session",
            Self::Lease => "lease",
        }
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive => "exclusive",
        Mode::Share => "shared",
    }
}

/// PostgreSQL's function for what is asked: it has no values in it, so that operations can be grouped by it.
fn function(scope: Scope, request: &Request<'_>) -> &'static str {
    let for_session = matches!(scope, Scope::Session | Scope::Lease);
    match (for_session, request.wait == Wait::No, request.mode) {
        (true, false, Mode::Exclusive) => "pg_advisory_lock",
        (true, false, Mode::Share) => "pg_advisory_lock_shared",
        (true, true, Mode::Exclusive) => "pg_try_advisory_lock",
        (true, true, Mode::Share) => "pg_try_advisory_lock_shared",
        (false, false, Mode::Exclusive) => "pg_advisory_xact_lock",
        (false, false, Mode::Share) => "pg_advisory_xact_lock_shared",
        (false, true, Mode::Exclusive) => "pg_try_advisory_xact_lock",
        (false, true, Mode::Share) => "pg_try_advisory_xact_lock_shared",
    }
}

/// The name of the error's variant; of an error of the database, that of its kind.
fn error_type(error: &Error) -> String {
    let shown = match error {
        Error::Database(diesel::result::Error::DatabaseError(kind, _)) => format!("{kind:?}"),
        Error::Database(error) => format!("{error:?}"),
        error => format!("{error:?}"),
    };
    let is_name = |char: &char| char.is_ascii_alphanumeric();
    shown.chars().take_while(is_name).collect()
}

/// How long the user wants to wait, as in the builder.
struct Timeout(Wait);

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Wait::Inherit => f.write_str("lock_timeout"),
            Wait::Forever => f.write_str("none"),
            Wait::No => f.write_str("no_wait"),
            Wait::AtMost(millis) => {
                let timeout = Duration::from_millis(millis.unsigned_abs().into());
                write!(f, "{timeout:?}")
            }
        }
    }
}

/// Those who hold the lock, in one line.
struct Holders<'u>(&'u Unavailable);

impl fmt::Display for Holders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, holder) in self.0.holders.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            holder.fmt(f)?;
        }
        Ok(())
    }
}

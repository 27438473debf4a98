//! Without the feature `tracing` nothing is told, and nothing is kept for it.

#![expect(clippy::unused_self, reason = "the same methods as with the feature")]

use super::{Ending, Scope};
use crate::error::Error;
use crate::error::unavailable::Unavailable;
use crate::lock::request::Request;

#[derive(Debug, Clone, Default)]
pub(crate) struct Trace;

#[derive(Debug, Clone, Default)]
pub(crate) struct WeakTrace;

impl Trace {
    pub(crate) fn begin(_: &Request<'_>, _: Scope) -> Self {
        Self
    }

    pub(crate) fn around<F>(&self, future: F) -> F {
        future
    }

    pub(crate) fn inside<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }

    pub(crate) fn decided<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result
    }

    pub(crate) fn decided_if<T>(
        &self,
        result: Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        result
    }

    pub(crate) fn not_due(&self) {}

    pub(crate) fn refused(&self, _: &Unavailable) {}

    pub(crate) fn checked<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result
    }

    pub(crate) fn failed(&self, _: &Error) {}

    pub(crate) fn taken(&self) {}

    pub(crate) fn weak(&self) -> WeakTrace {
        WeakTrace
    }
}

impl WeakTrace {
    pub(crate) fn inside<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }

    pub(crate) fn failed(&self, _: &Error) {}
}

pub(crate) fn session_ended(_: Ending) {}

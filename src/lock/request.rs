//! What every builder collects.

use super::id::LockId;
use super::into_id::IntoLockId;
use super::wait::Wait;

/// The locks that a user asked for, as written.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) ids: Vec<LockId<'a>>,
    pub(crate) mode: Mode,
    pub(crate) wait: Wait,
    /// Whether a lock on a standby is wanted.
    pub(crate) on_standby: bool,
    /// How many sessions can hold the lock at once, each with a permit.
    pub(crate) permits: Option<u32>,
}

/// The mode of a lock, in the words of `pg_locks.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    /// Excludes everybody.
    #[default]
    Exclusive,
    /// Excludes exclusive locks only.
    Share,
}

impl<'a> Request<'a> {
    pub(crate) fn new<I>(ids: I) -> Self
    where
        I: IntoIterator<Item: IntoLockId<'a>>,
    {
        Self {
            ids: ids.into_iter().map(IntoLockId::into_lock_id).collect(),
            mode: Mode::default(),
            wait: Wait::default(),
            on_standby: false,
            permits: None,
        }
    }

    pub(crate) fn into_owned(self) -> Request<'static> {
        let ids = self.ids.into_iter().map(LockId::into_owned);
        Request {
            ids: ids.collect(),
            mode: self.mode,
            wait: self.wait,
            on_standby: self.on_standby,
            permits: self.permits,
        }
    }
}

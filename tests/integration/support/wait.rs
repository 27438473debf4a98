//! How to wait, where a test goes through several ways.

use std::time::Duration;

use diesel_advisory::{AdvisorySession, AdvisoryTransaction, AdvisoryXact, LockId};
#[cfg(feature = "async")]
use diesel_advisory::{AsyncAdvisorySession, AsyncAdvisoryTransaction, AsyncAdvisoryXact};

use super::PATIENCE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Inherit,
    AtMost(Duration),
    Forever,
    No,
}

impl Wait {
    /// All of them; none that can end in vain does so before [`PATIENCE`], but `No`.
    pub(crate) const ALL: [Self; 4] = [
        Self::Inherit,
        Self::AtMost(PATIENCE),
        Self::Forever,
        Self::No,
    ];

    /// Those that wait for a lock that is not free.
    pub(crate) const WAITING: [Self; 3] = [Self::Inherit, Self::AtMost(PATIENCE), Self::Forever];

    pub(crate) fn on<L: Adjustable>(self, lock: L) -> L {
        match self {
            Self::Inherit => lock,
            Self::AtMost(timeout) => lock.timeout(Some(timeout)),
            Self::Forever => lock.timeout(None),
            Self::No => lock.no_wait(),
        }
    }
}

/// What the locks of all scopes can be told.
pub(crate) trait Adjustable {
    fn timeout(self, timeout: Option<Duration>) -> Self;

    fn no_wait(self) -> Self;

    fn and(self, id: LockId<'static>) -> Self;
}

macro_rules! adjustable {
    ($($Builder:ty),+ $(,)?) => {$(
        impl<C> Adjustable for $Builder {
            fn timeout(self, timeout: Option<Duration>) -> Self {
                self.timeout(timeout)
            }

            fn no_wait(self) -> Self {
                self.no_wait()
            }

            fn and(self, id: LockId<'static>) -> Self {
                self.and(id)
            }
        }
    )+};
}

adjustable!(
    AdvisoryTransaction<'_, '_, C>,
    AdvisoryXact<'_, '_, C>,
    AdvisorySession<'_, C>,
);
#[cfg(feature = "async")]
adjustable!(
    AsyncAdvisoryTransaction<'_, '_, C>,
    AsyncAdvisoryXact<'_, '_, C>,
    AsyncAdvisorySession<'_, C>,
);

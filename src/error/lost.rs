//! A lease that was lost: which lock, and how that was found out.

use std::fmt;

use crate::lock::id::LockId;
use crate::lock::into_id::IntoLockId;

/// A lease that was lost before its holder gave it back.
///
/// `Display` prints `the lease of advisory lock "scheduler" is lost: its time was up before the server had
/// answered`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// The lock that was leased. For a set, the first one.
    pub lock: LockId<'static>,
    /// How the loss was found out.
    pub how: HowLost,
}

/// How the loss of a lease was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HowLost {
    /// The time was up before the server had answered a question: the network or the server is gone or
    /// slow, or this process did not run in time.
    Time,
    /// The server answered a question with an error. It was ending the session, as a rule.
    Answer,
    /// Another session answered, or something has reset the settings of this one.
    Mark,
    /// Something has changed `idle_session_timeout` in the session, so that the server would keep the lock
    /// for a silent client.
    Setting,
    /// The connection is closed.
    Connection,
}

impl Lost {
    /// Makes the loss of a lease of this lock, for tests of how your code handles it.
    ///
    /// ```
    /// use diesel_advisory::{Error, HowLost, Lost};
    ///
    /// assert_eq!(
    ///     Error::Lost(Lost::new("scheduler", HowLost::Connection)).to_string(),
    ///     r#"the lease of advisory lock "scheduler" is lost: its connection is closed"#,
    /// );
    /// ```
    #[must_use]
    pub fn new<'a>(lock: impl IntoLockId<'a>, how: HowLost) -> Self {
        Self {
            lock: lock.into_lock_id().into_owned(),
            how,
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lock, how } = self;
        let lock = lock.to_string();
        write!(f, "the lease of advisory lock {lock:?} is lost: {how}")
    }
}

impl fmt::Display for HowLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "its time was up before the server had answered",
            Self::Answer => "the server answered with an error",
            Self::Mark => "another session answered, or its settings were reset",
            Self::Setting => "its session has another `idle_session_timeout`",
            Self::Connection => "its connection is closed",
        })
    }
}

//! Isolation levels, and where a transaction has its own from.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
            Self::Serializable => "serializable",
        }
    }
}

pub(crate) const LEVELS: [Level; 3] = [
    Level::ReadCommitted,
    Level::RepeatableRead,
    Level::Serializable,
];

/// Where the level of a transaction comes from: the builder's counts before the session's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) builder: Option<Level>,
    pub(crate) session: Option<Level>,
}

pub(crate) const SOURCES: [Source; 9] = {
    use Level::{ReadCommitted, RepeatableRead, Serializable};

    const fn source(builder: Option<Level>, session: Option<Level>) -> Source {
        Source { builder, session }
    }
    [
        source(Some(ReadCommitted), None),
        source(Some(RepeatableRead), None),
        source(Some(Serializable), None),
        source(None, Some(ReadCommitted)),
        source(None, Some(RepeatableRead)),
        source(None, Some(Serializable)),
        source(Some(ReadCommitted), Some(Serializable)),
        source(Some(RepeatableRead), Some(Serializable)),
        source(Some(Serializable), Some(ReadCommitted)),
    ]
};

impl Source {
    /// The level that counts.
    pub(crate) fn level(self) -> Level {
        self.builder.or(self.session).unwrap()
    }

    /// What the session is set to.
    pub(crate) fn set(self) -> String {
        let level = self.session.unwrap_or(Level::ReadCommitted).name();
        format!("SET default_transaction_isolation = '{level}'")
    }
}

/// A lock around a transaction, with the level of the builder's if there is one.
macro_rules! at_level {
    ($level:expr, $lock:expr) => {
        match $level {
            None => $lock,
            Some($crate::support::Level::ReadCommitted) => $lock.read_committed(),
            Some($crate::support::Level::RepeatableRead) => $lock.repeatable_read(),
            Some($crate::support::Level::Serializable) => $lock.serializable(),
        }
    };
}
pub(crate) use at_level;

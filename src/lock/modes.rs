//! Isolation level and access mode of a transaction.

/// The options of `BEGIN`. What is not set is left to the session's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TransactionModes {
    pub(crate) isolation: Option<Isolation>,
    pub(crate) read_only: Option<bool>,
    pub(crate) deferrable: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl TransactionModes {
    pub(crate) fn is_default(self) -> bool {
        self == Self::default()
    }

    /// Whether PostgreSQL is asked to delay the transaction until its snapshot cannot fail to be
    /// serialized, by these modes or with the session's defaults.
    pub(crate) fn may_wait_for_a_safe_snapshot(self) -> bool {
        let is_serializable = matches!(self.isolation, None | Some(Isolation::Serializable));
        is_serializable && self.read_only != Some(false) && self.deferrable == Some(true)
    }

    /// The same, where the session's defaults would have a transaction that is named serializable wait
    /// for a safe snapshot.
    pub(crate) fn not_waiting(self) -> Self {
        let mut modes = self;
        if self.isolation == Some(Isolation::Serializable) {
            modes.deferrable = self.deferrable.or(Some(false));
        }
        modes
    }

    pub(crate) fn begin(self) -> String {
        let isolation = self.isolation.map(|level| match level {
            Isolation::ReadCommitted => " ISOLATION LEVEL READ COMMITTED",
            Isolation::RepeatableRead => " ISOLATION LEVEL REPEATABLE READ",
            Isolation::Serializable => " ISOLATION LEVEL SERIALIZABLE",
        });
        let access = self
            .read_only
            .map(|on| if on { " READ ONLY" } else { " READ WRITE" });
        let deferrable = self
            .deferrable
            .map(|on| if on { " DEFERRABLE" } else { " NOT DEFERRABLE" });
        [
            "BEGIN",
            isolation.unwrap_or(""),
            access.unwrap_or(""),
            deferrable.unwrap_or(""),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::{Isolation, TransactionModes};

    #[test]
    fn begin_says_what_was_set_and_nothing_else() {
        assert_eq!(TransactionModes::default().begin(), "BEGIN");
        let all = TransactionModes {
            isolation: Some(Isolation::Serializable),
            read_only: Some(true),
            deferrable: Some(false),
        };
        assert_eq!(
            all.begin(),
            "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY NOT DEFERRABLE"
        );
    }
}

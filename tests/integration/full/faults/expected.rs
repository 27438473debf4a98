//! What has to come of a fault.

use super::task::Scope;
use super::trial::{Finding, Trial};
use super::{Fault, Moment};

/// What the caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// `Ok`: the fault does not concern it.
    Done,
    /// `Error::Database`, whatever the message.
    Database,
    /// `Error::Database` with this message.
    Message(&'static str),
    /// There was no connection to ask on.
    NoConnection,
    /// It was killed.
    Nothing,
}

/// When the lock is free again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Free {
    /// When the caller has its answer.
    AtOnce,
    /// When the server has heard that the client is gone.
    Later,
    /// One or the other, as the server hears of it.
    Soon,
}

/// What may be in the table. All that the caller was told is done is there, and nothing by halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    None,
    /// What the work had committed itself, under its session lock; none in a transaction.
    Committed,
    All,
    /// All or none: a commit that was under way when nobody could hear of it any more.
    AllOrNone,
}

impl Trial {
    /// Whether the fault ends what the client does at that moment.
    pub(crate) fn hits(self) -> bool {
        use Moment::{Asking, Committing, Ending, Holding, Waiting};

        let in_transaction = self.scope != Scope::Session;
        match self.fault {
            Fault::Terminate
            | Fault::Crash
            | Fault::Restart
            | Fault::Promotion
            | Fault::Client
            | Fault::Swallowed => true,
            Fault::Cancel => matches!(self.moment, Waiting | Committing),
            // A commit is not limited.
            Fault::StatementTimeout => self.moment == Waiting,
            Fault::IdleInTransaction => in_transaction && matches!(self.moment, Holding | Ending),
            Fault::IdleSession => match self.moment {
                Asking => true,
                Holding | Ending => !in_transaction,
                Waiting | Committing => false,
            },
            Fault::TransactionTimeout => match self.moment {
                Asking => false,
                Holding | Ending => in_transaction,
                Waiting | Committing => true,
            },
            Fault::LockTable | Fault::Connections => self.moment == Asking,
        }
    }

    /// Whether the work fails, for want of a lock that it needs itself: each transaction that writes has
    /// one of its own number.
    fn work_fails(self) -> bool {
        self.fault == Fault::LockTable
            && match self.moment {
                Moment::Waiting => true,
                Moment::Holding => self.scope == Scope::Session,
                _ => false,
            }
    }

    #[track_caller]
    pub(crate) fn assert_expected(self, finding: &Finding) {
        let seen = self.seen();
        let text = &*finding.seen;
        let as_seen = match seen {
            Seen::Done => text == "done",
            Seen::Database => text.starts_with("database error: "),
            Seen::Message(message) => text.strip_prefix("database error: ") == Some(message),
            Seen::NoConnection => text == "cannot connect",
            Seen::Nothing => text == "nothing",
        };
        assert!(as_seen, "{seen:?}: {self:?}: {finding:?}");
        assert_eq!(finding.usable, self.usable(), "{self:?}: {finding:?}");
        match self.free() {
            Free::AtOnce => assert!(finding.free_at_once, "{self:?}: {finding:?}"),
            Free::Later => assert!(!finding.free_at_once, "{self:?}: {finding:?}"),
            Free::Soon => {}
        }
        let rows = self.rows();
        let (all, committed): (&[i32], &[i32]) = match self.scope {
            Scope::Session => (&[1, 2, 3, 4], &[1, 2]),
            _ => (&[1, 2], &[]),
        };
        let found = &*finding.rows;
        let as_expected = match rows {
            Rows::None => found.is_empty(),
            Rows::Committed => found == committed,
            Rows::All => found == all,
            Rows::AllOrNone => found.is_empty() || found == all,
        };
        assert!(as_expected, "{rows:?}: {self:?}: {finding:?}");
    }

    fn seen(self) -> Seen {
        if !self.hits() && !self.work_fails() {
            return Seen::Done;
        }
        match self.fault {
            Fault::Cancel => Seen::Message("canceling statement due to user request"),
            Fault::StatementTimeout => {
                Seen::Message("canceling statement due to statement timeout")
            }
            Fault::LockTable => Seen::Message("out of shared memory"),
            Fault::Connections => Seen::NoConnection,
            Fault::Client => Seen::Nothing,
            _ => Seen::Database,
        }
    }

    /// Whether its connection works afterwards.
    fn usable(self) -> bool {
        if !self.hits() {
            return true;
        }
        match self.fault {
            Fault::Cancel | Fault::StatementTimeout => true,
            // Not even what makes sure that nothing is held can be done in this session.
            Fault::LockTable => self.scope != Scope::Session,
            _ => false,
        }
    }

    fn free(self) -> Free {
        let server_commits = self.moment == Moment::Committing && self.scope != Scope::Session;
        match self.fault {
            Fault::Client => Free::Soon,
            Fault::Swallowed if server_commits => Free::Soon,
            Fault::Swallowed if self.moment != Moment::Asking => Free::Later,
            _ => Free::AtOnce,
        }
    }

    fn rows(self) -> Rows {
        if !self.hits() && !self.work_fails() {
            return Rows::All;
        }
        let unheard = matches!(self.fault, Fault::Client | Fault::Swallowed);
        match self.moment {
            Moment::Asking | Moment::Waiting => Rows::None,
            Moment::Committing if unheard => Rows::All,
            Moment::Ending if self.scope == Scope::Session => Rows::All,
            Moment::Ending if unheard => Rows::AllOrNone,
            Moment::Holding | Moment::Ending | Moment::Committing => Rows::Committed,
        }
    }
}

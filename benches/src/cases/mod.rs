//! What is measured: ways to take and end a lock, and the plain SQL that each is compared with.

pub(crate) mod asynchronous;
pub(crate) mod blocking;
pub(crate) mod django;
pub(crate) mod sqlx;

use std::pin::Pin;

use serde::{Deserialize, Serialize};

/// How a lock is taken: the line of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Operation {
    OwnTransaction,
    OwnTransactionTimed,
    OwnTransactionNoWait,
    /// One lock, beside a set of several.
    OneLock,
    Serializable,
    OpenTransaction,
    OpenTransactionTimed,
    InsideAlone,
    InsideTimedAlone,
    Session,
    SessionTimed,
    SessionNoWait,
}

/// Who takes it: the column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Who {
    /// The plain SQL that everything of this line is compared with.
    Floor,
    Advisory,
    /// By hand, as it is mostly written.
    SqlQuery,
    /// By hand, with the functions declared to Diesel, so that the statements are prepared once.
    Select,
    Sqlx,
    Django,
}

/// What kind of client does it. A table has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Client {
    Blocking,
    Async,
}

/// A [`Client`] of some type takes and ends a lock.
#[derive(Debug)]
pub(crate) struct Case<Run> {
    pub(crate) operation: Operation,
    pub(crate) who: Who,
    pub(crate) run: Run,
}

pub(crate) type Call<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Operation {
    /// Whether an open transaction is there before the clock starts.
    pub(crate) fn is_inside(self) -> bool {
        matches!(self, Self::InsideAlone | Self::InsideTimedAlone)
    }

    /// The operation with whose floor it is compared.
    pub(crate) fn floor(self) -> Self {
        match self {
            Self::OwnTransactionTimed | Self::Serializable => Self::OwnTransaction,
            Self::OpenTransactionTimed => Self::OpenTransaction,
            Self::InsideTimedAlone => Self::InsideAlone,
            Self::SessionTimed => Self::Session,
            other => other,
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::OwnTransaction => "transaction of its own",
            Self::OwnTransactionTimed => "transaction of its own, timeout",
            Self::OwnTransactionNoWait => "transaction of its own, no wait",
            Self::OneLock => "one lock",
            Self::Serializable => "transaction of its own, serializable",
            Self::OpenTransaction => "open transaction, with its begin and commit",
            Self::OpenTransactionTimed => "open transaction, with its begin and commit, timeout",
            Self::InsideAlone => "open transaction, the lock alone",
            Self::InsideTimedAlone => "open transaction, the lock alone, timeout",
            Self::Session => "session",
            Self::SessionTimed => "session, timeout",
            Self::SessionNoWait => "session, no wait",
        }
    }
}

impl Who {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Floor => "plain SQL",
            Self::Advisory => "diesel-advisory",
            Self::SqlQuery => "by hand, `sql_query`",
            Self::Select => "by hand, `select`",
            Self::Sqlx => "sqlx",
            Self::Django => "django-pglock",
        }
    }
}

impl Client {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Async => "async",
        }
    }
}

/// A lock, and the SQL of the floors for it.
#[derive(Debug)]
pub(crate) struct Lock {
    pub(crate) name: String,
    pub(crate) key: i64,
    pub(crate) begin: String,
    pub(crate) take: String,
    pub(crate) try_take: String,
    pub(crate) session: String,
    pub(crate) try_session: String,
    pub(crate) release: String,
}

impl Lock {
    pub(crate) fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        let key = key(&name);
        Self {
            name,
            key,
            begin: format!("BEGIN; SELECT pg_advisory_xact_lock({key})"),
            take: format!("SELECT pg_advisory_xact_lock({key})"),
            try_take: format!("SELECT pg_try_advisory_xact_lock({key})"),
            session: format!("SELECT pg_advisory_lock({key})"),
            try_session: format!("SELECT pg_try_advisory_lock({key})"),
            release: format!("SELECT pg_advisory_unlock({key})"),
        }
    }
}

/// The key that diesel-advisory derives from a name.
pub(crate) fn key(name: &str) -> i64 {
    let hash = blake3::hash(name.as_bytes());
    let first = hash.as_bytes().first_chunk();
    i64::from_be_bytes(*first.expect("a hash has 32 bytes"))
}

//! The SQL that takes locks, as text.
//!
//! Two ways lead to a lock:
//!
//! - [`try_locks`], a `SELECT` that never waits and answers with an [`Answer`]'s code;
//! - [`wait_block`], a `DO` block that waits. It is there because Diesel hides the SQLSTATE of an
//!   error, and its text is in the server's language: the block catches `lock_not_available` on the
//!   server and raises it again with a mark that travels through Diesel untouched, which
//!   [`Answer::of_error`] recognises. Setting `lock_timeout`, waiting and restoring it are one
//!   statement there, so that the client has nothing to send between the grant and its own work.
//!
//! A `DO` block takes no parameters. Only integers that were formatted here enter it, and the
//! [`label`], which has no character that could end a literal or a comment.

mod answer;
mod look;
mod release;
mod take;

pub(crate) use self::answer::Answer;
pub(crate) use self::look::{HashRow, holders, is_locked, server_hashes};
pub(crate) use self::release::{END_SESSION, held_by_this_session, release};
pub(crate) use self::take::{
    Scope, SnapshotCheck, break_bridge, cross_bridge, try_locks, try_session_locks, wait_block,
};
use crate::LockKey;
use crate::lock_set::{LockSet, Mode};

/// A comment with the names of the locks, for those who look into `pg_stat_activity` or the
/// server's log. It belongs at the very front: the server shows the first 1024 bytes of a query by
/// default.
pub(crate) fn comment(set: &LockSet<'_>) -> String {
    format!("/* advisory lock {} */ ", label(set))
}

/// The names of the locks, shortened, with every character outside `[A-Za-z0-9_.:-]` replaced.
fn label(set: &LockSet<'_>) -> String {
    /// Enough for a name that is fit to be read; the rest of the query wants to be seen as well.
    const CHARS: usize = 100;
    /// Names that follow each other.
    const SEPARATOR: char = ' ';

    let mut label = String::new();
    let mut room = CHARS;
    for (index, lock) in set.locks.iter().enumerate() {
        if index > 0 {
            label.push(SEPARATOR);
        }
        let name = match lock.key {
            LockKey::Pair(first, second) => format!("{first}:{second}"),
            LockKey::BigInt(_) => lock.id.to_string(),
        };
        for (taken, char) in name.chars().enumerate() {
            if taken == room {
                label.push_str("...");
                return label;
            }
            let harmless = char.is_ascii_alphanumeric() || "_.:-".contains(char);
            label.push(if harmless { char } else { '_' });
        }
        room = CHARS.saturating_sub(label.len());
    }
    label
}

/// The call of one of the advisory lock functions, in the given mode.
///
/// The key is quoted and cast: a bare `-9223372036854775808` would be a `numeric`.
fn call(function: &str, mode: Mode, key: LockKey) -> String {
    let suffix = match mode {
        Mode::Exclusive => "",
        Mode::Share => "_shared",
    };
    match key {
        LockKey::BigInt(key) => format!("pg_catalog.{function}{suffix}('{key}'::bigint)"),
        LockKey::Pair(first, second) => {
            format!("pg_catalog.{function}{suffix}('{first}'::int, '{second}'::int)")
        }
    }
}

/// The condition on `pg_locks` that somebody holds the lock.
///
/// Advisory locks belong to a database; `pg_locks` shows those of the whole cluster.
fn granted(key: LockKey) -> String {
    let (classid, objid, objsubid) = key.to_pg_locks();
    format!(
        "locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_catalog.pg_database \
         WHERE datname = pg_catalog.current_database()) AND classid = '{classid}'::oid \
         AND objid = '{objid}'::oid AND objsubid = {objsubid}"
    )
}

#[cfg(test)]
mod tests {
    use super::comment;
    use crate::LockId;
    use crate::lock_set::Request;

    #[test]
    fn a_comment_shows_names_without_what_could_end_it() {
        let long = "x".repeat(1_000_000);
        let shown = format!("{}...", "x".repeat(100));
        for (name, label) in [
            ("billing.close_month", "billing.close_month"),
            ("a-b:c_D.9", "a-b:c_D.9"),
            ("*/ DROP TABLE x; --", "___DROP_TABLE_x__--"),
            ("it's $$ \\ \" \0 \n", "it_s___________"),
            ("réunion 🔒", "r_union__"),
            (&long, &shown),
        ] {
            let set = Request::new(LockId::from(name)).into_lock_set(std::iter::empty());
            assert_eq!(comment(&set), format!("/* advisory lock {label} */ "));
        }
    }
}

//! The SQL that is sent, as text.
//!
//! A lock that is free costs little more than the plain function call, because the server does little
//! more: what PostgreSQL parses, plans and executes for a call of a function is most of what a free lock
//! costs. So:
//!
//! - Locks are taken by a `SELECT` in one message with the `BEGIN` or `SAVEPOINT` before it. What it
//!   refuses, it refuses by an error that carries a [mark](answer), since a message of several statements
//!   answers with no rows. Whether a wait has timed out is asked [afterwards](verdict).
//! - Where nothing is waited for, a query answers with a [number](answer::Taking::of_code), and nothing is
//!   logged for a lock that is not free.
//!
//! Every name is qualified, and operators are written `OPERATOR(pg_catalog.…)`, so that no `search_path`
//! changes what a statement means. That leaves out `IN`, `LIKE`, `NULLIF`, `IS DISTINCT FROM`,
//! `JOIN … USING` and `CASE x WHEN`, which look for their operators in the path.
//!
//! A query that stands alone in its message ends in `FOR UPDATE`, which locks nothing here: it makes a
//! balancer such as pgpool send the query to the primary.
//!
//! What is written for each lock is pushed onto one `String`: with `format!`, writing the statement took
//! longer on the client than the server needs to look up two names.
//!
//! Nothing of the user's enters the text but numbers that are formatted here, the [label](push_label), which
//! has no character that could end a literal or a comment, and texts as
//! [hexadecimal digits](look::text_literal).

pub(crate) mod answer;
pub(crate) mod carry;
pub(crate) mod guards;
pub(crate) mod keys;
pub(crate) mod lease;
pub(crate) mod look;
pub(crate) mod marks;
pub(crate) mod permits;
pub(crate) mod release;
pub(crate) mod runs;
pub(crate) mod session;
pub(crate) mod statement;
pub(crate) mod take;
#[cfg(test)]
mod tests;
pub(crate) mod token;
pub(crate) mod verdict;

use std::borrow::Cow;

use crate::lock::key::LockKey;
use crate::lock::set::LockSet;

/// A comment with the names of the locks, for those who look into `pg_stat_activity` or the server's log.
///
/// It stands in front of the statement that waits, and behind any `BEGIN` or `SAVEPOINT`:
/// `pg_stat_statements` leaves out comments from a query's identity, but not from that of a utility
/// statement, before PostgreSQL 16.
fn push_label_comment(sql: &mut String, set: &LockSet<'_>) {
    sql.push_str("/* advisory lock ");
    push_label(sql, set);
    sql.push_str(" */ ");
}

/// The names of the locks, shortened, with every character outside `[A-Za-z0-9_.:-]` replaced.
fn push_label(sql: &mut String, set: &LockSet<'_>) {
    /// Enough for a name that is fit to be read. The server shows the first 1024 bytes of a query by
    /// default, and the rest of it wants to be seen as well.
    const CHARS: usize = 100;
    /// Names that follow each other.
    const SEPARATOR: char = ' ';

    let begin = sql.len();
    let mut room = CHARS;
    for (index, lock) in set.locks.iter().enumerate() {
        if index > 0 {
            sql.push(SEPARATOR);
        }
        let name = match (lock.key, lock.id.name()) {
            (LockKey::Pair(first, second), _) => Cow::Owned(format!("{first}:{second}")),
            (LockKey::BigInt(_), Some(name)) => Cow::Borrowed(name),
            (LockKey::BigInt(_), None) => Cow::Owned(lock.id.to_string()),
        };
        if name.len() <= room && name.bytes().all(|byte| is_harmless(byte.into())) {
            sql.push_str(&name);
        } else {
            let is_whole = name.chars().nth(room).is_none();
            let shown = name.chars().take(room);
            sql.extend(shown.map(|char| if is_harmless(char) { char } else { '_' }));
            if !is_whole {
                sql.push_str("...");
                return;
            }
        }
        room = CHARS.saturating_sub(sql.len() - begin);
    }
}

fn is_harmless(char: char) -> bool {
    matches!(char, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '.' | ':' | '-')
}

/// Adds pieces to a text.
fn push(sql: &mut String, pieces: &[&str]) {
    for piece in pieces {
        sql.push_str(piece);
    }
}

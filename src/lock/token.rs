//! A number that grows with each holder of a lock.

use std::fmt;
use std::str::FromStr;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::Text;

/// A token that is larger than every one given before under the same exclusive lock.
///
/// A lock cannot stop a process that was paused and goes on too late. What it writes to can: it remembers the
/// largest token that it has seen, and refuses smaller ones. Pass the token along with every write, also to
/// other services.
///
/// `Display` and `FromStr` have it as 32 hexadecimal digits, which sort as text in the order of the tokens. In
/// Diesel it is a value of `Text`, both ways.
///
/// # Example
///
/// The statement checks the token and keeps it, so that an old holder's write changes nothing:
///
/// ```
/// # diesel_advisory_sandbox::doctest!(conn);
/// use diesel::prelude::*;
/// use diesel_advisory::{AdvisoryConnection, FencingToken};
///
/// diesel::table! {
///     schedule (name) {
///         name -> Text,
///         next -> Integer,
///         token -> Text,
///     }
/// }
///
/// fn write(conn: &mut PgConnection, next: i32, token: FencingToken) -> QueryResult<bool> {
///     // UPDATE schedule SET next = $1, token = $2 WHERE name = 'nightly' AND token <= $2
///     let row = schedule::table
///         .find("nightly")
///         .filter(schedule::token.le(token));
///     let written = diesel::update(row)
///         .set((schedule::next.eq(next), schedule::token.eq(token)))
///         .execute(conn)?;
///     Ok(written == 1)
/// }
///
/// # diesel::sql_query(
/// #     "CREATE TEMPORARY TABLE schedule (
/// #         name text PRIMARY KEY,
/// #         next int NOT NULL,
/// #         token text NOT NULL DEFAULT ''
/// #     )"
/// # )
/// # .execute(conn)?;
/// # diesel::sql_query("INSERT INTO schedule VALUES ('nightly', 0)").execute(conn)?;
/// let mut held = conn.advisory_session("scheduler").acquire()?;
/// let old = held.fencing_token()?;
/// held.release()?;
///
/// let mut held = conn.advisory_session("scheduler").acquire()?;
/// let new = held.fencing_token()?;
/// held.release()?;
///
/// assert!(old < new);
/// assert!(write(conn, 1, new)?);
/// assert!(!write(conn, 2, old)?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// with the table
///
/// ```sql
/// CREATE TABLE schedule (
///     name text PRIMARY KEY,
///     next int NOT NULL,
///     token text NOT NULL DEFAULT ''
/// );
/// ```
///
/// # What it is made of
///
/// From the left: 32 bits of the time at which the database cluster was created, 32 bits of its timeline, and
/// 64 bits of a position in its write-ahead log, where the server has written and flushed a message for it. So
/// tokens grow across crashes, the promotion of a standby, `pg_upgrade`, and a move to a newer cluster. No table
/// and no extension is needed. It costs one small record in the log.
///
/// It can repeat if a standby is promoted that has never heard of an earlier promotion, or if a file-system
/// snapshot of the server's data is started without recovery.
///
/// # Shared locks
///
/// Several sessions hold a shared lock at the same time, each with a token of its own. The order of those says
/// nothing about who may write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = Text)]
pub struct FencingToken(u128);

impl FencingToken {
    /// Only the low 32 bits of the birth and of the timeline count.
    pub(crate) fn new(birth: i64, timeline: u32, position: u64) -> Self {
        let birth = u32::try_from(birth & i64::from(u32::MAX)).unwrap_or(0);
        Self(u128::from(birth) << 96 | u128::from(timeline) << 64 | u128::from(position))
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:032x}", self.0))
    }
}

impl fmt::Debug for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FencingToken({self})")
    }
}

/// A text is no [`FencingToken`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a fencing token has 32 hexadecimal digits")]
#[non_exhaustive]
pub struct ParseFencingTokenError {}

impl FromStr for FencingToken {
    type Err = ParseFencingTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let token = is_hex.then(|| u128::from_str_radix(text, 16).ok());
        token.flatten().map(Self).ok_or(ParseFencingTokenError {})
    }
}

impl ToSql<Text, Pg> for FencingToken {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        use std::io::Write as _;

        write!(out, "{self}")?;
        Ok(IsNull::No)
    }
}

impl FromSql<Text, Pg> for FencingToken {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, Pg>>::from_sql(value)?;
        Ok(text.trim_end().parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::FencingToken;

    #[test]
    fn tokens_sort_as_text_and_are_read_back() {
        let birth = 0x6910_7a4b;
        let in_order = [
            FencingToken::new(birth, 1, 0x0155_9bb8),
            FencingToken::new(birth, 1, 0x16_0000_0000),
            FencingToken::new(birth, 2, 0),
            FencingToken::new(birth, 0x10, 0),
            FencingToken::new(birth + 1, 1, 0),
            // Of a cluster that is created when the seconds have their highest bit.
            FencingToken::new(0xffff_ffff_i64 - (1 << 32), 1, 0),
        ];
        for pair in in_order.windows(2) {
            assert!(pair[0] < pair[1]);
            assert!(pair[0].to_string() < pair[1].to_string());
        }
        for token in in_order {
            assert_eq!(token.to_string().parse(), Ok(token));
        }
        assert_eq!(in_order[0].to_string(), "69107a4b000000010000000001559bb8");
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for text in [
            "",
            "69107a4b000000010000000001559bb",
            "69107a4b000000010000000001559bb8 ",
            "+9107a4b000000010000000001559bb8",
            "69107a4b00000001000000000155-bb8",
            "é9107a4b000000010000000001559bb8",
        ] {
            assert!(text.parse::<FencingToken>().is_err(), "{text:?}");
        }
    }
}

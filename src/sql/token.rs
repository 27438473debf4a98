//! The SQL of fencing tokens.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::answer::{IN_TRANSACTION, NOT_HELD, STANDBY, refusal};
use super::look::{Look, count_held_here};
use super::release::HeldLocks;
use super::session::TRANSACTION_IS_OPEN;
use crate::lock::token::FencingToken;

/// Why [`may_be_given`] says no.
pub(crate) const NO_RIGHT: &str = "the role may not call `pg_control_system`, `pg_walfile_name` or \
     `pg_logical_emit_message`: grant it `EXECUTE` on them";

/// A message that fails with a mark where a token would not be larger than those before: without the lock,
/// or in an open transaction, whose commit comes later.
pub(crate) fn check_before_token(held: &HeldLocks) -> String {
    let count = count_held_here(held);
    let all = held.keys.len();
    format!(
        "SELECT WHERE CASE WHEN {TRANSACTION_IS_OPEN} THEN {in_transaction} \
         WHEN pg_catalog.pg_is_in_recovery() THEN {standby} \
         WHEN {count} OPERATOR(pg_catalog.<>) {all} THEN {not_held} END FOR UPDATE",
        in_transaction = refusal(IN_TRANSACTION),
        standby = refusal(STANDBY),
        not_held = refusal(NOT_HELD),
    )
}

/// Asks whether the role may call what makes a token: a 1 or a 0.
///
/// It is asked in a statement of its own. PostgreSQL checks the rights of a whole statement before it
/// executes anything, so that no `CASE` shields a call. And a token with nothing in the place of its birth
/// would be smaller than those before.
pub(crate) fn may_be_given() -> Look {
    Look::new(
        String::from(
            "(SELECT (pg_catalog.count(*) OPERATOR(pg_catalog.=) 3)::int::pg_catalog.text FROM ( \
             SELECT DISTINCT p.proname FROM pg_catalog.pg_proc AS p \
             WHERE p.pronamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid \
             AND p.proname OPERATOR(pg_catalog.=) \
             ANY ('{pg_control_system,pg_walfile_name,pg_logical_emit_message}'::pg_catalog.name[]) \
             AND pg_catalog.pg_get_function_identity_arguments(p.oid) OPERATOR(pg_catalog.!~~) '%bytea%' \
             AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')) AS f)",
        ),
        String::from("1"),
    )
}

/// `SELECT`s a [`TokenRow`].
///
/// The message in the log is part of the statement's transaction, and flushed with its commit, before this is
/// answered. `local` because a synchronous standby may be away for ever, and `off` would let a crash give the
/// same position again.
pub(crate) fn give_token() -> String {
    String::from(
        "SELECT pg_catalog.int8shr(c.system_identifier, 32) AS birth, \
         pg_catalog.substr(pg_catalog.pg_walfile_name(m.position), 1, 8) AS timeline, \
         m.position::pg_catalog.text AS position \
         FROM pg_catalog.pg_control_system() AS c, \
         (SELECT pg_catalog.pg_logical_emit_message(true, 'diesel_advisory', ''::pg_catalog.text) AS position \
         WHERE pg_catalog.set_config('synchronous_commit', 'local', true) IS NOT NULL OFFSET 0) AS m \
         FOR UPDATE",
    )
}

/// The row of [`give_token`].
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct TokenRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) birth: i64,
    /// Of hexadecimal digits.
    #[diesel(sql_type = Text)]
    pub(crate) timeline: String,
    /// As PostgreSQL writes them: `16/B374D848`.
    #[diesel(sql_type = Text)]
    pub(crate) position: String,
}

impl TokenRow {
    /// `None` if the server writes them in another way.
    pub(crate) fn token(&self) -> Option<FencingToken> {
        let timeline = u32::from_str_radix(&self.timeline, 16).ok()?;
        let (high, low) = self.position.split_once('/')?;
        let high = u32::from_str_radix(high, 16).ok()?;
        let low = u32::from_str_radix(low, 16).ok()?;
        let position = u64::from(high) << 32 | u64::from(low);
        Some(FencingToken::new(self.birth, timeline, position))
    }
}

#[cfg(test)]
mod tests {
    use super::TokenRow;

    #[test]
    fn a_row_is_read_as_postgresql_writes_it() {
        let row = |timeline: &str, position: &str| TokenRow {
            birth: 0x6910_7a4b,
            timeline: timeline.to_owned(),
            position: position.to_owned(),
        };
        let token = row("0000000A", "16/B374D848").token().unwrap();
        assert_eq!(token.to_string(), "69107a4b0000000a00000016b374d848");
        for (timeline, position) in [("", "0/0"), ("00000001", "0"), ("00000001", "0/x")] {
            assert_eq!(row(timeline, position).token(), None);
        }
    }
}

//! The SQL that makes a session one of a lease, asks it whether it still is, and undoes that.

use std::hash::{BuildHasher, RandomState};

use diesel::result::Error as DieselError;

use super::answer::{IN_TRANSACTION, SHARED, STANDBY, marked, refusal};
use super::look::text_literal;
use super::session::TRANSACTION_IS_OPEN;

/// The setting that a lease's mark stands in.
const SETTING: &str = "diesel_advisory.lease";

/// The setting that keeps what `idle_session_timeout` was.
const BEFORE: &str = "diesel_advisory.lease_before";

/// The setting that keeps what `application_name` was.
const NAME_BEFORE: &str = "diesel_advisory.lease_name_before";

const OTHER_MARK: &str = "mark of the lease is missing";
const OTHER_TIMEOUT: &str = "timeout of the lease was changed";

/// What a session has while it is one of a lease.
#[derive(Debug, Clone)]
pub(crate) struct LeaseSettings {
    /// 16 random hexadecimal digits.
    mark: String,
    millis: i32,
    name: Option<SessionName>,
}

/// The `application_name` that others see.
#[derive(Debug, Clone)]
pub(crate) enum SessionName {
    /// This one.
    Always(String),
    /// This one, unless the session has one.
    IfUnset(String),
}

/// What a question finds different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Different {
    Mark,
    Timeout,
}

impl LeaseSettings {
    pub(crate) fn new(millis: i32, name: Option<SessionName>) -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        Self {
            mark: format!("{random:016x}"),
            millis,
            name,
        }
    }

    /// A message that sets them, or fails with a mark where no lease can be.
    ///
    /// It is a message of its own: together with the lock, an error after the grant would leave a lock without
    /// a time to live.
    pub(crate) fn set(&self) -> String {
        let Self { mark, millis, name } = self;
        let is_unset = "pg_catalog.current_setting('application_name') OPERATOR(pg_catalog.=) ''";
        let name = match name {
            None => String::new(),
            Some(SessionName::Always(name)) => format!("{}, ", set_name(&text_literal(name))),
            Some(SessionName::IfUnset(name)) => {
                let name = set_name(&text_literal(name));
                format!("CASE WHEN {is_unset} THEN {name} END, ")
            }
        };
        format!(
            "SELECT WHERE CASE WHEN {TRANSACTION_IS_OPEN} THEN {in_transaction} \
             WHEN pg_catalog.pg_is_in_recovery() THEN {standby} \
             WHEN pg_catalog.current_setting('{SETTING}', true) OPERATOR(pg_catalog.<>) '' \
             THEN {shared} \
             ELSE pg_catalog.concat(\
             pg_catalog.set_config('{BEFORE}', pg_catalog.current_setting('idle_session_timeout'), false), \
             pg_catalog.set_config('{NAME_BEFORE}', pg_catalog.current_setting('application_name'), false), \
             {name}pg_catalog.set_config('idle_session_timeout', '{millis}', false), \
             pg_catalog.set_config('{SETTING}', '{mark}', false)) IS NULL END FOR UPDATE",
            in_transaction = refusal(IN_TRANSACTION),
            standby = refusal(STANDBY),
            shared = refusal(SHARED),
        )
    }

    /// A message that fails with a mark if they are not what they were.
    ///
    /// It is a statement that a balancer sends to the primary, and a driver prepares nothing for it.
    pub(crate) fn question(&self) -> String {
        let timeout = as_shown(self.millis);
        format!(
            "SELECT WHERE CASE WHEN {is_missing} THEN {other_mark} \
             WHEN pg_catalog.current_setting('idle_session_timeout') OPERATOR(pg_catalog.<>) '{timeout}' \
             THEN {other_timeout} END FOR UPDATE",
            is_missing = self.is_missing(),
            other_mark = refusal(OTHER_MARK),
            other_timeout = refusal(OTHER_TIMEOUT),
        )
    }

    /// A message that gives `idle_session_timeout` the value back that it had, and takes the mark off; or
    /// fails, if the mark is not there.
    pub(crate) fn put_back(&self) -> String {
        let name = match self.name {
            None => String::new(),
            Some(_) => format!(
                "{}, ",
                set_name(&format!("pg_catalog.current_setting('{NAME_BEFORE}')"))
            ),
        };
        format!(
            "SELECT WHERE CASE WHEN {is_missing} THEN {other_mark} \
             ELSE pg_catalog.concat(\
             pg_catalog.set_config('idle_session_timeout', pg_catalog.current_setting('{BEFORE}'), false), \
             pg_catalog.set_config('{BEFORE}', '', false), \
             {name}pg_catalog.set_config('{NAME_BEFORE}', '', false), \
             pg_catalog.set_config('{SETTING}', '', false)) IS NULL END FOR UPDATE",
            is_missing = self.is_missing(),
            other_mark = refusal(OTHER_MARK),
        )
    }

    fn is_missing(&self) -> String {
        let Self { mark, .. } = self;
        format!(
            "NOT COALESCE(pg_catalog.current_setting('{SETTING}', true) OPERATOR(pg_catalog.=) '{mark}', false)"
        )
    }
}

impl Different {
    /// Reads the mark of an error, if it has one.
    pub(crate) fn of_error(error: &DieselError) -> Option<Self> {
        let reason = marked(error)?;
        if reason.starts_with(OTHER_MARK) {
            Some(Self::Mark)
        } else if reason.starts_with(OTHER_TIMEOUT) {
            Some(Self::Timeout)
        } else {
            None
        }
    }
}

fn set_name(name: &str) -> String {
    format!("pg_catalog.set_config('application_name', {name}, false)")
}

/// A number of milliseconds as PostgreSQL shows it: in the largest unit in which it is a whole number.
fn as_shown(millis: i32) -> String {
    const UNITS: [(i32, &str); 4] = [
        (24 * 60 * 60 * 1_000, "d"),
        (60 * 60 * 1_000, "h"),
        (60 * 1_000, "min"),
        (1_000, "s"),
    ];
    let unit = UNITS.iter().find(|(unit, _)| millis % unit == 0);
    let (unit, name) = unit.copied().unwrap_or((1, "ms"));
    format!("{}{name}", millis / unit)
}

#[cfg(test)]
mod tests {
    use super::as_shown;

    #[test]
    fn a_time_is_shown_as_postgresql_does() {
        for (millis, shown) in [
            (200, "200ms"),
            (1_000, "1s"),
            (1_001, "1001ms"),
            (90_000, "90s"),
            (120_000, "2min"),
            (3_600_000, "1h"),
            (172_800_000, "2d"),
            (i32::MAX, "2147483647ms"),
        ] {
            assert_eq!(as_shown(millis), shown);
        }
    }
}

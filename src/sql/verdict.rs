//! The SQL that tells a timeout from other errors, after the fact.

use std::fmt::Write as _;
use std::time::Duration;

use diesel::result::Error as DieselError;

use super::answer::{MARK, marked};
use super::keys::Keys;
use super::look::text_literal;
use crate::lock::set::LockSet;
use crate::lock::wait::Wait;

/// Says that all locks were free by the time of the question, and the time was up.
const FREE: &str = "time was up";

/// A statement that succeeds if `text` is what the server calls a lock timeout, and fails otherwise.
///
/// It waits for the same locks, for a millisecond each, and compares the text of what comes of it: same
/// session, same language. If it gets them it gives them back, and takes the time that was waited for an
/// answer.
pub(crate) fn verdict(set: &LockSet<'_>, text: &str, waited: Duration) -> String {
    let mut locks = String::new();
    for keys in Keys::of(&set.keys()) {
        let call = keys.call("pg_advisory_xact_lock", set.mode);
        let _ = write!(locks, "PERFORM {call}{}; ", keys.from());
    }
    let waited = waited.as_millis();
    let is_up = match set.wait {
        Wait::AtMost(millis) => format!("{waited} OPERATOR(pg_catalog.>=) {millis}"),
        _ => format!(
            "before OPERATOR(pg_catalog.<>) '0' AND {waited} OPERATOR(pg_catalog.>=) \
             (pg_catalog.date_part('epoch', before::interval) OPERATOR(pg_catalog.*) 1000)"
        ),
    };
    let text = text_literal(text);
    format!(
        "DO $$DECLARE before pg_catalog.text := pg_catalog.current_setting('lock_timeout'); BEGIN \
         BEGIN PERFORM pg_catalog.set_config('lock_timeout', '1', true); {locks}\
         EXCEPTION WHEN lock_not_available THEN \
         IF SQLERRM OPERATOR(pg_catalog.=) {text} THEN RETURN; END IF; RAISE; END; \
         IF {is_up} THEN RAISE EXCEPTION '{MARK}{FREE}'; END IF; \
         RAISE EXCEPTION '{MARK}other error'; END$$; "
    )
}

/// Whether an error is that of a [`verdict`] on locks that were free by then.
pub(crate) fn is_free(error: &DieselError) -> bool {
    marked(error).is_some_and(|reason| reason.starts_with(FREE))
}

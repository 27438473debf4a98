//! A job that was started too recently to start again.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::lock::id::LockId;
use crate::lock::into_id::IntoLockId;

/// The work was not started, because its last run was started too recently.
///
/// `Display` prints `"nightly" is not due: pid 4711 (web-3) started it 3h 12m ago, and it is due in 16h 48m`.
/// The times are those of this machine's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotDue {
    /// The lock, which is the name of the job.
    pub lock: LockId<'static>,
    /// When the last run was started.
    pub started_at: SystemTime,
    /// The session that started it: `pid 4711 (web-3)`, with its `application_name` in parentheses.
    pub started_by: Option<String>,
    /// When that run was done. `None` if it crashed or, where the lock is not held while the work runs, runs
    /// still.
    pub finished_at: Option<SystemTime>,
    /// When the job is due again. `None` for [`once`](crate::AdvisoryTransaction::once): never.
    pub due_at: Option<SystemTime>,
}

impl NotDue {
    /// Makes the outcome for a job that was started at this time, for tests of how your code handles it.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    ///
    /// use diesel_advisory::{Error, NotDue};
    ///
    /// let now = SystemTime::now();
    /// let mut not_due = NotDue::new("nightly", now - Duration::from_secs(90));
    /// not_due.finished_at = Some(now);
    /// assert_eq!(
    ///     Error::NotDue(not_due).to_string(),
    ///     r#""nightly" is not due: it was started 1m 30s ago, and is never to run again"#,
    /// );
    /// ```
    #[must_use]
    pub fn new<'a>(lock: impl IntoLockId<'a>, started_at: SystemTime) -> Self {
        Self {
            lock: lock.into_lock_id().into_owned(),
            started_at,
            started_by: None,
            finished_at: None,
            due_at: None,
        }
    }
}

impl fmt::Display for NotDue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not due: ", self.lock.to_string())?;
        let it = if let Some(by) = &self.started_by {
            write!(f, "{by} started it ")?;
            "it "
        } else {
            f.write_str("it was started ")?;
            ""
        };
        let now = SystemTime::now();
        let age = now.duration_since(self.started_at).unwrap_or_default();
        write!(f, "{} ago", Rough(age))?;
        if self.finished_at.is_none() {
            f.write_str(" and has not finished")?;
        }
        match self.due_at {
            Some(due_at) => {
                let left = due_at.duration_since(now).unwrap_or_default();
                write!(f, ", and {it}is due in {}", Rough(left))
            }
            None => write!(f, ", and {it}is never to run again"),
        }
    }
}

/// A duration in its two largest units.
struct Rough(Duration);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        let (days, hours, minutes) = (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{:.1?}", self.0),
            (0, 0, _) => write!(f, "{minutes}m {}s", secs % 60),
            (0, ..) => write!(f, "{hours}h {minutes}m"),
            _ => write!(f, "{days}d {hours}h"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{NotDue, Rough};

    #[test]
    fn a_duration_is_told_in_its_two_largest_units() {
        for (secs, text) in [
            (0, "0.0ns"),
            (59, "59.0s"),
            (60, "1m 0s"),
            (11_520, "3h 12m"),
            (86_399, "23h 59m"),
            (90_000, "1d 1h"),
        ] {
            assert_eq!(Rough(Duration::from_secs(secs)).to_string(), text);
        }
    }

    #[test]
    fn it_tells_who_started_it_and_when_it_is_due() {
        let now = SystemTime::now();
        let mut not_due = NotDue::new("nightly", now - Duration::from_secs(11_520));
        not_due.started_by = Some("pid 4711 (web-3)".to_owned());
        not_due.due_at = Some(now + Duration::from_secs(60_509));
        let text = r#""nightly" is not due: pid 4711 (web-3) started it 3h 12m ago and has not finished, and it is due in 16h 48m"#;
        assert_eq!(not_due.to_string(), text);
        not_due.finished_at = Some(now);
        not_due.started_by = None;
        let text = r#""nightly" is not due: it was started 3h 12m ago, and is due in 16h 48m"#;
        assert_eq!(not_due.to_string(), text);
    }
}

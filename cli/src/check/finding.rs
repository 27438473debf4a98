//! What was found, for people and for programs.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    /// It works, and there is something to know.
    Warn,
    Fail,
}

/// One thing that was checked. `cli/README.md` documents the JSON.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    check: &'static str,
    pub(super) status: Status,
    message: String,
    advice: Option<&'static str>,
}

impl Finding {
    fn new(check: &'static str, status: Status, message: impl Into<String>) -> Self {
        Self {
            check,
            status,
            message: message.into(),
            advice: None,
        }
    }

    pub(super) fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, message)
    }

    pub(super) fn warn(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Status::Warn, message)
    }

    pub(super) fn fail(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Status::Fail, message)
    }

    pub(super) fn advice(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }

    pub(super) fn text(&self) -> String {
        let status = match self.status {
            Status::Ok => "ok  ",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        let mut text = format!("{status}  {}: {}\n", self.check, self.message);
        if let Some(advice) = self.advice {
            text.extend(["      ", advice, "\n"]);
        }
        text
    }

    pub(super) fn json(&self) -> String {
        // Strings only, which cannot fail.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

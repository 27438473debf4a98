//! With which code the program ends, and what it says then.

use std::fmt;

/// Wrong usage: `EX_USAGE` of `sysexits.h`.
pub(crate) const USAGE: u8 = 64;
/// No server can be reached, or it is not fit: `EX_UNAVAILABLE`.
pub(crate) const NO_SERVER: u8 = 69;
/// Anything that should not happen, such as a statement that failed: `EX_SOFTWARE`.
pub(crate) const SOFTWARE: u8 = 70;
/// The lease was lost: `EX_IOERR`.
pub(crate) const LOST: u8 = 74;
/// The lock could not be taken: `EX_TEMPFAIL`.
pub(crate) const UNAVAILABLE: u8 = 75;
/// The server does not let this role in: `EX_NOPERM`.
pub(crate) const NOT_ALLOWED: u8 = 77;
/// A file of the configuration is missing or cannot be read: `EX_CONFIG`.
pub(crate) const CONFIG: u8 = 78;
/// The command cannot be executed, as shells say it.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// There is no such command, as shells say it.
pub(crate) const NOT_FOUND: u8 = 127;

/// Why the program ends without having done what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(CONFIG, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        diesel_advisory::Error::from(error).into()
    }
}

impl From<diesel_advisory::Error> for Failure {
    fn from(error: diesel_advisory::Error) -> Self {
        use diesel::result::{DatabaseErrorKind, Error as DieselError};
        use diesel_advisory::Error;

        let code = match &error {
            Error::Unavailable(_) | Error::NotDue(_) => UNAVAILABLE,
            Error::Lost(_) | Error::ShutDown | Error::NotHeld => LOST,
            Error::EmptyName | Error::Unsupported(_) => USAGE,
            Error::Standby
            | Error::SharedSession
            | Error::Database(DieselError::DatabaseError(
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                _,
            )) => NO_SERVER,
            _ => SOFTWARE,
        };
        let message = match &error {
            // It speaks of methods of the library.
            Error::Standby => String::from(
                "the server is a standby, whose advisory locks exclude nobody on the primary: connect to the \
                 primary (`target_session_attrs=read-write`)",
            ),
            Error::SharedSession => String::from(
                "the session is shared with other clients, so no lock can be held in it: there is a pooler in \
                 transaction mode in between. Connect directly, or through a pooler in session mode \
                 (`pg-advisory check` tells more)",
            ),
            _ => error.to_string(),
        };
        Self { code, message }
    }
}

/// Prints a line to standard error, in the program's name. A standard error that is closed is no reason to end.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "pg-advisory: {}", format_args!($($arg)*));
    }};
}
pub(crate) use say;

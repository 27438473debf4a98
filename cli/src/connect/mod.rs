//! From the command line and the environment to a session, as libpq's programs get it.

mod config;
pub(crate) mod conninfo;
mod files;
mod hosts;
mod open;
pub(crate) mod params;
mod settings;
mod tls;

pub(crate) use self::open::{Canceller, open};
pub(crate) use self::settings::Settings;

/// What begins the `application_name` of a session that holds or awaits a lock of this name.
const LABEL: &str = "pg-advisory ";

/// The `application_name` for a session of this lock.
pub(crate) fn label(name: &str) -> String {
    format!("{LABEL}{name}")
}

/// The name of the lock, of which a session's `application_name` tells. Anybody can call himself so.
pub(crate) fn name_in_label(application_name: &str) -> Option<&str> {
    application_name.strip_prefix(LABEL)
}

//! From the command line and the environment to a session, as libpq's programs get it.

pub(crate) mod conninfo;
mod files;
mod open;
pub(crate) mod params;
mod settings;
mod tls;

pub(crate) use self::open::open;
pub(crate) use self::settings::Settings;

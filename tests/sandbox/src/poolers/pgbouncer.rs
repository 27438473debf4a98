use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::poolers::{Plan, Pooler, find_program, folder_with};
use crate::programs::{fetched, numbers, output};
use crate::url::PORT;
use crate::{Error, Sandbox};

const PROGRAM: &str = "pgbouncer";

/// A [PgBouncer](https://www.pgbouncer.org) to be started in front of a server.
///
/// Its settings are its own defaults, so that sessions are pooled: transactions are with
/// `.setting("pool_mode", "transaction")`. Clients need no password, and all are `postgres`.
///
/// ```
/// use diesel_advisory_sandbox::{PgBouncer, Sandbox};
///
/// # fn main() -> Result<(), diesel_advisory_sandbox::Error> {
/// let server = Sandbox::start()?;
/// for pgbouncer in PgBouncer::each_version() {
///     let pooler = pgbouncer
///         .setting("pool_mode", "transaction")
///         .setting("default_pool_size", "3")
///         .in_front_of(&server)?;
///     assert!(postgres::Client::connect(pooler.url(), postgres::NoTls).is_ok());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "does nothing until it is put in front of a server"]
pub struct PgBouncer {
    program: PathBuf,
    version: (u32, u32),
    settings: Vec<(String, String)>,
}

impl PgBouncer {
    /// The one that is installed.
    ///
    /// # Errors
    ///
    /// If none is.
    pub fn installed() -> Result<Self, Error> {
        find_program(PROGRAM)
            .and_then(Self::of_program)
            .ok_or(Error::NoPooler { program: PROGRAM })
    }

    /// The one that is installed, and a newer one if `script/versions` has fetched it. Versions
    /// before 1.21 know no prepared statements in transaction mode.
    #[must_use]
    pub fn each_version() -> Vec<Self> {
        let newer = fetched("pgbouncer/bin/pgbouncer").and_then(Self::of_program);
        let mut found: Vec<_> = Self::installed().into_iter().chain(newer).collect();
        found.dedup_by_key(|pgbouncer| pgbouncer.version);
        found
    }

    fn of_program(program: PathBuf) -> Option<Self> {
        let text = output(&program, "--version")?;
        Some(Self {
            program,
            version: parse_version(&text)?,
            settings: Vec::new(),
        })
    }

    /// Its version: `(1, 18)`.
    #[must_use]
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Sets what a line of its section `[pgbouncer]` would set. The last of several lines wins.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Starts it in front of a server.
    ///
    /// # Errors
    ///
    /// If it does not start with these settings.
    pub fn in_front_of(&self, server: &Sandbox) -> Result<Pooler, Error> {
        const FILE: &str = "pgbouncer.ini";

        let folder = folder_with(FILE, |own| self.render(server.socket_folder(), own))?;
        let file = folder.path.join(FILE);
        Pooler::start(Plan {
            program: PROGRAM,
            // What the others mean has changed from version to version.
            signal: "KILL",
            folder,
            command: vec![self.program.as_os_str(), file.as_os_str()],
        })
    }

    fn render(&self, server: &Path, own: &Path) -> String {
        let mut file = format!(
            "[databases]\n\
             * = host={server} port={PORT} user=postgres\n\
             [pgbouncer]\n\
             unix_socket_dir = {own}\n\
             listen_port = {PORT}\n\
             auth_type = any\n",
            server = server.display(),
            own = own.display(),
        );
        for (name, value) in &self.settings {
            let _ = writeln!(file, "{name} = {value}");
        }
        file
    }
}

/// From `PgBouncer 1.18.0`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = numbers(text.lines().next()?);
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions() {
        let text = "PgBouncer 1.24.1\nlibevent 2.1.12-stable\n";
        assert_eq!(parse_version(text), Some((1, 24)));
        assert_eq!(parse_version("pgbouncer"), None);
    }
}

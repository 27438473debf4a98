use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::poolers::{Plan, Pooler, find_program, folder_with};
use crate::url::{PORT, socket_name};
use crate::{Error, Sandbox};

const PROGRAM: &str = "haproxy";

/// An [HAProxy](https://www.haproxy.org) to be started in front of servers: the first is used, and
/// the others in turn when it does not run.
#[derive(Debug, Clone)]
#[must_use = "does nothing until it is put in front of a server"]
pub struct HaProxy {
    program: PathBuf,
    settings: Vec<(String, String)>,
}

impl HaProxy {
    /// The one that is installed.
    ///
    /// # Errors
    ///
    /// If none is.
    pub fn installed() -> Result<Self, Error> {
        let program = find_program(PROGRAM).ok_or(Error::NoPooler { program: PROGRAM })?;
        Ok(Self {
            program,
            settings: Vec::new(),
        })
    }

    /// Sets what a line of its section `defaults` would set. The last of several lines wins.
    ///
    /// Where it ends connections on which nothing is said: `.setting("timeout client", "1s")`.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Starts it in front of servers.
    ///
    /// # Errors
    ///
    /// If it does not start with these settings.
    pub fn in_front_of(&self, server: &Sandbox, others: &[&Sandbox]) -> Result<Pooler, Error> {
        const FILE: &str = "haproxy.cfg";

        let servers: Vec<_> = [server].iter().chain(others).copied().collect();
        let folder = folder_with(FILE, |own| self.render(&servers, own))?;
        let file = folder.path.join(FILE);
        let command = [
            self.program.as_os_str(),
            "-db".as_ref(),
            "-f".as_ref(),
            file.as_os_str(),
        ];
        Pooler::start(Plan {
            program: PROGRAM,
            signal: "TERM",
            folder,
            command: command.to_vec(),
        })
    }

    fn render(&self, servers: &[&Sandbox], own: &Path) -> String {
        let mut file = String::from(
            "defaults\n\
             mode tcp\n\
             timeout connect 5s\n\
             timeout client 1h\n\
             timeout server 1h\n",
        );
        for (name, value) in &self.settings {
            let _ = writeln!(file, "{name} {value}");
        }
        let socket = socket_name(PORT);
        let _ = write!(
            file,
            "listen postgres\n\
             bind unix@{own}/{socket} mode 666\n\
             default-server check inter 100ms fall 1 rise 1 on-marked-down shutdown-sessions\n",
            own = own.display()
        );
        for (number, server) in servers.iter().enumerate() {
            let folder = server.socket_folder().display();
            let backup = if number == 0 { "" } else { " backup" };
            let _ = writeln!(file, "server s{number} unix@{folder}/{socket}{backup}");
        }
        file
    }
}

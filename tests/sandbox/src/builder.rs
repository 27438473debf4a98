use std::fmt::Write;

use crate::folder::Folder;
use crate::programs::Programs;
use crate::supervisor::Supervisor;
use crate::url::PORT;
use crate::{Error, Proxy, Sandbox, template};

/// Which server a [`Sandbox`] is, and the settings that it starts with.
#[derive(Debug, Default)]
#[must_use = "does nothing until it is started"]
pub struct Builder {
    settings: Vec<(String, String)>,
    choice: Choice,
    /// How a standby connects to its primary.
    primary: Option<String>,
}

/// Which programs.
#[derive(Debug, Default)]
enum Choice {
    #[default]
    Found,
    Version(u32),
    Same(Programs),
}

impl Builder {
    pub(crate) fn standby(programs: Programs, primary: String) -> Self {
        Self {
            settings: Vec::new(),
            choice: Choice::Same(programs),
            primary: Some(primary),
        }
    }

    /// Sets what a line of `postgresql.conf` would set. The last of several lines wins.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Starts the server of this major version, whatever `DIESEL_ADVISORY_PG_BIN` says.
    ///
    /// It is looked for in the folder that `script/versions` made, if `DIESEL_ADVISORY_VERSIONS`
    /// names it, and then where servers get installed.
    pub fn version(mut self, major_version: u32) -> Self {
        self.choice = Choice::Version(major_version);
        self
    }

    /// Has a standby reach its primary through a proxy of the primary's, so that the network
    /// between them can fail. Nothing changes for other servers.
    pub fn through(mut self, proxy: &Proxy) -> Self {
        if let Some(primary) = &mut self.primary {
            proxy.conninfo().clone_into(primary);
        }
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    ///
    /// If PostgreSQL is not installed, or it cannot be started with these settings.
    pub fn start(self) -> Result<Sandbox, Error> {
        let programs = match &self.choice {
            Choice::Found => Programs::find(),
            Choice::Version(major_version) => Programs::of_version(*major_version),
            Choice::Same(programs) => Ok(programs.clone()),
        }?;
        let make = match &self.primary {
            Some(primary) => format!("follow {primary}"),
            None => format!("create {}", template::data(&programs)?.display()),
        };
        let folder = Folder::create()?;
        let mut supervisor = Supervisor::of_server(&programs, &folder, &self.render(&folder))?;
        for order in [&make, "start"] {
            supervisor.carry_out(order, &folder)?;
        }
        Ok(Sandbox::new(supervisor, folder, programs))
    }

    fn render(&self, folder: &Folder) -> String {
        let socket_folder = folder.path.to_string_lossy();
        let port = PORT.to_string();
        let ours = [
            ("listen_addresses", ""),
            ("unix_socket_directories", &*socket_folder),
            ("port", &*port),
            ("max_connections", "200"),
            // A crash of the machine is nothing that has to be survived.
            ("fsync", "off"),
            // Commits stay synchronous: that costs little then, and a crash loses none of them.
            ("full_page_writes", "off"),
            // In the data folder, so that not even a killed server leaves any behind.
            ("dynamic_shared_memory_type", "mmap"),
            // For standbys that do not come back.
            ("max_slot_wal_keep_size", "1GB"),
        ];
        let theirs = self
            .settings
            .iter()
            .map(|(name, value)| (&**name, &**value));
        ours.into_iter()
            .chain(theirs)
            .fold(String::new(), |mut file, (name, value)| {
                let value = value.replace('\\', r"\\").replace('\'', "''");
                let _ = writeln!(file, "{name} = '{value}'");
                file
            })
    }
}

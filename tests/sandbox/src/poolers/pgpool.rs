use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::poolers::{Plan, Pooler, find_program, folder_with};
use crate::url::PORT;
use crate::{Error, Sandbox};

const PROGRAM: &str = "pgpool";

/// A [pgpool-II](https://www.pgpool.net) to be started in front of a primary and its standbys.
///
/// Its settings are its own defaults but for one: the primary has no share of the load that can be
/// balanced, so that all that it believes to be reads goes to the standbys. Give it one with
/// `.setting("backend_weight0", "1")`.
#[derive(Debug, Clone)]
#[must_use = "does nothing until it is put in front of a server"]
pub struct Pgpool {
    program: PathBuf,
    settings: Vec<(String, String)>,
}

impl Pgpool {
    /// Names and settings of configurations, from the defaults to the worst that people run.
    pub const CONFIGURATIONS: [(&'static str, &'static [(&'static str, &'static str)]); 5] = [
        ("defaults", &[]),
        ("write functions", &[WRITE_FUNCTIONS]),
        (
            "each statement balanced",
            &[("statement_level_load_balance", "on")],
        ),
        (
            "comments ignored, writes forgotten",
            &[
                ("allow_sql_comments", "on"),
                ("disable_load_balance_on_write", "off"),
            ],
        ),
        (
            "the worst",
            &[
                WRITE_FUNCTIONS,
                ("statement_level_load_balance", "on"),
                ("allow_sql_comments", "on"),
                ("disable_load_balance_on_write", "off"),
            ],
        ),
    ];

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

    /// Sets what a line of `pgpool.conf` would set. The last of several lines wins.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Sets several, such as those of one of the [`Self::CONFIGURATIONS`].
    pub fn settings(self, settings: &[(&str, &str)]) -> Self {
        settings
            .iter()
            .fold(self, |pgpool, &(name, value)| pgpool.setting(name, value))
    }

    /// Starts it in front of a primary and its standbys.
    ///
    /// # Errors
    ///
    /// If it does not start with these settings.
    pub fn in_front_of(&self, primary: &Sandbox, standbys: &[&Sandbox]) -> Result<Pooler, Error> {
        const FILE: &str = "pgpool.conf";

        let servers: Vec<_> = [primary].iter().chain(standbys).copied().collect();
        let folder = folder_with(FILE, |own| self.render(&servers, own))?;
        let file = folder.path.join(FILE);
        let command = [
            self.program.as_os_str(),
            "-n".as_ref(),
            "-f".as_ref(),
            file.as_os_str(),
        ];
        Pooler::start(Plan {
            program: PROGRAM,
            // It has to free what it shares between its processes.
            signal: "INT",
            folder,
            command: command.to_vec(),
        })
    }

    fn render(&self, servers: &[&Sandbox], own: &Path) -> String {
        let own = own.display();
        let mut file = format!(
            "backend_clustering_mode = 'streaming_replication'\n\
             listen_addresses = ''\n\
             port = {PORT}\n\
             socket_dir = '{own}'\n\
             pcp_listen_addresses = ''\n\
             pcp_socket_dir = '{own}'\n\
             wd_ipc_socket_dir = '{own}'\n\
             pid_file_name = '{own}/pgpool.pid'\n\
             logdir = '{own}'\n\
             pool_passwd = ''\n\
             sr_check_user = 'postgres'\n"
        );
        for (number, server) in servers.iter().enumerate() {
            let folder = server.socket_folder().display();
            let weight = usize::from(number != 0);
            let _ = write!(
                file,
                "backend_hostname{number} = '{folder}'\n\
                 backend_port{number} = {PORT}\n\
                 backend_weight{number} = {weight}\n"
            );
        }
        for (name, value) in &self.settings {
            let _ = writeln!(file, "{name} = '{value}'");
        }
        file
    }
}

/// Many older configurations have this: every other function is taken for a read.
const WRITE_FUNCTIONS: (&str, &str) = ("write_function_list", "currval,lastval,nextval,setval");

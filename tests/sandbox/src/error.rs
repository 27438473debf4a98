use std::io;
use std::path::PathBuf;

/// Why there is no server, or why it did not do as told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No PostgreSQL server is installed where one is looked for.
    #[error(
        "no PostgreSQL server found: install one (`apt-get install postgresql` or \
         `brew install postgresql`), or set DIESEL_ADVISORY_PG_BIN to the folder that holds its \
         initdb, postgres and pg_ctl"
    )]
    NotInstalled,

    /// `DIESEL_ADVISORY_PG_BIN` is set, but not to a folder of server programs.
    #[error(
        "DIESEL_ADVISORY_PG_BIN is {}, where initdb, postgres and pg_ctl cannot be run",
        folder.display()
    )]
    NotAServer {
        /// What the variable says.
        folder: PathBuf,
    },

    /// PostgreSQL is not there in the version that was asked for.
    #[error(
        "no PostgreSQL {major_version} found: install it, or run `script/versions` and set \
         DIESEL_ADVISORY_VERSIONS to the folder that it prints"
    )]
    NoSuchVersion {
        /// Its major version.
        major_version: u32,
    },

    /// A pooler is not installed.
    #[error("no {program} found: install it (`script/setup --full` does)")]
    NoPooler {
        /// Its program.
        program: &'static str,
    },

    /// The process is root's, PostgreSQL refuses to run as root, and there is nobody else.
    #[error(
        "PostgreSQL refuses to run as root, and /etc/passwd has neither `postgres` nor `nobody`"
    )]
    NoServerUser,

    /// The operating system refused something.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried, as a verb.
        action: &'static str,
        /// What it said.
        source: io::Error,
    },

    /// A pooler did not start.
    #[error("{program} did not start; its log ends with:\n{log}")]
    Pooler {
        /// Its program.
        program: &'static str,
        /// The last lines of its log.
        log: String,
    },

    /// The server did not do as told.
    #[error("the throwaway PostgreSQL failed to {order}; its log ends with:\n{log}")]
    Server {
        /// What it was told, as a verb.
        order: String,
        /// The last lines of its log.
        log: String,
    },
}

impl Error {
    pub(crate) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}

//! What stands between clients and servers in production, in front of throwaway servers.

mod haproxy;
mod pgbouncer;
mod pgpool;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::folder::Folder;
use crate::frontend;
use crate::listener::Listener;
use crate::programs::folders_of_path;
use crate::supervisor::Supervisor;
use crate::url::{PORT, socket_name, socket_url};
use crate::{Error, Proxy};

pub use haproxy::HaProxy;
pub use pgbouncer::PgBouncer;
pub use pgpool::Pgpool;

/// A [`PgBouncer`], [`Pgpool`] or [`HaProxy`] that runs, and is gone when this is dropped.
///
/// It is not reloaded: for another configuration, drop it and start another.
#[derive(Debug)]
pub struct Pooler {
    program: &'static str,
    supervisor: Mutex<Supervisor>,
    folder: Folder,
    url: String,
    proxies: AtomicUsize,
}

impl Pooler {
    /// Where to connect, as superuser `postgres` to the database `postgres`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the pooler at once. Its clients are disconnected. Nothing happens if it does not run.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn stop(&self) -> Result<(), Error> {
        self.order("stop")
    }

    /// Starts the pooler again, after [`Self::stop`]. Nothing happens if it runs.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start_again(&self) -> Result<(), Error> {
        const PATIENCE: Duration = Duration::from_secs(30);

        self.order("start")?;
        let deadline = Instant::now() + PATIENCE;
        while !frontend::can_connect(&self.socket()) {
            self.order("runs")?;
            if Instant::now() > deadline {
                return Err(self.failed());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Puts a proxy between clients and the pooler.
    ///
    /// # Panics
    ///
    /// If its socket cannot be created.
    #[must_use]
    pub fn proxy(&self) -> Proxy {
        let number = self.proxies.fetch_add(1, Ordering::Relaxed);
        self.folder
            .create_subfolder(&format!("proxy-{number}"))
            .and_then(Listener::unix)
            .and_then(|listener| Proxy::start(listener, self.socket()))
            .unwrap_or_else(|error| panic!("cannot put a proxy in front of a pooler: {error}"))
    }

    fn start(plan: Plan<'_>) -> Result<Self, Error> {
        let Plan {
            program,
            signal,
            folder,
            command,
        } = plan;
        let arguments: Vec<_> = [OsStr::new(signal)].into_iter().chain(command).collect();
        let supervisor = Supervisor::spawn(include_str!("pooler.sh"), &folder, &arguments)
            .map_err(|source| {
                // Nobody else is there to do it.
                let _ = fs::remove_dir_all(&folder.path);
                Error::System {
                    action: "run a pooler",
                    source,
                }
            })?;
        let pooler = Self {
            program,
            supervisor: Mutex::new(supervisor),
            url: socket_url(&folder.path, PORT, "postgres", "postgres"),
            folder,
            proxies: AtomicUsize::new(0),
        };
        pooler.start_again()?;
        Ok(pooler)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path.join(socket_name(PORT))
    }

    fn order(&self, order: &str) -> Result<(), Error> {
        let mut supervisor = self
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match supervisor.order(order) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(self.failed()),
        }
    }

    fn failed(&self) -> Error {
        Error::Pooler {
            program: self.program,
            log: self.folder.log_tail(),
        }
    }
}

/// What it takes to start a [`Pooler`], once its folder is made.
struct Plan<'a> {
    program: &'static str,
    /// Ends it at once.
    signal: &'static str,
    folder: Folder,
    command: Vec<&'a OsStr>,
}

/// Makes a folder with one file in it: the configuration, which needs to know the folder.
fn folder_with(name: &str, render: impl FnOnce(&Path) -> String) -> Result<Folder, Error> {
    let folder = Folder::create()?;
    let written = folder.write(name, &render(&folder.path));
    written.map_err(|source: io::Error| {
        let _ = fs::remove_dir_all(&folder.path);
        Error::System {
            action: "write a pooler's configuration",
            source,
        }
    })?;
    Ok(folder)
}

/// Where packages install servers is not in everybody's `PATH`.
fn find_program(name: &str) -> Option<PathBuf> {
    folders_of_path()
        .into_iter()
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

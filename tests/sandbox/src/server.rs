use std::fmt::Write;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::folder::Folder;
use crate::listener::Listener;
use crate::programs::Programs;
use crate::supervisor::Supervisor;
use crate::url::{PORT, socket_name, socket_url};
use crate::{Error, Proxy};

/// A PostgreSQL server of one's own, which is gone when this is dropped.
///
/// It trusts everyone who can reach its folder, and would not survive a crash of the machine.
#[derive(Debug)]
pub struct Sandbox {
    supervisor: Mutex<Supervisor>,
    folder: Folder,
    url: String,
    version: u32,
    proxies: AtomicUsize,
}

impl Sandbox {
    /// Starts a server.
    ///
    /// # Errors
    ///
    /// If no PostgreSQL is installed, or it cannot be started.
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// Starts a server with settings of one's own.
    ///
    /// ```
    /// # fn main() -> Result<(), diesel_advisory_sandbox::Error> {
    /// use diesel_advisory_sandbox::Sandbox;
    ///
    /// let sandbox = Sandbox::builder()
    ///     .setting("deadlock_timeout", "50ms")
    ///     .start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The server that everything in this process can share, started by the first call.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Sandbox> = OnceLock::new();

        SHARED.get_or_init(|| Self::start().unwrap_or_else(|error| panic!("{error}")))
    }

    /// Where to connect, as superuser `postgres` to the database `postgres`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where to connect as another user or to another database.
    #[must_use]
    pub fn url_as(&self, user: &str, database: &str) -> String {
        socket_url(&self.folder.path, PORT, user, database)
    }

    /// The server's major version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Ends the backend with this process id, as `pg_terminate_backend` does, and waits until it
    /// is gone.
    ///
    /// # Errors
    ///
    /// If this server has no such backend.
    pub fn kill_backend(&self, pid: i32) -> Result<(), Error> {
        self.order(&format!("kill_backend {pid}"))
    }

    /// Takes the server away as a power cut would: every process of it is killed, clients get no
    /// word of farewell, and the next start has to recover what was committed. Nothing happens if
    /// it does not run.
    ///
    /// # Errors
    ///
    /// If one of its processes cannot be killed.
    pub fn crash(&self) -> Result<(), Error> {
        self.order("crash")
    }

    /// Stops the server in order; clients are disconnected. Nothing happens if it does not run.
    ///
    /// # Errors
    ///
    /// If it does not stop.
    pub fn stop(&self) -> Result<(), Error> {
        self.order("stop")
    }

    /// Starts the server, with the data it had, after [`Self::stop`] or [`Self::crash`]. Nothing
    /// happens if it runs.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start_again(&self) -> Result<(), Error> {
        self.order("start")
    }

    /// [`Self::stop`], then [`Self::start_again`].
    ///
    /// # Errors
    ///
    /// If either fails.
    pub fn restart(&self) -> Result<(), Error> {
        self.stop()?;
        self.start_again()
    }

    /// Puts a proxy in front of the server, for the connections that are made to its own URL.
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
            .and_then(|listener| Proxy::start(listener, self.folder.path.join(socket_name(PORT))))
            .unwrap_or_else(|error| panic!("cannot put a proxy in front of PostgreSQL: {error}"))
    }

    /// Puts a proxy in front of the server that listens on a TCP port of this machine.
    ///
    /// # Panics
    ///
    /// If there is no such port.
    #[must_use]
    pub fn tcp_proxy(&self) -> Proxy {
        Listener::tcp()
            .and_then(|listener| Proxy::start(listener, self.folder.path.join(socket_name(PORT))))
            .unwrap_or_else(|error| panic!("cannot put a proxy in front of PostgreSQL: {error}"))
    }

    fn order(&self, order: &str) -> Result<(), Error> {
        let mut supervisor = self
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        carry_out(&mut supervisor, order, &self.folder)
    }
}

fn carry_out(supervisor: &mut Supervisor, order: &str, folder: &Folder) -> Result<(), Error> {
    // A supervisor that is gone was killed by someone; the log is still the best there is to tell.
    match supervisor.order(order) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Error::Server {
            order: order.replace('_', " "),
            log: folder.log_tail(),
        }),
    }
}

/// Settings for a [`Sandbox`] to start with.
#[derive(Debug, Default)]
#[must_use = "does nothing until it is started"]
pub struct Builder {
    settings: Vec<(String, String)>,
}

impl Builder {
    /// Sets what a line of `postgresql.conf` would set. The last of several lines wins.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    ///
    /// If no PostgreSQL is installed, or it cannot be started with these settings.
    pub fn start(self) -> Result<Sandbox, Error> {
        let programs = Programs::find()?;
        let folder = Folder::create()?;
        let spawned = folder
            .write("settings", &self.render(&folder))
            .and_then(|()| Supervisor::spawn(&programs.folder, &folder));
        let mut supervisor = spawned.map_err(|source| {
            // Nobody else is there to do it.
            let _ = fs::remove_dir_all(&folder.path);
            Error::System {
                action: "run PostgreSQL",
                source,
            }
        })?;
        for order in ["create", "start"] {
            carry_out(&mut supervisor, order, &folder)?;
        }
        Ok(Sandbox {
            supervisor: Mutex::new(supervisor),
            url: socket_url(&folder.path, PORT, "postgres", "postgres"),
            folder,
            version: programs.major_version,
            proxies: AtomicUsize::new(0),
        })
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

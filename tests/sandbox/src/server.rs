use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::folder::Folder;
use crate::listener::Listener;
use crate::programs::Programs;
use crate::supervisor::Supervisor;
use crate::url::{PORT, conninfo, socket_name, socket_url};
use crate::{Builder, Error, Proxy};

/// A PostgreSQL server of one's own, which is gone when this is dropped.
///
/// It trusts everyone who can reach its folder, and would not survive a crash of the machine.
#[derive(Debug)]
pub struct Sandbox {
    supervisor: Mutex<Supervisor>,
    folder: Folder,
    url: String,
    programs: Programs,
    proxies: AtomicUsize,
}

impl Sandbox {
    pub(crate) fn new(supervisor: Supervisor, folder: Folder, programs: Programs) -> Self {
        Self {
            supervisor: Mutex::new(supervisor),
            url: socket_url(&folder.path, PORT, "postgres", "postgres"),
            folder,
            programs,
            proxies: AtomicUsize::new(0),
        }
    }

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

    /// What the server has written to its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.folder.log()
    }

    /// The server's major version.
    pub fn version(&self) -> u32 {
        self.programs.major_version
    }

    /// Describes a hot standby of this server, of the same version and with the settings that this
    /// one was started with, unless it gets others. It begins with all that was committed here, and
    /// follows until it is promoted.
    ///
    /// ```
    /// # fn main() -> Result<(), diesel_advisory_sandbox::Error> {
    /// use diesel_advisory_sandbox::Sandbox;
    ///
    /// let primary = Sandbox::start()?;
    /// let standby = primary
    ///     .standby()
    ///     .setting("recovery_min_apply_delay", "30ms")
    ///     .start()?;
    /// standby.promote()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn standby(&self) -> Builder {
        let primary = conninfo(&self.folder.path.to_string_lossy(), PORT);
        Builder::standby(self.programs.clone(), primary)
    }

    /// Makes a standby a primary of its own. Returns when it accepts writes.
    ///
    /// # Errors
    ///
    /// If it is no standby, or does not become a primary.
    pub fn promote(&self) -> Result<(), Error> {
        self.order("promote")
    }

    /// Moves the data to a newer major version with `pg_upgrade`, and starts that. Clients are
    /// disconnected.
    ///
    /// # Errors
    ///
    /// If that version is not there (see [`Builder::version`]), or it fails.
    pub fn upgrade(&mut self, major_version: u32) -> Result<(), Error> {
        let programs = Programs::of_version(major_version)?;
        self.order(&format!("upgrade {}", programs.folder.display()))?;
        self.programs = programs;
        self.start_again()
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

    /// Kills the backend with this process id, as the system does when it is out of memory, and
    /// waits until it is gone. The server then disconnects all others, and recovers.
    ///
    /// # Errors
    ///
    /// If this server has no such backend.
    pub fn crash_backend(&self, pid: i32) -> Result<(), Error> {
        self.order(&format!("crash_backend {pid}"))
    }

    /// Stops the backend with this process id in the middle of whatever it does, as `SIGSTOP` does,
    /// until what is returned is dropped.
    ///
    /// # Errors
    ///
    /// If this server has no such backend.
    pub fn freeze_backend(&self, pid: i32) -> Result<FrozenBackend<'_>, Error> {
        self.order(&format!("freeze_backend {pid}"))?;
        Ok(FrozenBackend { sandbox: self, pid })
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

    /// Stops the server at once, as `pg_ctl stop -m immediate` does: the next start has to recover.
    /// Nothing happens if it does not run.
    ///
    /// # Errors
    ///
    /// If it does not stop.
    pub fn stop_immediately(&self) -> Result<(), Error> {
        self.order("stop immediate")
    }

    /// Starts the server, with the data it had, after [`Self::stop`], [`Self::stop_immediately`] or
    /// [`Self::crash`]. Nothing
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
            .and_then(|listener| Proxy::start(listener, self.socket()))
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
            .and_then(|listener| Proxy::start(listener, self.socket()))
            .unwrap_or_else(|error| panic!("cannot put a proxy in front of PostgreSQL: {error}"))
    }

    /// The folder of its socket.
    pub(crate) fn socket_folder(&self) -> &Path {
        &self.folder.path
    }

    fn socket(&self) -> PathBuf {
        self.folder.path.join(socket_name(PORT))
    }

    fn order(&self, order: &str) -> Result<(), Error> {
        let mut supervisor = self
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        supervisor.carry_out(order, &self.folder)
    }
}

/// A backend that does nothing until this is dropped. See [`Sandbox::freeze_backend`].
#[derive(Debug)]
#[must_use = "the backend goes on when this is dropped"]
pub struct FrozenBackend<'a> {
    sandbox: &'a Sandbox,
    pid: i32,
}

impl Drop for FrozenBackend<'_> {
    fn drop(&mut self) {
        // It can have been killed meanwhile.
        let _ = self.sandbox.order(&format!("thaw_backend {}", self.pid));
    }
}

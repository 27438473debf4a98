//! A real PgBouncer.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use diesel::prelude::*;
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

/// How many sessions the pooler has with the server.
const SESSIONS: usize = 3;

/// Which of the free sessions has its turn: the one that was used last, or the one before all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    MostRecent,
    LeastRecent,
}

/// A real pgbouncer in front of a server of its own.
pub(crate) struct Pooler {
    process: Child,
    url: String,
    pub(crate) server: Sandbox,
}

impl Pooler {
    /// `None` if pgbouncer is not installed, which is an error in a full run only.
    pub(crate) fn start(turn: Turn) -> Option<Self> {
        let Some(program) = find_program() else {
            skip("pgbouncer is not installed");
            return None;
        };
        let server = Sandbox::start().unwrap();
        let sockets = sockets_of(&server);
        let user = fs::metadata(&sockets).unwrap().uid();
        let folder = PathBuf::from(unique(&format!("/tmp/dapg-pooler-{}", std::process::id())));
        DirBuilder::new().mode(0o755).create(&folder).unwrap();
        let ini = folder.join("pgbouncer.ini");
        fs::write(&ini, settings(&sockets, &folder, turn)).unwrap();
        chown(&folder, Some(user), None).unwrap();

        // However this process ends, its end of the pipe closes, and then pooler and folder go.
        let script = r#""$@" & pooler=$!; read -r _; kill $pooler; wait $pooler; rm -r "$0""#;
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(&folder)
            .arg(program)
            .arg("-q");
        if let Some(name) = name_for_root(user) {
            // It refuses to run as root.
            command.args(["-u", &name]);
        }
        command.arg(&ini).stdin(Stdio::piped());
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let host = folder.to_string_lossy().replace('/', "%2F");
        let url = format!("postgres://postgres@/postgres?host={host}&port=6432");
        wait_until("the pooler runs", || PgConnection::establish(&url).is_ok());
        Some(Self {
            process,
            url,
            server,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn connect(&self) -> PgConnection {
        connect_to(&self.url)
    }

    /// Asserts that none of its sessions holds a lock, or has another timeout than before.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let mut observer = connect_to(self.server.url());
        let held = "SELECT count(*)::int AS value FROM pg_locks WHERE locktype = 'advisory'";
        assert_eq!(integer(&mut observer, held), 0);

        // All at once, so that each is another one.
        let mut conns = [(); SESSIONS].map(|()| self.connect());
        for conn in &mut conns {
            execute(conn, "BEGIN");
        }
        let mut pids = conns.each_mut().map(pid).to_vec();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), SESSIONS);
        for conn in &mut conns {
            assert_eq!(lock_timeout(conn), "0");
            execute(conn, "ROLLBACK");
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Where packages install it is not in everybody's `PATH`.
fn find_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.is_file())
}

fn sockets_of(server: &Sandbox) -> PathBuf {
    let sql = "SELECT current_setting('unix_socket_directories') AS value";
    PathBuf::from(text(&mut connect_to(server.url()), sql))
}

fn settings(server: &Path, own: &Path, turn: Turn) -> String {
    let (server, own) = (server.display(), own.display());
    format!(
        "[databases]\n\
         postgres = host={server} port=5432 user=postgres\n\
         [pgbouncer]\n\
         unix_socket_dir = {own}\n\
         listen_port = 6432\n\
         auth_type = any\n\
         pool_mode = transaction\n\
         default_pool_size = {SESSIONS}\n\
         server_round_robin = {}\n",
        i32::from(turn == Turn::LeastRecent)
    )
}

/// The name of the user, if this process runs as root.
fn name_for_root(user: u32) -> Option<String> {
    let is_root = fs::metadata("/proc/self").map(|own| own.uid()).ok()? == 0;
    let users = fs::read_to_string("/etc/passwd").ok().filter(|_| is_root)?;
    users.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(user)).then(|| fields[0].to_owned())
    })
}

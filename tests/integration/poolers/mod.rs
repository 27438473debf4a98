//! Behind a connection pooler in transaction mode, which gives each transaction whatever session is free.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

/// How many sessions the pooler has with the server.
const SESSIONS: usize = 3;

/// Which of the free sessions has its turn: the one that was used last, or the one before all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    MostRecent,
    LeastRecent,
}

/// A real pgbouncer in front of a server of its own.
struct Pooler {
    process: Child,
    url: String,
    server: Sandbox,
}

impl Pooler {
    /// `None` if pgbouncer is not installed, which is an error in a full run only.
    fn start(turn: Turn) -> Option<Self> {
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

    fn connect(&self) -> PgConnection {
        connect_to(&self.url)
    }

    /// Asserts that none of its sessions holds a lock, or has another timeout than before.
    #[track_caller]
    fn assert_clean(&self) {
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

#[test]
fn a_session_lock_that_was_switched_away_is_told() {
    let Some(pooler) = Pooler::start(Turn::MostRecent) else {
        return;
    };
    let (mut conn, mut other) = (pooler.connect(), pooler.connect());
    for wait in Wait::ALL {
        let name = unique("poolers.switched");
        let mut held = wait.on(conn.advisory_session(&name)).acquire().unwrap();
        assert!(held.is_held().unwrap());
        let is_lock = is_lock(name.clone());
        let holders = format!("SELECT pid AS value FROM pg_locks WHERE {is_lock}");
        let session = integer(&mut connect_to(pooler.server.url()), &holders);
        // Another client gets the session that has the lock, and keeps it for a while.
        other
            .transaction(|other| {
                assert_eq!(
                    pid(other),
                    session,
                    "the pooler gives the session used last"
                );
                assert!(!held.is_held()?);
                let released = held.release();
                assert!(matches!(released, Err(Error::NotHeld)), "{released:?}");
                // So nobody has the lock, and nobody gets it, until that session ends.
                execute(other, "SELECT pg_advisory_unlock_all()");
                Ok::<_, Error>(())
            })
            .unwrap();
    }
    pooler.assert_clean();
}

#[test]
fn a_run_that_was_switched_away_is_told() {
    let Some(pooler) = Pooler::start(Turn::MostRecent) else {
        return;
    };
    let (mut conn, mut other) = (pooler.connect(), pooler.connect());
    let ran = conn.advisory_session("x").run(|_| {
        execute(&mut other, "BEGIN; SELECT 1");
        Ok(())
    });
    assert!(matches!(ran, Err(Error::NotHeld)), "{ran:?}");
}

/// Lets many clients add one to a row, which only a lock makes right.
fn count_up(pooler: &Pooler, add: impl Fn(&mut PgConnection, Wait, usize) -> usize + Sync) {
    const CLIENTS: usize = 6;
    const ROUNDS: usize = 20;

    let mut conn = pooler.connect();
    execute(&mut conn, "CREATE TABLE counter AS SELECT 0 AS value");
    let added: usize = std::thread::scope(|scope| {
        let clients = [(); CLIENTS].map(|()| {
            scope.spawn(|| {
                let mut conn = pooler.connect();
                let waits = [
                    Wait::Inherit,
                    Wait::AtMost(PATIENCE),
                    Wait::Forever,
                    Wait::No,
                ];
                let waits = waits
                    .into_iter()
                    .chain([Wait::AtMost(Duration::from_millis(2))]);
                let rounds = waits.cycle().take(ROUNDS).enumerate();
                rounds
                    .map(|(round, wait)| add(&mut conn, wait, round))
                    .sum::<usize>()
            })
        });
        clients.map(|client| client.join().unwrap()).iter().sum()
    });
    assert_ne!(added, 0);
    let counted = integer(&mut conn, "SELECT value FROM counter");
    assert_eq!(usize::try_from(counted), Ok(added));
    pooler.assert_clean();
}

/// Reads first, so that one who was not excluded would overwrite what another has added.
fn add_one(conn: &mut PgConnection) -> QueryResult<usize> {
    let value = integer(conn, "SELECT value FROM counter");
    diesel::sql_query(format!("UPDATE counter SET value = {value} + 1")).execute(conn)
}

#[test]
fn own_transactions_work() {
    let Some(pooler) = Pooler::start(Turn::MostRecent) else {
        return;
    };
    count_up(&pooler, |conn, wait, round| {
        let lock = wait.on(conn.advisory("counter"));
        let lock = match round % 4 {
            0 => lock,
            1 => lock.read_committed(),
            2 => lock.repeatable_read(),
            _ => lock.serializable(),
        };
        lock.try_run(add_one).unwrap().unwrap_or(0)
    });
}

#[test]
fn open_transactions_work() {
    let Some(pooler) = Pooler::start(Turn::MostRecent) else {
        return;
    };
    count_up(&pooler, |conn, wait, _| {
        let added = conn.transaction(|conn| {
            let lock = wait.on(conn.advisory_xact("counter").and("another"));
            let held = lock.try_acquire()?;
            Ok::<_, Error>(if held { add_one(conn)? } else { 0 })
        });
        added.unwrap()
    });
}

/// An isolated transaction has the lock as one of the session until it has its snapshot. If it fails
/// before that, the session must not go back to the pooler with the lock.
#[test]
fn own_transactions_that_fail_leave_nothing_in_the_pooler() {
    let Some(pooler) = Pooler::start(Turn::LeastRecent) else {
        return;
    };
    // Opens all of its sessions, so that it has others to choose from.
    pooler.assert_clean();
    let mut observer = connect_to(pooler.server.url());
    let mut writer = connect_to(pooler.server.url());
    execute(&mut writer, "CREATE TABLE written ()");
    let mut holder = connect_to(pooler.server.url());
    let held = holder.advisory_session("x").acquire().unwrap();

    let mut conn = pooler.connect();
    std::thread::scope(|scope| {
        let run = scope.spawn(move || {
            let lock = conn.advisory("x").serializable().read_only().deferrable();
            lock.run(|_| Ok::<_, Error>(())).unwrap_err()
        });
        let queued = "SELECT count(*)::int AS value FROM pg_locks WHERE NOT granted";
        wait_until("the lock is waited for", || {
            integer(&mut observer, queued) == 1
        });
        // From now on nobody has a safe snapshot, because this one may still write.
        execute(
            &mut writer,
            "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM written",
        );
        held.release().unwrap();
        let bridged = "SELECT count(*)::int AS value FROM pg_stat_activity \
                       JOIN pg_locks USING (pid) \
                       WHERE wait_event = 'SafeSnapshot' AND locktype = 'advisory'";
        wait_until("the session has the lock", || {
            integer(&mut observer, bridged) >= 1
        });
        let cancel = "SELECT count(pg_cancel_backend(pid))::int AS value FROM pg_stat_activity \
                      WHERE wait_event = 'SafeSnapshot'";
        assert_eq!(integer(&mut observer, cancel), 1);
        let error = run.join().unwrap();
        assert!(matches!(error, Error::Database(_)), "{error:?}");
    });
    pooler.assert_clean();
}

//! PgBouncer in transaction mode.

use diesel::prelude::*;
use diesel_advisory_sandbox::{self as sandbox, PgBouncer, Sandbox};

use crate::support::*;

/// How many sessions the pooler has with the server.
const SESSIONS: usize = 3;

/// Which of the free sessions has its turn: the one that was used last, or the one before all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    MostRecent,
    LeastRecent,
}

/// A pooler in front of a server of its own.
pub(crate) struct Pooler {
    // It goes first.
    front: sandbox::Pooler,
    pub(crate) server: Sandbox,
    /// Whether clients may prepare queries.
    pub(crate) prepares: bool,
}

impl Pooler {
    /// One of each version that there is. That none is installed is an error in a full run only.
    pub(crate) fn of_each_version(turn: Turn) -> impl Iterator<Item = Self> {
        let versions = PgBouncer::each_version();
        if versions.is_empty() {
            skip("pgbouncer is not installed");
        }
        versions.into_iter().map(move |version| {
            let server = Sandbox::start().unwrap();
            let in_turn = turn == Turn::LeastRecent;
            let prepares = version.version() >= (1, 21);
            let version = if prepares {
                version.setting("max_prepared_statements", "100")
            } else {
                version
            };
            let front = version
                .setting("pool_mode", "transaction")
                .setting("default_pool_size", SESSIONS.to_string())
                .setting("server_round_robin", i32::from(in_turn).to_string())
                .in_front_of(&server)
                .unwrap();
            Self {
                front,
                server,
                prepares,
            }
        })
    }

    pub(crate) fn url(&self) -> &str {
        self.front.url()
    }

    pub(crate) fn connect(&self) -> PgConnection {
        connect_to(self.url())
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

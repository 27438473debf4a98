//! The faults.

use diesel::prelude::*;
use diesel_advisory_sandbox::{Direction, Proxy};

use super::Fault;
use super::stage::Stage;
use crate::support::*;

/// How long what is limited may take, in milliseconds.
const LIMIT: u32 = 1000;

/// What lasts until the client has ended.
#[derive(Default)]
pub(crate) struct Lasting {
    connections: Vec<PgConnection>,
}

impl Drop for Lasting {
    /// A backend notices later that its client is gone.
    fn drop(&mut self) {
        for conn in &mut self.connections {
            execute(conn, "SELECT pg_advisory_unlock_all()");
        }
    }
}

impl Fault {
    /// The statement that limits the client, if it is a limit that strikes.
    pub(crate) fn setting(self) -> Option<String> {
        let name = match self {
            Self::IdleInTransaction => "idle_in_transaction_session_timeout",
            Self::IdleSession => "idle_session_timeout",
            Self::StatementTimeout => "statement_timeout",
            Self::TransactionTimeout => "transaction_timeout",
            _ => return None,
        };
        Some(format!("SET {name} = {LIMIT}"))
    }

    /// Strikes, and returns when it has, but for [`Self::Client`].
    pub(crate) fn strike(self, stage: &Stage, proxy: &Proxy, pid: i32) -> Lasting {
        let mut lasting = Lasting::default();
        match self {
            Self::Terminate => {
                stage.ask(&format!("SELECT pg_terminate_backend({pid})"));
                wait_until("the session has ended", || stage.is_gone(pid));
            }
            Self::Cancel => {
                stage.ask(&format!("SELECT pg_cancel_backend({pid})"));
            }
            Self::Crash => {
                stage.server.crash_backend(pid).unwrap();
                stage.recover();
            }
            Self::Restart => {
                stage.server.stop_immediately().unwrap();
                stage.server.start_again().unwrap();
                stage.connect_again();
            }
            Self::Promotion => {
                stage.promote();
                stage.connect_again();
            }
            Self::Swallowed => proxy.swallow(Direction::Both),
            Self::IdleInTransaction
            | Self::IdleSession
            | Self::StatementTimeout
            | Self::TransactionTimeout => {
                let is_over = format!(
                    "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND \
                     clock_timestamp() - state_change < interval '{} ms'",
                    2 * LIMIT
                );
                wait_until("the time is up", || stage.ask(&is_over) == 0);
            }
            Self::LockTable => {
                // What a statement takes for the session stays, though it fails.
                let mut hog = connect_to(stage.server.url());
                let fill = "SELECT count(pg_advisory_lock(9, g)) FROM generate_series(1, 100000) g";
                let error = diesel::sql_query(fill).execute(&mut hog).unwrap_err();
                assert_eq!(error.to_string(), "out of shared memory");
                lasting.connections.push(hog);
            }
            Self::Connections => {
                let url = as_app(stage.server.url());
                while let Ok(conn) = PgConnection::establish(&url) {
                    lasting.connections.push(conn);
                }
            }
            Self::Client => {}
        }
        lasting
    }
}

/// The same address, for a role with no privileges.
pub(crate) fn as_app(url: &str) -> String {
    url.replacen("postgres@", "app@", 1)
}

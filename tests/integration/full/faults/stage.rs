//! The servers that faults happen to, and what is seen of them from outside.

use std::cell::{Cell, RefCell};

use diesel::prelude::*;
use diesel_advisory::AdvisoryConnection;
use diesel_advisory_sandbox::Sandbox;

use super::Fault;
use crate::support::*;

/// The least that a server can have.
const CONNECTIONS: &str = "12";

/// The server, and the session that looks at it.
pub(crate) struct Stage {
    pub(crate) server: Sandbox,
    standby: Option<Sandbox>,
    promoted: Cell<bool>,
    observer: RefCell<PgConnection>,
}

impl Stage {
    pub(crate) fn new(fault: Fault) -> Self {
        let mut builder = Sandbox::builder();
        if matches!(fault, Fault::LockTable | Fault::Connections) {
            builder = builder
                .setting("max_connections", CONNECTIONS)
                .setting("max_locks_per_transaction", "10");
        }
        if fault == Fault::TransactionTimeout {
            builder = builder.version(17);
        }
        let server = builder.start().unwrap();
        let standby = (fault == Fault::Promotion).then(|| server.standby().start().unwrap());
        let mut observer = connect_to(server.url());
        execute(
            &mut observer,
            "CREATE ROLE app LOGIN; CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql \
             AS 'BEGIN \
             IF EXISTS (SELECT FROM pg_locks WHERE locktype = ''advisory'' \
             AND (classid, objid, objsubid) = (0, tg_argv[0]::oid, 1)) \
             THEN PERFORM pg_advisory_xact_lock(tg_argv[0]::bigint); END IF; \
             RETURN NULL; END'",
        );
        Self {
            server,
            standby,
            promoted: Cell::new(false),
            observer: RefCell::new(observer),
        }
    }

    /// Whether this is of no use any more.
    pub(crate) fn is_spent(&self) -> bool {
        self.promoted.get()
    }

    /// A table whose transactions end only when nobody else holds the lock with this key.
    pub(crate) fn table(&self, stall: i64) -> String {
        let table = unique("faults").replace('.', "_");
        let sql = format!(
            "CREATE TABLE {table} (value int NOT NULL); GRANT ALL ON {table} TO app; \
             CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW WHEN (new.value % 2 = 0) EXECUTE FUNCTION stall({stall})"
        );
        execute(&mut self.observer.borrow_mut(), &sql);
        table
    }

    /// The number that the query selects.
    pub(crate) fn ask(&self, sql: &str) -> i32 {
        let sql = format!("SELECT ({sql})::int AS value");
        integer(&mut self.observer.borrow_mut(), &sql)
    }

    /// Whether another session gets the lock now.
    pub(crate) fn is_free(&self, lock: &str) -> bool {
        let mut observer = self.observer.borrow_mut();
        let lock = observer.transaction(|conn| conn.advisory_xact(lock).no_wait().try_acquire());
        lock.unwrap()
    }

    pub(crate) fn rows(&self, table: &str) -> Vec<i32> {
        values(&mut self.observer.borrow_mut(), table)
    }

    /// How many sessions wait for the lock.
    pub(crate) fn queued(&self, lock: impl Into<diesel_advisory::LockId<'static>>) -> i32 {
        self.ask(&format!(
            "SELECT count(*) FROM pg_locks WHERE {} AND NOT granted",
            is_lock(lock)
        ))
    }

    pub(crate) fn is_gone(&self, pid: i32) -> bool {
        self.ask(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"
        )) == 0
    }

    /// Waits until the server has disconnected everybody, and connects again.
    pub(crate) fn recover(&self) {
        wait_until("all are disconnected", || {
            let asked = diesel::sql_query("SELECT 1").execute(&mut *self.observer.borrow_mut());
            asked.is_err()
        });
        self.connect_again();
    }

    /// Connects to what has the data now, as soon as that lets anybody in.
    pub(crate) fn connect_again(&self) {
        let server = self.standby.as_ref().unwrap_or(&self.server);
        wait_until("the server is there again", || {
            let Ok(conn) = PgConnection::establish(server.url()) else {
                return false;
            };
            *self.observer.borrow_mut() = conn;
            true
        });
    }

    /// Takes the primary away, and puts the standby in its place.
    pub(crate) fn promote(&self) {
        let standby = self.standby.as_ref().unwrap();
        let position = text(
            &mut self.observer.borrow_mut(),
            "SELECT pg_current_wal_lsn()::text AS value",
        );
        let mut follower = connect_to(standby.url());
        let has_followed =
            format!("SELECT (pg_last_wal_replay_lsn() >= '{position}')::int AS value");
        wait_until("the standby has followed", || {
            integer(&mut follower, &has_followed) == 1
        });
        self.server.crash().unwrap();
        standby.promote().unwrap();
        self.promoted.set(true);
    }
}

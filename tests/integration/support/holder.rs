//! Another session, which is in the way.

use std::thread::JoinHandle;

use diesel::prelude::*;
use diesel_advisory::LockId;
use diesel_advisory_sandbox::Sandbox;

use super::{connect_to, execute, function_call, lock_session, pid, wait_until_queued_at};

/// Another session, which holds a lock until it is dropped.
pub(crate) struct Holder {
    url: String,
    conn: PgConnection,
}

impl Holder {
    pub(crate) fn of(id: impl Into<LockId<'static>>) -> Self {
        Self::at(Sandbox::shared().url(), id)
    }

    /// Of a lock on another server than the shared one.
    pub(crate) fn at(url: &str, id: impl Into<LockId<'static>>) -> Self {
        let mut conn = connect_to(url);
        lock_session(&mut conn, id);
        let url = url.to_owned();
        Self { url, conn }
    }

    pub(crate) fn pid(&mut self) -> i32 {
        pid(&mut self.conn)
    }

    pub(crate) fn execute(&mut self, sql: &str) {
        execute(&mut self.conn, sql);
    }

    /// Takes one more lock.
    pub(crate) fn lock(&mut self, id: impl Into<LockId<'static>>) {
        lock_session(&mut self.conn, id);
    }

    /// Takes one more lock, a shared one.
    pub(crate) fn lock_shared(&mut self, id: impl Into<LockId<'static>>) {
        self.execute(&function_call("pg_advisory_lock_shared", id));
    }

    /// Waits in the background until somebody waits for the lock, and is dropped then.
    pub(crate) fn until_queued(self, id: impl Into<LockId<'static>>) -> JoinHandle<()> {
        self.when_queued(id, drop)
    }

    /// Waits in the background until somebody waits for the lock, and does something then.
    pub(crate) fn when_queued<T: Send + 'static>(
        self,
        id: impl Into<LockId<'static>>,
        act: impl FnOnce(Self) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let id = id.into();
        std::thread::spawn(move || {
            wait_until_queued_at(&self.url, id, 1);
            act(self)
        })
    }
}

impl Drop for Holder {
    /// A backend notices later that its client is gone.
    fn drop(&mut self) {
        let released = diesel::sql_query("SELECT pg_advisory_unlock_all()").execute(&mut self.conn);
        drop(released);
    }
}

//! What becomes of a session when a future is dropped.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use super::AsyncAdvisoryConnection;
use super::connection::AsyncLink;
use crate::link::Link;
use crate::sql;

/// A connection that something is being done with.
///
/// Dropped before that is [`done`](Self::done), as by a cancelled future or a panic, it ends the
/// session.
#[derive(Debug)]
pub(super) struct Unfinished<'c, C: AsyncAdvisoryConnection> {
    conn: &'c mut C,
    done: bool,
}

impl<'c, C: AsyncAdvisoryConnection> Unfinished<'c, C> {
    pub(super) fn new(conn: &'c mut C) -> Self {
        Self { conn, done: false }
    }

    pub(super) fn link(&mut self) -> AsyncLink<'_, C> {
        AsyncLink(self.conn)
    }

    pub(super) fn done(mut self) {
        self.done = true;
    }
}

impl<C: AsyncAdvisoryConnection> Drop for Unfinished<'_, C> {
    fn drop(&mut self) {
        if !self.done {
            end_session(self.conn);
        }
    }
}

/// Ends the session, whatever it is in the middle of, and marks the connection as broken.
///
/// To roll back would be gentler, and not enough. Code that has dropped a future inside of its
/// transaction goes on, and believes that it is in there still: what it sends must fail, and not be
/// committed statement by statement. And a pool may keep what is broken: deadpool does until it
/// would give it out, and `diesel-async` tells mobc the opposite of what it should. To all of them
/// a closed connection is one to throw away.
pub(super) fn end_session<C: AsyncAdvisoryConnection>(conn: &mut C) {
    // What comes before the end of the session is for a role that may not end it.
    let undo = "ROLLBACK; SELECT pg_catalog.pg_advisory_unlock_all()";
    hand_over(conn, &format!("{undo}; {}", sql::END_SESSION));
    AsyncLink(conn).set_broken();
}

/// Hands statements to the driver, which sends them after all others whether or not somebody waits
/// for the answer.
pub(super) fn hand_over<C: AsyncAdvisoryConnection>(conn: &mut C, sql: &str) {
    // The first poll is what hands them over.
    let _ = pin!(conn.batch_execute(sql)).poll(&mut Context::from_waker(Waker::noop()));
}

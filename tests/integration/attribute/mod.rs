//! `#[advisory]`: the whole function runs under a lock.

#[cfg(feature = "async")]
mod async_options;
#[cfg(feature = "async")]
mod asynchronous;
mod connections;
mod default_id;
mod every;
mod expression_id;
mod formatted_id;
mod functions;
#[cfg(feature = "async")]
mod futures;
mod lints;
mod macro_rules;
mod permits;
mod scopes;
mod skip;
mod standby;
mod waiting;

use std::error::Error as StdError;
use std::time::Duration;

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, PooledConnection};
use diesel::result::Error as DieselError;
use diesel_advisory::{AdvisoryConnection, Error, LockId, LockKey, advisory};
use diesel_advisory_sandbox::Sandbox;

use crate::support::{
    Holder, assert_clean, assert_free, committed, connect, insert, pool_of_one, table, text,
    unavailable,
};

/// Whether it is held by whoever it is, and not even shared.
#[track_caller]
fn assert_locked(id: impl Into<LockId<'static>>) {
    let id = id.into();
    let granted = connect()
        .advisory(id.clone())
        .shared()
        .no_wait()
        .try_run(|_| Ok::<_, Error>(()));
    assert!(granted.unwrap().is_none(), "{id} is not held");
}

/// Calls a function that asserts inside that its lock is held.
#[track_caller]
fn assert_held_by<T, E: std::fmt::Debug>(
    id: impl Into<LockId<'static>>,
    function: impl FnOnce(&mut PgConnection) -> Result<T, E>,
) -> T {
    let (id, mut conn) = (id.into(), connect());
    assert_free(id.clone());
    let value = function(&mut conn).unwrap();
    assert_free(id);
    assert_clean(&mut conn);
    value
}

fn depth(conn: &mut PgConnection) -> Option<u32> {
    let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
    status.transaction_depth().unwrap().map(u32::from)
}

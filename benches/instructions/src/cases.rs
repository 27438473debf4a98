//! What is counted.

use std::hint::black_box;
use std::time::Duration;

use diesel_advisory::{AdvisoryConnection, Error, LockId};

use crate::scripted::Scripted;

type Case = fn(&mut Scripted) -> Result<(), Error>;

const NAME: &str = "billing.close_month";
const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) const CASES: &[(&str, Case)] = &[
    ("key_of_name", |_| {
        black_box(LockId::from(black_box(NAME)).key());
        Ok(())
    }),
    ("transaction", |conn| {
        conn.advisory(black_box(NAME)).run(|_| Ok(()))
    }),
    ("transaction_timed", |conn| {
        let lock = conn.advisory(black_box(NAME)).timeout(TIMEOUT);
        lock.run(|_| Ok(()))
    }),
    ("transaction_no_wait", |conn| {
        let lock = conn.advisory(black_box(NAME)).no_wait();
        let ran: Option<()> = lock.try_run(|_| Ok::<_, Error>(()))?;
        assert!(ran.is_some());
        Ok(())
    }),
    ("transaction_serializable", |conn| {
        let lock = conn.advisory(black_box(NAME)).serializable();
        lock.run(|_| Ok(()))
    }),
    ("session", |conn| {
        let held = conn.advisory_session(black_box(NAME)).acquire()?;
        held.release()
    }),
    ("session_timed", |conn| {
        let lock = conn.advisory_session(black_box(NAME)).timeout(TIMEOUT);
        lock.acquire()?.release()
    }),
    ("set_of_three", |conn| {
        let lock = conn.advisory(black_box(NAME)).and("b").and("c");
        lock.run(|_| Ok(()))
    }),
];

/// Does one of them so many times.
pub(crate) fn repeat(case: Case, times: u32) -> Result<usize, Error> {
    let mut conn = Scripted::default();
    for _ in 0..times {
        case(black_box(&mut conn))?;
    }
    Ok(conn.sent())
}

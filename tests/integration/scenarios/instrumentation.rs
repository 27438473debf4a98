//! What Diesel's instrumentation sees of the transactions: as many ends as begins, at the depths that
//! Diesel's own transactions have.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel_advisory::Error;

use super::side::*;
use crate::support::{Holder, LEVELS, Wait, at_level, unique};

/// The begins and ends that a connection has shown.
#[derive(Clone, Default)]
struct Transactions(Arc<Mutex<Vec<(char, u32)>>>);

impl Instrumentation for Transactions {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        let seen = match event {
            InstrumentationEvent::BeginTransaction { depth, .. } => ('b', depth.get()),
            InstrumentationEvent::CommitTransaction { depth, .. } => ('c', depth.get()),
            InstrumentationEvent::RollbackTransaction { depth, .. } => ('r', depth.get()),
            _ => return,
        };
        self.0.lock().unwrap().push(seen);
    }
}

impl Transactions {
    #[track_caller]
    fn assert(&self, case: &str, expected: &[(char, u32)]) {
        let seen = std::mem::take(&mut *self.0.lock().unwrap());
        assert_eq!(seen, expected, "{case}");
    }
}

#[helper]
async fn watched() -> (Transactions, Conn) {
    let (seen, mut conn) = (Transactions::default(), connect().await);
    conn.set_instrumentation(seen.clone());
    (seen, conn)
}

#[scenario]
async fn a_lock_that_is_taken_shows_the_transactions_of_diesel() {
    let (seen, mut conn) = watched().await;
    let lock = unique("instrumentation");
    for wait in Wait::ALL {
        let case = format!("{wait:?}");
        let run = wait.on(conn.advisory(&lock));
        run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        seen.assert(&case, &[('b', 1), ('c', 1)]);
        let run = wait.on(conn.advisory(&lock));
        let failed = run.run(async |_| Err::<(), _>(Error::NotHeld)).await;
        assert!(failed.is_err());
        seen.assert(&case, &[('b', 1), ('r', 1)]);
        begin(&mut conn).await;
        let run = wait.on(conn.advisory(&lock));
        run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        let run = wait.on(conn.advisory(&lock));
        let failed = run.run(async |_| Err::<(), _>(Error::NotHeld)).await;
        assert!(failed.is_err());
        commit(&mut conn).await;
        let nested = [('b', 1), ('b', 2), ('c', 2), ('b', 2), ('r', 2), ('c', 1)];
        seen.assert(&case, &nested);
        for level in LEVELS {
            let run = at_level!(Some(level), conn.advisory(&lock));
            wait.on(run)
                .run(async |_| Ok::<_, Error>(()))
                .await
                .unwrap();
            seen.assert(&format!("{case}, {level:?}"), &[('b', 1), ('c', 1)]);
        }
    }
}

#[scenario]
async fn a_lock_that_is_refused_shows_as_many_ends_as_begins() {
    let (seen, mut conn) = watched().await;
    let lock = unique("instrumentation.refused");
    let _holder = Holder::of(lock.clone());
    for wait in [Wait::No, Wait::AtMost(Duration::from_millis(5))] {
        for level in LEVELS {
            let run = at_level!(Some(level), conn.advisory(&lock));
            let ran = wait.on(run).run(async |_| Ok::<_, Error>(())).await;
            assert!(ran.is_err_and(|error| error.is_unavailable()));
            seen.assert(&format!("{wait:?}, {level:?}"), &[('b', 1), ('r', 1)]);
        }
        begin(&mut conn).await;
        let run = wait.on(conn.advisory(&lock));
        let ran = run.run(async |_| Ok::<_, Error>(())).await;
        assert!(ran.is_err_and(|error| error.is_unavailable()));
        let acquired = wait.on(conn.advisory_xact(&lock)).acquire().await;
        assert!(acquired.is_err_and(|error| error.is_unavailable()));
        commit(&mut conn).await;
        // The lock inside of the transaction shows nothing of its own.
        let nested = [('b', 1), ('b', 2), ('r', 2), ('c', 1)];
        seen.assert(&format!("{wait:?}, inside"), &nested);
        let run = wait.on(conn.advisory_session(&lock));
        let ran = run.run(async |_| Ok::<_, Error>(())).await;
        assert!(ran.is_err_and(|error| error.is_unavailable()));
        seen.assert(&format!("{wait:?}, session"), &[]);
    }
}

#[scenario]
async fn a_session_above_read_committed_shows_as_many_ends_as_begins() {
    let (seen, mut conn) = watched().await;
    for default in ["repeatable read", "serializable"] {
        let set = format!("SET default_transaction_isolation = '{default}'");
        execute(&mut conn, &set).await;
        let lock = unique("instrumentation.default");
        for wait in Wait::ALL {
            let run = wait.on(conn.advisory(&lock));
            run.run(async |_| Ok::<_, Error>(())).await.unwrap();
            // The first one is found to be above read committed.
            let twice = [('b', 1), ('r', 1), ('b', 1), ('c', 1)];
            seen.assert(&format!("{default}, {wait:?}"), &twice);
        }
        let _holder = Holder::of(lock.clone());
        for wait in [Wait::No, Wait::AtMost(Duration::from_millis(5))] {
            let run = wait.on(conn.advisory(&lock));
            let ran = run.run(async |_| Ok::<_, Error>(())).await;
            assert!(ran.is_err_and(|error| error.is_unavailable()));
            let twice = [('b', 1), ('r', 1), ('b', 1), ('r', 1)];
            seen.assert(&format!("{default}, refused, {wait:?}"), &twice);
        }
    }
}

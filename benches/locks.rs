//! The cost of a lock that is free, and how fast a hot lock goes from hand to hand.

#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_advisory::functions::{pg_advisory_lock, pg_advisory_unlock, pg_advisory_xact_lock};
use diesel_advisory::{AdvisoryConnection, Error};

const KEY: i64 = 42;
const TIMEOUT: Duration = Duration::from_secs(10);

fn connect() -> PgConnection {
    PgConnection::establish(&diesel_advisory_sandbox::database_url()).expect("PostgreSQL answers")
}

/// The lock as it is mostly written.
fn by_hand(conn: &mut PgConnection) -> QueryResult<usize> {
    diesel::select(pg_advisory_xact_lock(KEY)).execute(conn)
}

/// The same with a timeout, and with the session's own one back afterwards.
fn by_hand_with_timeout(conn: &mut PgConnection) -> QueryResult<usize> {
    conn.batch_execute("SET LOCAL lock_timeout = '10s'")?;
    let locked = by_hand(conn)?;
    conn.batch_execute("SET LOCAL lock_timeout TO DEFAULT")?;
    Ok(locked)
}

fn around_a_transaction(criterion: &mut Criterion) {
    let conn = &mut connect();
    let mut group = criterion.benchmark_group("around a transaction");
    group.bench_function("by hand", |b| {
        b.iter(|| conn.transaction(by_hand).unwrap());
    });
    group.bench_function("advisory", |b| {
        b.iter(|| conn.advisory(KEY).run(|_| Ok::<_, Error>(())).unwrap());
    });
    group.bench_function("by hand, with a timeout", |b| {
        b.iter(|| conn.transaction(by_hand_with_timeout).unwrap());
    });
    group.bench_function("advisory, with a timeout", |b| {
        b.iter(|| {
            let lock = conn.advisory(KEY).timeout(TIMEOUT);
            lock.run(|_| Ok::<_, Error>(())).unwrap();
        });
    });
    group.bench_function("advisory, no_wait", |b| {
        b.iter(|| {
            conn.advisory(KEY)
                .no_wait()
                .run(|_| Ok::<_, Error>(()))
                .unwrap();
        });
    });
    group.bench_function("advisory, serializable", |b| {
        b.iter(|| {
            conn.advisory(KEY)
                .serializable()
                .run(|_| Ok::<_, Error>(()))
                .unwrap();
        });
    });
    group.finish();
}

fn inside_a_transaction(criterion: &mut Criterion) {
    let conn = &mut connect();
    let mut group = criterion.benchmark_group("inside a transaction");
    group.bench_function("no lock", |b| {
        b.iter(|| {
            conn.transaction(|_| QueryResult::Ok(())).unwrap();
        });
    });
    group.bench_function("by hand", |b| {
        b.iter(|| conn.transaction(by_hand).unwrap());
    });
    group.bench_function("advisory_xact", |b| {
        b.iter(|| {
            conn.transaction(|conn| conn.advisory_xact(KEY).acquire())
                .unwrap();
        });
    });
    group.bench_function("by hand, with a timeout", |b| {
        b.iter(|| conn.transaction(by_hand_with_timeout).unwrap());
    });
    group.bench_function("advisory_xact, with a timeout", |b| {
        b.iter(|| {
            conn.transaction(|conn| conn.advisory_xact(KEY).timeout(TIMEOUT).acquire())
                .unwrap();
        });
    });
    group.finish();
}

fn for_the_session(criterion: &mut Criterion) {
    let conn = &mut connect();
    let mut group = criterion.benchmark_group("for the session");
    group.bench_function("by hand", |b| {
        b.iter(|| {
            diesel::select(pg_advisory_lock(KEY)).execute(conn).unwrap();
            diesel::select(pg_advisory_unlock(KEY))
                .execute(conn)
                .unwrap();
        });
    });
    group.bench_function("advisory_session", |b| {
        b.iter(|| {
            conn.advisory_session(KEY)
                .acquire()
                .unwrap()
                .release()
                .unwrap();
        });
    });
    group.finish();
}

/// Eight connections want the same lock all the time: the time from one holder to the next.
fn hot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hot lock, per hand-over");
    group.sample_size(10);
    group.bench_function("by hand", |b| {
        b.iter_custom(|rounds| {
            contend(rounds, |conn| conn.transaction(by_hand).map(drop).unwrap())
        });
    });
    group.bench_function("advisory", |b| {
        b.iter_custom(|rounds| {
            contend(rounds, |conn| {
                conn.advisory(KEY).run(|_| Ok::<_, Error>(())).unwrap();
            })
        });
    });
    group.bench_function("by hand, with a timeout", |b| {
        b.iter_custom(|rounds| {
            contend(rounds, |conn| {
                conn.transaction(by_hand_with_timeout).map(drop).unwrap();
            })
        });
    });
    group.bench_function("advisory, with a timeout", |b| {
        b.iter_custom(|rounds| {
            contend(rounds, |conn| {
                let lock = conn.advisory(KEY).timeout(TIMEOUT);
                lock.run(|_| Ok::<_, Error>(())).unwrap();
            })
        });
    });
    group.finish();
}

fn contend(rounds: u64, round: impl Fn(&mut PgConnection) + Sync) -> Duration {
    const CONNECTIONS: u64 = 8;
    let start = Barrier::new(usize::try_from(CONNECTIONS).expect("a small number") + 1);
    thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let (start, round) = (&start, &round);
            scope.spawn(move || {
                let conn = &mut connect();
                start.wait();
                let mine = (rounds + number) / CONNECTIONS;
                (0..mine).for_each(|_| round(conn));
            });
        }
        start.wait();
        Instant::now()
    })
    .elapsed()
}

criterion_group!(
    benches,
    around_a_transaction,
    inside_a_transaction,
    for_the_session,
    hot
);
criterion_main!(benches);

//! Many connections on one lock: never two inside, everybody gets through, in the order of arrival.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::result::DatabaseErrorKind::SerializationFailure;
use diesel::result::Error::DatabaseError;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::Sandbox;

use crate::support::{
    Holder, Wait, connect_to, execute, insert, integer, table, unique, values, wait_until,
    wait_until_queued_at,
};

const CONNECTIONS: usize = 64;
const DURATION: Duration = Duration::from_secs(3);

/// The advisory locks of the session that asks.
const HELD: &str = "SELECT count(*)::int AS value FROM pg_locks \
                    WHERE locktype = 'advisory' AND pid = pg_backend_pid()";

/// So many at once are not for the server that all tests share.
fn sandbox() -> Sandbox {
    Sandbox::start().unwrap()
}

#[test]
fn never_two_inside_and_everybody_gets_through() {
    let sandbox = sandbox();
    let lock = unique("contention");
    let mut observer = connect_to(sandbox.url());
    let table = table(&mut observer);
    insert(&mut observer, &table, 0).unwrap();
    let (start, occupied) = (Barrier::new(CONNECTIONS), AtomicBool::new(false));
    let present = AtomicUsize::new(0);
    let enter = |conn: &mut PgConnection| {
        assert!(!occupied.swap(true, Ordering::SeqCst), "two are inside");
        // Of two that are inside of their transactions at once, one overwrites what the other adds.
        let value = integer(conn, &format!("SELECT value FROM {table}"));
        let update = format!("UPDATE {table} SET value = {value} + 1");
        let result = diesel::sql_query(update).execute(conn);
        assert!(occupied.swap(false, Ordering::SeqCst), "two were inside");
        result
    };
    let worker = |number: usize| {
        let mut conn = connect_to(sandbox.url());
        let wait = Wait::WAITING[number % 3];
        start.wait();
        let began = Instant::now();
        let (mut passes, mut in_turn) = (0, 0);
        while began.elapsed() < DURATION {
            match number % 4 {
                0 => serializable(|| wait.on(conn.advisory(&lock)).serializable().run(enter)),
                1 => conn
                    .transaction(|conn| {
                        wait.on(conn.advisory_xact(&lock)).acquire()?;
                        enter(conn)
                    })
                    .unwrap(),
                _ => wait.on(conn.advisory(&lock)).run(enter).unwrap(),
            };
            passes += 1;
            if passes == 1 {
                present.fetch_add(1, Ordering::SeqCst);
            }
            // Before all are there, and once the first has gone, those who are have more turns.
            in_turn += i32::from(present.load(Ordering::SeqCst) == CONNECTIONS);
        }
        present.fetch_sub(1, Ordering::SeqCst);
        (passes, in_turn)
    };
    let (passes, in_turn): (Vec<i32>, Vec<i32>) = thread::scope(|scope| {
        let worker = &worker;
        let workers: Vec<_> = (0..CONNECTIONS)
            .map(|number| scope.spawn(move || worker(number)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .unzip()
    });
    assert_eq!(values(&mut observer, &table), [passes.iter().sum::<i32>()]);
    assert!(
        !passes.contains(&0),
        "somebody never got through: {passes:?}"
    );
    // Whoever has been inside queues up behind all others.
    let (least, most) = (in_turn.iter().min().unwrap(), in_turn.iter().max().unwrap());
    assert!(*most > 0, "they were never all there");
    assert!(
        *most <= 2 * least + 2,
        "somebody was passed over: {in_turn:?}"
    );
}

#[test]
fn those_who_came_first_are_first() {
    let sandbox = sandbox();
    let lock = unique("contention.order");
    let holder = Holder::at(sandbox.url(), lock.clone());
    let entered = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let (sandbox, lock, entered) = (&sandbox, &lock, &entered);
            scope.spawn(move || {
                let mut conn = connect_to(sandbox.url());
                let wait = Wait::WAITING[number % 3];
                let enter = |_: &mut PgConnection| {
                    entered.lock().unwrap().push(number);
                    Ok::<_, Error>(())
                };
                wait.on(conn.advisory(lock)).run(enter).unwrap();
            });
            let arrived = i32::try_from(number).unwrap() + 1;
            wait_until_queued_at(sandbox.url(), lock.clone(), arrived);
        }
        drop(holder);
    });
    let entered = entered.into_inner().unwrap();
    assert_eq!(entered.len(), CONNECTIONS);
    for (place, number) in entered.iter().enumerate() {
        assert!(place.abs_diff(*number) <= 2, "out of order: {entered:?}");
    }
}

/// The server can grant a lock and still report that the time is over.
#[test]
fn waits_that_end_just_then_leave_nothing_held() {
    const WAITERS: usize = 8;

    let sandbox = sandbox();
    let lock = unique("contention.race");
    let ended = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..WAITERS {
            let (sandbox, lock, ended) = (&sandbox, &lock, &ended);
            scope.spawn(move || {
                let mut conn = connect_to(sandbox.url());
                let began = Instant::now();
                while began.elapsed() < DURATION {
                    let millis = Duration::from_millis(1 + u64::try_from(number).unwrap());
                    let builder = conn.advisory(lock).timeout(millis);
                    let builder = if number % 2 == 0 {
                        builder.serializable()
                    } else {
                        builder
                    };
                    let result = builder.run(|conn| {
                        execute(conn, "SELECT pg_sleep(0.001)");
                        Ok::<_, Error>(())
                    });
                    match result {
                        Ok(()) => {}
                        Err(Error::Unavailable(_)) => {
                            ended.fetch_add(1, Ordering::Relaxed);
                            assert_eq!(integer(&mut conn, HELD), 0);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                assert_eq!(integer(&mut conn, HELD), 0);
            });
        }
    });
    assert!(ended.into_inner() > 0, "no wait has ended in vain");
}

/// A timeout can fire in the moment of the grant, and PostgreSQL then cancels whatever comes next. That is
/// the wait itself, and never the first statement of the work.
#[test]
fn a_timeout_that_comes_with_the_grant_is_not_the_works() {
    const WAITERS: usize = 12;

    let sandbox = sandbox();
    let lock = unique("contention.late");
    let granted = AtomicUsize::new(0);
    let ended = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..WAITERS {
            let (sandbox, lock, granted, ended) = (&sandbox, &lock, &granted, &ended);
            scope.spawn(move || {
                let mut conn = connect_to(sandbox.url());
                let timeout = Duration::from_millis(1 + u64::try_from(number % 3).unwrap());
                let work = |conn: &mut PgConnection| {
                    granted.fetch_add(1, Ordering::Relaxed);
                    diesel::sql_query("SELECT pg_sleep(0.0005)").execute(conn)?;
                    Ok::<_, Error>(())
                };
                let began = Instant::now();
                while began.elapsed() < DURATION {
                    let result = if number % 2 == 0 {
                        conn.advisory(lock).timeout(timeout).run(work)
                    } else {
                        conn.advisory_session(lock).timeout(timeout).run(work)
                    };
                    match result {
                        Ok(()) => {}
                        Err(Error::Unavailable(_)) => {
                            ended.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert!(granted.into_inner() > 0, "nobody was let in");
    assert!(ended.into_inner() > 0, "no wait has ended in vain");
}

/// Repeats a serializable transaction, as one has to be ready to: with many holders in a row,
/// PostgreSQL may see a conflict where there was none.
fn serializable<T>(mut run: impl FnMut() -> QueryResult<T>) -> T {
    loop {
        match run() {
            Err(DatabaseError(SerializationFailure, _)) => {}
            result => return result.unwrap(),
        }
    }
}

/// Shared holders are inside together, and an exclusive one is alone.
#[test]
fn readers_share_and_writers_are_alone() {
    const ROUNDS: usize = 50;
    const READERS: usize = 6;

    let sandbox = sandbox();
    let lock = unique("contention.shared");
    let (reading, writing) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..READERS + 2 {
            let (sandbox, lock, reading, writing) = (&sandbox, &lock, &reading, &writing);
            scope.spawn(move || {
                let mut conn = connect_to(sandbox.url());
                for _ in 0..ROUNDS {
                    let writer = number >= READERS;
                    let builder = conn.advisory(lock);
                    let builder = if writer { builder } else { builder.shared() };
                    let result = builder.run(|conn| {
                        let ours = if writer { writing } else { reading };
                        ours.fetch_add(1, Ordering::SeqCst);
                        execute(conn, "SELECT");
                        let (readers, writers) = (
                            reading.load(Ordering::SeqCst),
                            writing.load(Ordering::SeqCst),
                        );
                        ours.fetch_sub(1, Ordering::SeqCst);
                        let alone = if writer {
                            readers == 0 && writers == 1
                        } else {
                            writers == 0
                        };
                        assert!(alone, "{readers} readers and {writers} writers");
                        Ok::<_, Error>(())
                    });
                    result.unwrap();
                }
            });
        }
    });

    // All of them wait inside for each other, which they can only if they share the lock.
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let mut conn = connect_to(sandbox.url());
                let result = conn.advisory(&lock).shared().run(|_| {
                    inside.fetch_add(1, Ordering::SeqCst);
                    let all_are = || inside.load(Ordering::SeqCst) == READERS;
                    wait_until("all readers are inside", all_are);
                    Ok::<_, Error>(())
                });
                result.unwrap();
            });
        }
    });
}

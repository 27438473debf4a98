//! Several locks at once: all or none, under one deadline. And shared ones.

use std::thread;
use std::time::Duration;

use diesel_advisory::Error;

use super::side::*;
use super::waiting::Scope;
use crate::support::{
    Holder, Wait, assert_free, assert_taken, in_order, locks_of, unavailable, unique,
    wait_until_waited,
};

#[scenario]
async fn a_set_is_taken_as_a_whole_or_not_at_all() {
    for wait in [
        Wait::No,
        Wait::AtMost(Duration::from_millis(10)),
        Wait::Inherit,
    ] {
        // Whichever of them is missing.
        for missing in 0..3 {
            let names = in_order::<3>();
            let holder = Holder::of(names[missing].clone());
            let mut conn = connect().await;
            execute(&mut conn, "SET lock_timeout = '10ms'").await;
            check_not_at_all(&mut conn, wait, &names, missing).await;
            check_not_at_all_in_a_transaction(&mut conn, wait, &names, missing).await;
            drop(holder);
            names.into_iter().for_each(assert_free);
        }
    }
    for wait in Wait::ALL {
        check_as_a_whole(wait).await;
    }
}

/// Whatever the order is in which they are written, and as often as they are.
#[helper]
async fn check_as_a_whole(wait: Wait) {
    let names = in_order::<3>();
    let [a, b, c] = &names;
    let mut conn = connect().await;
    let pid = pid(&mut conn).await;
    let set = wait.on(conn.advisory(c).and(a).and(b).and(a));
    let held = set.run(async |_| Ok::<_, Error>(locks_of(pid))).await;
    assert_eq!(held.unwrap(), 3, "{wait:?}");
    assert_clean(&mut conn).await;
    let set = wait.on(conn.advisory_session(c).and(a).and(b).and(c));
    let mut held = set.acquire().await.unwrap();
    assert!(held.is_held().await.unwrap());
    assert_eq!(locks_of(pid), 3, "{wait:?}");
    held.release().await.unwrap();
    assert_clean(&mut conn).await;
    names.into_iter().for_each(assert_free);
}

#[helper]
async fn check_not_at_all(conn: &mut Conn, wait: Wait, names: &[String; 3], missing: usize) {
    let [a, b, c] = names;
    let called = async |_: &mut Conn| -> Result<(), Error> { panic!("not all are locked") };

    let set = wait.on(conn.advisory(c).and(a).and(b));
    let error = set.run(called).await.unwrap_err();
    assert_eq!(unavailable(error).lock.to_string(), names[missing]);
    assert_clean(conn).await;

    let set = wait.on(conn.advisory_session(a).and(b).and(c));
    let error = set.acquire().await.map(drop).unwrap_err();
    assert_eq!(unavailable(error).lock.to_string(), names[missing]);
    let set = wait.on(conn.advisory_session(a).and(c).and(b));
    assert!(set.try_acquire().await.unwrap().is_none());
    assert_clean(conn).await;
}

#[helper]
async fn check_not_at_all_in_a_transaction(
    conn: &mut Conn,
    wait: Wait,
    names: &[String; 3],
    missing: usize,
) {
    let [a, b, c] = names;
    let pid = pid(conn).await;
    let called = async |_: &mut Conn| -> Result<(), Error> { panic!("not all are locked") };
    let transaction = conn.transaction(async |conn| {
        let set = wait.on(conn.advisory(a).and(b).and(c));
        let error = set.run(called).await.unwrap_err();
        assert_eq!(unavailable(error).lock.to_string(), names[missing]);
        assert_eq!(locks_of(pid), 0, "{wait:?}");

        let set = wait.on(conn.advisory_xact(b).and(a).and(c));
        let error = set.acquire().await.unwrap_err();
        assert_eq!(unavailable(error).lock.to_string(), names[missing]);
        assert_eq!(locks_of(pid), 0, "{wait:?}");
        let set = wait.on(conn.advisory_xact(c).and(b).and(a));
        assert!(!set.try_acquire().await?);
        assert_eq!(locks_of(pid), 0, "{wait:?}");

        // One that the transaction had before is not lost with them.
        let had = &names[(missing + 1) % 3];
        conn.advisory_xact(had).acquire().await?;
        let set = wait.on(conn.advisory_xact(a).and(b).and(c));
        assert!(set.acquire().await.unwrap_err().is_unavailable());
        assert_eq!(locks_of(pid), 1, "{wait:?}");
        Ok::<_, Error>(())
    });
    transaction.await.unwrap();
    assert_clean(conn).await;
}

#[scenario]
async fn one_deadline_for_all() {
    for inherit in [false, true] {
        for scope in [Scope::Run, Scope::Xact, Scope::Session] {
            let [first, second] = in_order();
            let first_holder = Holder::of(first.clone());
            let _second_holder = Holder::of(second.clone());
            let mut conn = connect().await;
            let pid = pid(&mut conn).await;
            let wait = if inherit {
                execute(&mut conn, "SET lock_timeout = '2s'").await;
                Wait::Inherit
            } else {
                Wait::AtMost(Duration::from_secs(2))
            };
            let releasing = thread::spawn(move || {
                wait_until_waited(pid, "advisory", 1_500);
                drop(first_holder);
            });
            scope.begin(&mut conn).await;
            let result = match scope {
                Scope::Session => {
                    let set = wait.on(conn.advisory_session(&second).and(&first));
                    set.acquire().await.map(drop)
                }
                Scope::Xact => {
                    let set = wait.on(conn.advisory_xact(&second).and(&first));
                    set.acquire().await
                }
                _ => {
                    let set = wait.on(conn.advisory(&second).and(&first));
                    set.run(async |_| Ok(())).await
                }
            };
            scope.commit(&mut conn).await;
            let unavailable = unavailable(result.unwrap_err());
            releasing.join().unwrap();
            // It is the second that was missing, and the wait for it was no longer than what was
            // left.
            assert_eq!(unavailable.lock.to_string(), second, "{scope:?}");
            let range = Duration::from_secs(2)..Duration::from_millis(3_400);
            assert!(
                range.contains(&unavailable.waited),
                "{scope:?}: {unavailable}"
            );
            assert_clean(&mut conn).await;
        }
    }
}

#[scenario]
async fn shared_locks_exclude_exclusive_ones_alone() {
    for wait in Wait::ALL {
        let lock = unique("sets.shared");
        let mut holder = Holder::of(unique("sets.other"));
        holder.lock_shared(lock.clone());
        let mut conn = connect().await;

        let shared = wait.on(conn.advisory(&lock).shared());
        shared.run(async |_| Ok::<_, Error>(())).await.unwrap();
        let shared = wait.on(conn.advisory_session(&lock).shared());
        shared.acquire().await.unwrap().release().await.unwrap();
        let transaction = conn
            .transaction(async |conn| wait.on(conn.advisory_xact(&lock).shared()).acquire().await);
        transaction.await.unwrap();

        let exclusive = conn.advisory(&lock).no_wait();
        let ran = exclusive.run(async |_| Ok::<_, Error>(())).await;
        assert_eq!(unavailable(ran.unwrap_err()).holders.len(), 1);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn a_shared_guard_excludes_exclusive_locks_alone() {
    let (mut conn, mut other) = (connect().await, connect().await);
    let lock = unique("sets.shared");
    let shared = conn.advisory_session(&lock).shared();
    let mut held = shared.acquire().await.unwrap();
    assert!(held.is_held().await.unwrap());
    for wait in Wait::ALL {
        let also = wait.on(other.advisory_session(&lock).shared());
        also.acquire().await.unwrap().release().await.unwrap();
    }
    assert_taken(lock.clone());
    held.release().await.unwrap();

    let held = conn.advisory_session(&lock).acquire().await.unwrap();
    let reader = other.advisory_session(&lock).shared().no_wait();
    assert!(reader.try_acquire().await.unwrap().is_none());
    held.release().await.unwrap();
    assert_free(lock);
}

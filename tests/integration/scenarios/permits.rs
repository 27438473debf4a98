//! Locks that several sessions hold at once, each with a permit.

use std::time::Duration;

use diesel_advisory::{Error, Lease, LockId, LockKey, inspect};
use diesel_advisory_sandbox::Sandbox;

use super::round_trips::counted;
use super::side::*;
use crate::support::{
    self, Holder, Language, Wait, assert_free, assert_taken, gate, locks_of, permit, state_of,
    unavailable, unique, wait_until, wait_until_queued,
};

/// A session that holds the first permits of the lock.
pub(crate) fn holder(name: &str, count: u32) -> Holder {
    holder_at(Sandbox::shared().url(), name, count)
}

pub(crate) fn holder_at(url: &str, name: &str, count: u32) -> Holder {
    let mut holder = Holder::at(url, permit(name, 1));
    for number in 2..=count {
        holder.lock(permit(name, number));
    }
    holder
}

#[scenario]
async fn so_many_hold_the_lock_and_the_next_is_refused() {
    let mut conns = [connect().await, connect().await, connect().await];
    let mut other = connect().await;
    for wait in Wait::ALL {
        let name = unique("permits.three");
        // None of these is a permit.
        let _plain = Holder::of(name.clone());
        let _alike = Holder::of(format!("{name}#1"));
        let mut pids = Vec::new();
        let mut guards = Vec::new();
        for conn in &mut conns {
            pids.push(pid(conn).await);
            let lock = wait.on(conn.advisory_session(&name).permits(3));
            guards.push(lock.acquire().await.unwrap());
        }
        for number in 1..=3 {
            assert_taken(permit(&name, number));
        }
        assert_free(gate(&name));
        for refused in [Wait::No, Wait::AtMost(Duration::from_millis(20))] {
            let lock = refused.on(other.advisory_session(&name).permits(3));
            assert!(lock.try_acquire().await.unwrap().is_none(), "{refused:?}");
            let lock = refused.on(other.advisory_session(&name).permits(3));
            let error = unavailable(lock.acquire().await.map(drop).unwrap_err());
            assert_eq!(error.lock, LockId::from(&*name));
            let holders = error.holders.iter().map(|holder| holder.pid);
            assert_eq!(holders.collect::<Vec<_>>(), pids, "{refused:?}");
            assert_eq!(error.waiting, []);
            assert_clean(&mut other).await;
            assert_free(gate(&name));
        }
        guards.remove(1).release().await.unwrap();
        let lock = wait.on(other.advisory_session(&name).permits(3));
        let ran = lock.run(async |_| Ok::<_, Error>(7)).await;
        assert_eq!(ran.unwrap(), 7, "{wait:?}");
        for mut held in guards {
            assert!(held.is_held().await.unwrap());
            held.release().await.unwrap();
        }
        for conn in conns.iter_mut().chain([&mut other]) {
            assert_clean(conn).await;
        }
    }
}

#[scenario]
async fn whoever_waits_gets_the_permit_that_is_released() {
    let mut conn = connect().await;
    execute(&mut conn, "SET lock_timeout = '45s'").await;
    for wait in Wait::WAITING {
        for released in 1..=2 {
            let name = unique("permits.waited");
            let kept = Holder::of(permit(&name, 3 - released));
            let free = Holder::of(permit(&name, released)).until_queued(permit(&name, released));
            let lock = wait.on(conn.advisory_session(&name).permits(2));
            let mut held = lock.acquire().await.unwrap();
            free.join().unwrap();
            assert_taken(permit(&name, released));
            assert_free(gate(&name));
            assert_eq!(lock_timeout(&mut held).await, "45s", "{wait:?}");
            held.release().await.unwrap();
            assert_free(permit(&name, released));
            assert_clean(&mut conn).await;
            drop(kept);
        }
    }
}

#[scenario]
async fn a_wait_in_vain_is_told_in_every_language_at_the_gate_and_behind_it() {
    for language in Language::all() {
        let mut conn = connect().await;
        execute(&mut conn, language.set()).await;
        execute(&mut conn, "SET lock_timeout = '120ms'").await;
        for at_gate in [true, false] {
            for wait in [Wait::Inherit, Wait::AtMost(Duration::from_millis(120))] {
                let case = format!("{language:?}, {wait:?}, at the gate: {at_gate}");
                let name = unique("permits.vain");
                let mut holder = holder(&name, 2);
                if at_gate {
                    holder.lock(gate(&name));
                }
                let lock = wait.on(conn.advisory_session(&name).permits(2));
                let error = unavailable(lock.acquire().await.map(drop).unwrap_err());
                assert!(error.waited >= Duration::from_millis(120), "{case}");
                assert_eq!(error.holders.len(), 2, "{case}");
                assert_eq!(error.waiting.len(), usize::from(at_gate), "{case}");
                let lock = wait.on(conn.advisory_session(&name).permits(2));
                assert!(lock.try_acquire().await.unwrap().is_none(), "{case}");
                assert_eq!(lock_timeout(&mut conn).await, "120ms", "{case}");
                assert_clean(&mut conn).await;
            }
        }
    }
}

#[scenario]
async fn those_who_wait_are_told_in_their_order() {
    let (mut conn, name) = (connect().await, unique("permits.waiting"));
    let holder = holder(&name, 2);
    let (mut pids, mut waiters) = (Vec::new(), Vec::new());
    for waiting in 0..3 {
        let mut other = support::connect();
        pids.push(support::pid(&mut other));
        let name = name.clone();
        let lock = name.clone();
        waiters.push(std::thread::spawn(move || {
            let lock = diesel_advisory::AdvisoryConnection::advisory_session(&mut other, &lock);
            lock.permits(2).acquire().unwrap().release().unwrap();
        }));
        if waiting == 0 {
            wait_until("the first is at the gate", || {
                let mut conn = support::connect();
                diesel_advisory::AdvisoryConnection::is_advisory_locked(&mut conn, gate(&name))
                    .unwrap()
            });
        } else {
            wait_until_queued(gate(&name), waiting);
        }
    }
    // Nobody is overtaken, however many permits were free.
    let lock = conn.advisory_session(&name).permits(2).no_wait();
    let error = unavailable(lock.acquire().await.map(drop).unwrap_err());
    let waiting = error.waiting.iter().map(|waiting| waiting.pid);
    assert_eq!(waiting.collect::<Vec<_>>(), pids);
    let message = error.to_string();
    let told = format!("; waited for by pid {}; by pid {}", pids[0], pids[1]);
    assert!(message.contains(&told), "{message}");
    drop(holder);
    for waiter in waiters {
        waiter.join().unwrap();
    }
}

/// Only `no_wait` looks at the permits alone.
#[scenario]
async fn nobody_overtakes_those_at_the_gate() {
    let (mut conn, name) = (connect().await, unique("permits.overtaken"));
    let _at_gate = Holder::of(gate(&name));
    let lock = conn.advisory_session(&name).permits(2);
    let lock = lock.timeout(Duration::from_millis(20));
    assert!(lock.try_acquire().await.unwrap().is_none());
    let lock = conn.advisory_session(&name).permits(2).no_wait();
    lock.acquire().await.unwrap().release().await.unwrap();
}

#[scenario]
async fn a_nested_one_is_the_same_permit_again() {
    let mut conn = connect().await;
    let pid = pid(&mut conn).await;
    for wait in Wait::ALL {
        let name = unique("permits.nested");
        let first = Holder::of(permit(&name, 1));
        let lock = wait.on(conn.advisory_session(&name).permits(2));
        let mut outer = lock.acquire().await.unwrap();
        drop(first);
        // Others may have it, and whoever waits is not waited for.
        let at_gate = Holder::of(gate(&name));
        let lock = wait.on(outer.advisory_session(&name).permits(2));
        let inner = lock.acquire().await.unwrap();
        assert_eq!(locks_of(pid), 1, "{wait:?}");
        assert_free(permit(&name, 1));
        inner.release().await.unwrap();
        assert!(outer.is_held().await.unwrap(), "{wait:?}");
        assert_taken(permit(&name, 2));
        drop(at_gate);
        outer.release().await.unwrap();
        assert_free(permit(&name, 2));
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn a_session_with_other_locks_gets_a_permit_as_any_other() {
    let mut conn = connect().await;
    for wait in Wait::ALL {
        let (name, other) = (unique("permits.with"), unique("permits.with"));
        let mut outer = conn.advisory_session(&other).acquire().await.unwrap();
        let _first = Holder::of(permit(&name, 1));
        let lock = wait.on(outer.advisory_session(&name).permits(2));
        let inner = lock.acquire().await.unwrap();
        assert_taken(permit(&name, 2));
        inner.release().await.unwrap();
        outer.release().await.unwrap();
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn callers_with_different_numbers_share_the_permits() {
    let (mut two, mut three) = (connect().await, connect().await);
    let name = unique("permits.numbers");
    let holder = holder(&name, 2);
    let lock = two.advisory_session(&name).permits(2).no_wait();
    assert!(lock.try_acquire().await.unwrap().is_none());
    let lock = three.advisory_session(&name).permits(3);
    let third = lock.acquire().await.unwrap();
    assert_taken(permit(&name, 3));
    let mut four = connect().await;
    let lock = four.advisory_session(&name).permits(3).no_wait();
    assert!(lock.try_acquire().await.unwrap().is_none());
    drop(holder);
    let lock = two.advisory_session(&name).permits(2);
    let first = lock.acquire().await.unwrap();
    assert_taken(permit(&name, 1));
    first.release().await.unwrap();
    third.release().await.unwrap();
}

#[scenario]
async fn what_cannot_be_is_refused_before_anything_is_sent() {
    let (proxy, mut conn) = counted().await;
    proxy.reset();
    let name = unique("permits.refused");
    macro_rules! refused {
        ($($lock:expr => $why:literal),+ $(,)?) => {$(
            let acquired = $lock.acquire().await.map(drop);
            match acquired {
                Err(Error::Unsupported(why)) => assert!(why.contains($why), "{why}"),
                other => panic!("{other:?}"),
            }
        )+};
    }
    refused! {
        conn.advisory_session(&name).permits(0) => "at least one permit",
        conn.advisory_session(&name).permits(1_001) => "at most 1,000",
        conn.advisory_session(7).permits(3) => "need the name",
        conn.advisory_session((7, 7)).permits(3) => "need the name",
        conn.advisory_session(LockKey::from_name(&name)).permits(3) => "need the name",
        conn.advisory_session(LockId::hashtextextended(&name)).permits(3) => "need the name",
        conn.advisory_session(&name).permits(3).shared() => "remove `shared()`",
        conn.advisory_session(&name).permits(3).and("two") => "remove `and(…)`",
        conn.advisory_session(&name).and_all(["two"]).permits(3) => "remove `and(…)`",
    }
    let lock = conn.advisory_session(&name).permits(3).once();
    match lock.run(async |_| Ok::<_, Error>(())).await {
        Err(Error::Unsupported(why)) => assert!(why.contains("leave out `permits(…)`"), "{why}"),
        other => panic!("{other:?}"),
    }
    let acquired = conn.advisory_session("").permits(3).acquire().await;
    assert!(matches!(acquired.map(drop), Err(Error::EmptyName)));
    begin(&mut conn).await;
    proxy.reset();
    let acquired = conn.advisory_session(&name).permits(3).acquire().await;
    assert!(matches!(acquired.map(drop), Err(Error::InTransaction)));
    assert_eq!(proxy.sent().len(), 0);
    roll_back(&mut conn).await;
    proxy.reset();
    let lock = Box::new(conn).into_advisory_session(&name).permits(0);
    let ran = lock.lease(Duration::from_secs(3));
    let ran = ran.run(async |_| Ok::<_, Error>(())).await;
    assert!(matches!(ran, Err(Error::Unsupported(_))), "{ran:?}");
    assert_eq!(proxy.sent().len(), 0);
}

#[scenario]
async fn an_open_transaction_that_diesel_does_not_know_of_is_no_place_for_a_permit() {
    for wait in Wait::ALL {
        let (mut conn, name) = (connect().await, unique("permits.begun"));
        execute(&mut conn, "BEGIN").await;
        let lock = wait.on(conn.advisory_session(&name).permits(2));
        let held = lock.acquire().await.unwrap();
        let released = held.release().await;
        assert!(
            matches!(released, Err(Error::TransactionLeftOpen)),
            "{wait:?}: {released:?}"
        );
        assert_clean(&mut conn).await;
        let _holder = holder(&name, 2);
        if wait != Wait::No {
            execute(&mut conn, "BEGIN").await;
            let lock = wait.on(conn.advisory_session(&name).permits(2));
            let acquired = lock.acquire().await.map(drop);
            assert!(matches!(acquired, Err(Error::InTransaction)), "{wait:?}");
            execute(&mut conn, "ROLLBACK").await;
            assert_clean(&mut conn).await;
        }
    }
}

#[scenario]
async fn a_wait_that_is_cancelled_is_an_error_and_leaves_nothing() {
    for at_gate in [true, false] {
        let (mut conn, name) = (connect().await, unique("permits.cancelled"));
        let pid = pid(&mut conn).await;
        // Only while it waits: what is sent after the wait is not meant.
        let cancel = format!(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
             WHERE pid = {pid} AND wait_event_type = 'Lock'"
        );
        let mut holder = holder(&name, 2);
        if at_gate {
            holder.lock(gate(&name));
        }
        let waited_for = if at_gate {
            gate(&name)
        } else {
            permit(&name, 2)
        };
        let cancelled = holder.when_queued(waited_for, move |mut holder| {
            // One that comes in the moment in which a timeout fires is lost.
            wait_until("the statement is cancelled", || {
                holder.execute(&cancel);
                state_of(pid) != "active"
            });
            holder
        });
        let acquired = conn.advisory_session(&name).permits(2).acquire().await;
        let error = acquired.map(drop).unwrap_err();
        assert!(matches!(error, Error::Database(_)), "{error:?}");
        drop(cancelled.join().unwrap());
        assert_clean(&mut conn).await;
        let lock = conn.advisory_session(&name).permits(2).no_wait();
        lock.acquire().await.unwrap().release().await.unwrap();
    }
}

#[scenario]
async fn a_lease_holds_a_permit() {
    const TTL: Duration = Duration::from_secs(3);
    let name = unique("permits.lease");
    let _first = Holder::of(permit(&name, 1));
    let conn = Box::new(connect().await);
    let lock = conn.into_advisory_session(&name).permits(2);
    let ran = lock.lease(TTL).run(async |lease: Lease| {
        assert_taken(permit(&name, 2));
        let lock = Box::new(connect().await)
            .into_advisory_session(&name)
            .permits(2);
        let lock = lock.no_wait().lease(TTL);
        let other = lock.try_run(async |_| Ok::<_, Error>(())).await?;
        assert_eq!(other, None);
        lease.check()?;
        Ok::<_, Error>(7)
    });
    assert_eq!(ran.await.unwrap(), 7);
    assert_free(permit(&name, 2));
}

#[scenario]
async fn an_owned_connection_comes_back_with_its_permit_released() {
    let name = unique("permits.owned");
    let conn = Box::new(connect().await);
    let lock = conn.into_advisory_session(&name).permits(2);
    let held = lock.acquire().await.unwrap();
    assert_taken(permit(&name, 1));
    let mut conn = held.release_into().await.unwrap();
    assert_clean(&mut conn).await;
}

#[scenario]
async fn a_permit_is_shown_by_its_name_and_number() {
    let (mut conn, name) = (connect().await, unique("permits.shown"));
    let _first = Holder::of(permit(&name, 1));
    let lock = conn.advisory_session(&name).permits(3);
    let held = lock.acquire().await.unwrap();
    let mut names = inspect::Names::default();
    names.extend(inspect::LockName::permits(&name, 3));
    let second = shown(permit(&name, 2));
    assert_eq!(second.name(&names), format!("{name} (2 of 3)"));
    assert_eq!(names.display(gate(&name)), format!("{name} (gate)"));
    held.release().await.unwrap();
}

/// The lock as `inspect` shows it.
fn shown(key: LockKey) -> inspect::Lock {
    use diesel::{QueryDsl, RunQueryDsl};

    let locks = inspect::locks().filter(inspect::is_lock(key));
    locks.first(&mut support::connect()).unwrap()
}

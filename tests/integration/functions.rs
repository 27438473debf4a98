//! Every function of [`functions`], in a query of Diesel's, with its effect in `pg_locks`.

use diesel::prelude::*;
use diesel_advisory::{LockId, LockKey, functions};

use crate::support::{Holder, assert_free, connect, execute, locks_of, modes, pid};

const EXCLUSIVE: &str = "ExclusiveLock";
const SHARED: &str = "ShareLock";

/// Calls functions that return nothing.
macro_rules! call {
    ($conn:expr, $function:ident, $($key:expr),*) => {
        diesel::select(functions::$function($($key),*)).get_result::<()>($conn).unwrap()
    };
}

/// Calls functions that return whether it went well.
macro_rules! ask {
    ($conn:expr, $function:ident, $($key:expr),*) => {
        diesel::select(functions::$function($($key),*)).get_result::<bool>($conn).unwrap()
    };
}

#[test]
fn functions_of_session_locks() {
    let mut conn = connect();
    let (key, first, second) = (-9_001, 9_001, -1);
    let (single, pair) = (LockKey::BigInt(key), LockKey::Pair(first, second));

    call!(&mut conn, pg_advisory_lock, key);
    call!(&mut conn, pg_advisory_lock_pair, first, second);
    assert_eq!(
        [modes(&mut conn, single), modes(&mut conn, pair)],
        [EXCLUSIVE; 2]
    );
    assert!(ask!(&mut conn, pg_advisory_unlock, key));
    assert!(ask!(&mut conn, pg_advisory_unlock_pair, first, second));
    assert_eq!([modes(&mut conn, single), modes(&mut conn, pair)], [""; 2]);
    assert!(!ask!(&mut conn, pg_advisory_unlock, key));
    assert!(!ask!(&mut conn, pg_advisory_unlock_pair, first, second));

    call!(&mut conn, pg_advisory_lock_shared, key);
    call!(&mut conn, pg_advisory_lock_shared_pair, first, second);
    assert_eq!(
        [modes(&mut conn, single), modes(&mut conn, pair)],
        [SHARED; 2]
    );
    assert!(ask!(&mut conn, pg_advisory_unlock_shared, key));
    assert!(ask!(
        &mut conn,
        pg_advisory_unlock_shared_pair,
        first,
        second
    ));
    assert_eq!([modes(&mut conn, single), modes(&mut conn, pair)], [""; 2]);
    assert!(!ask!(&mut conn, pg_advisory_unlock_shared, key));
    assert!(!ask!(
        &mut conn,
        pg_advisory_unlock_shared_pair,
        first,
        second
    ));

    assert!(ask!(&mut conn, pg_try_advisory_lock, key));
    assert!(ask!(&mut conn, pg_try_advisory_lock_pair, first, second));
    assert_eq!(
        [modes(&mut conn, single), modes(&mut conn, pair)],
        [EXCLUSIVE; 2]
    );
    call!(&mut conn, pg_advisory_unlock_all,);
    assert_eq!([modes(&mut conn, single), modes(&mut conn, pair)], [""; 2]);

    assert!(ask!(&mut conn, pg_try_advisory_lock_shared, key));
    assert!(ask!(
        &mut conn,
        pg_try_advisory_lock_shared_pair,
        first,
        second
    ));
    assert_eq!(
        [modes(&mut conn, single), modes(&mut conn, pair)],
        [SHARED; 2]
    );
    call!(&mut conn, pg_advisory_unlock_all,);
    assert_free(single);
    assert_free(pair);
}

#[test]
fn functions_of_transaction_locks() {
    let mut conn = connect();
    let (key, first, second) = (-9_002, 9_002, -1);
    let (single, pair) = (LockKey::BigInt(key), LockKey::Pair(first, second));
    let both = |conn: &mut PgConnection| [modes(conn, single), modes(conn, pair)];
    let mut inside: Vec<[String; 2]> = Vec::new();
    let mut in_transaction = |lock: &dyn Fn(&mut PgConnection)| {
        let held = conn.transaction(|conn| {
            lock(conn);
            // They are not the session's, so that it has nothing to unlock.
            call!(conn, pg_advisory_unlock_all,);
            QueryResult::Ok(both(conn))
        });
        inside.push(held.unwrap());
        assert_eq!(both(&mut conn), [""; 2]);
    };
    in_transaction(&|conn| {
        call!(conn, pg_advisory_xact_lock, key);
        call!(conn, pg_advisory_xact_lock_pair, first, second);
    });
    in_transaction(&|conn| {
        assert!(ask!(conn, pg_try_advisory_xact_lock, key));
        assert!(ask!(conn, pg_try_advisory_xact_lock_pair, first, second));
    });
    in_transaction(&|conn| {
        call!(conn, pg_advisory_xact_lock_shared, key);
        call!(conn, pg_advisory_xact_lock_shared_pair, first, second);
    });
    in_transaction(&|conn| {
        assert!(ask!(conn, pg_try_advisory_xact_lock_shared, key));
        assert!(ask!(
            conn,
            pg_try_advisory_xact_lock_shared_pair,
            first,
            second
        ));
    });
    assert_eq!(
        inside,
        [[EXCLUSIVE; 2], [EXCLUSIVE; 2], [SHARED; 2], [SHARED; 2]]
    );
    assert_free(single);
    assert_free(pair);
}

#[test]
fn functions_that_try_in_vain() {
    let (key, first, second) = (-9_003, 9_003, -1);
    let _single = Holder::of(key);
    let _pair = Holder::of((first, second));
    let mut conn = connect();
    assert!(!ask!(&mut conn, pg_try_advisory_lock, key));
    assert!(!ask!(&mut conn, pg_try_advisory_lock_pair, first, second));
    assert!(!ask!(&mut conn, pg_try_advisory_lock_shared, key));
    assert!(!ask!(
        &mut conn,
        pg_try_advisory_lock_shared_pair,
        first,
        second
    ));
    assert!(!ask!(&mut conn, pg_try_advisory_xact_lock, key));
    assert!(!ask!(
        &mut conn,
        pg_try_advisory_xact_lock_pair,
        first,
        second
    ));
    assert!(!ask!(&mut conn, pg_try_advisory_xact_lock_shared, key));
    assert!(!ask!(
        &mut conn,
        pg_try_advisory_xact_lock_shared_pair,
        first,
        second
    ));
    assert_eq!(locks_of(pid(&mut conn)), 0);
}

#[test]
fn a_function_in_a_query_over_a_table() {
    diesel::table! {
        jobs (id) {
            id -> Integer,
        }
    }
    let mut conn = connect();
    execute(
        &mut conn,
        "CREATE TEMPORARY TABLE jobs AS SELECT generate_series(1, 4) AS id",
    );
    let _busy = Holder::of((9_004, 2));
    let mine = conn.transaction(|conn| {
        let mine = jobs::table
            .filter(functions::pg_try_advisory_xact_lock_pair(9_004, jobs::id))
            .select(jobs::id)
            .order(jobs::id)
            .load::<i32>(conn)?;
        let pid = pid(conn);
        assert_eq!(locks_of(pid), 3);
        QueryResult::Ok(mine)
    });
    assert_eq!(mine, Ok(vec![1, 3, 4]));
    assert_free(LockId::from((9_004, 1)));
}

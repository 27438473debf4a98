//! How long to wait, and what comes if that was in vain.

use super::*;

const HELD: &str = "attribute.held by another";

fn hold() -> Holder {
    Holder::of(HELD)
}

#[derive(Debug)]
enum AppError {
    Lock(Error),
    #[expect(dead_code, reason = "it stands for the other errors of an application")]
    Other,
}

impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        Self::Lock(error)
    }
}

#[advisory(HELD, timeout = "20ms")]
fn with_own_error(_conn: &mut PgConnection) -> Result<(), AppError> {
    unreachable!("the lock is held by another")
}

#[advisory(HELD, no_wait)]
fn with_diesel_error(_conn: &mut PgConnection) -> QueryResult<i32> {
    unreachable!("the lock is held by another")
}

#[advisory(HELD, timeout = Duration::from_millis(1))]
fn with_boxed_error(_conn: &mut PgConnection) -> Result<(), Box<dyn StdError + Send + Sync>> {
    unreachable!("the lock is held by another")
}

#[advisory(HELD, timeout = patience, session)]
fn with_anyhow(_conn: &mut PgConnection, patience: Duration) -> anyhow::Result<()> {
    unreachable!("the lock is held by another")
}

#[test]
fn unavailable_is_an_error_of_the_own_type() {
    let (holder, mut conn) = (hold(), connect());

    let AppError::Lock(error) = with_own_error(&mut conn).unwrap_err() else {
        panic!("the lock is held by another");
    };
    assert!(error.is_unavailable());
    assert!(unavailable(error).to_string().contains(HELD));

    let error: DieselError = with_diesel_error(&mut conn).unwrap_err();
    assert!(Error::find_in(&error).is_some_and(Error::is_unavailable));

    let error = with_boxed_error(&mut conn).unwrap_err();
    assert!(Error::find_in(&*error).is_some_and(Error::is_unavailable));

    let error = with_anyhow(&mut conn, Duration::from_millis(1)).unwrap_err();
    assert!(Error::find_in(error.as_ref()).is_some_and(Error::is_unavailable));

    assert_clean(&mut conn);
    drop(holder);
}

#[test]
fn timeout_none_waits_whatever_lock_timeout_says() {
    #[advisory("attribute.forever", timeout = None)]
    fn forever(_conn: &mut PgConnection) -> QueryResult<()> {
        Ok(())
    }

    let mut conn = connect();
    diesel::sql_query("SET lock_timeout = '1ms'")
        .execute(&mut conn)
        .unwrap();
    let released = Holder::of("attribute.forever").until_queued("attribute.forever");
    forever(&mut conn).unwrap();
    released.join().unwrap();
}

#[test]
fn shared_locks_do_not_exclude_each_other() {
    #[advisory("attribute.shared", shared, no_wait)]
    fn read(_conn: &mut PgConnection, depth: u32) -> QueryResult<()> {
        match depth {
            0 => Ok(()),
            depth => read(&mut connect(), depth - 1),
        }
    }

    read(&mut connect(), 2).unwrap();
    let mut holder = Holder::of("attribute.another");
    holder.lock_shared("attribute.shared");
    read(&mut connect(), 2).unwrap();
}

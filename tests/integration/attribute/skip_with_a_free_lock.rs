//! `skip` changes nothing as long as the lock is free.

use super::*;

#[advisory("attribute.skip, free", no_wait, skip)]
fn optional(_conn: &mut PgConnection, value: QueryResult<i32>) -> QueryResult<Option<i32>> {
    assert_locked("attribute.skip, free");
    value.map(Some)
}

#[test]
fn runs_the_body() {
    let mut conn = connect();
    assert_eq!(optional(&mut conn, Ok(1)), Ok(Some(1)));
    let failed = optional(&mut conn, Err(DieselError::NotFound));
    assert_eq!(failed, Err(DieselError::NotFound));
    assert_clean(&mut conn);
}

//! The option `allow_standby`.

use super::{Error, PgConnection, Sandbox, advisory};
use crate::support::connect_to;

#[advisory("attribute.standby", allow_standby)]
fn allowed(_conn: &mut PgConnection) -> Result<(), Error> {
    Ok(())
}

#[advisory("attribute.standby")]
fn refused(_conn: &mut PgConnection) -> Result<(), Error> {
    Ok(())
}

#[test]
fn a_function_runs_on_a_standby_only_if_it_says_so() {
    let primary = Sandbox::start().unwrap();
    let standby = primary.standby().start().unwrap();
    let mut conn = connect_to(standby.url());
    allowed(&mut conn).unwrap();
    let error = refused(&mut conn).unwrap_err();
    assert!(matches!(error, Error::Standby), "{error:?}");
}

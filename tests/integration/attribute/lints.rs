//! Checked by clippy: what it would report of a function it reports still, and nothing else.

use super::*;

#[advisory("attribute.lints")]
#[expect(clippy::needless_pass_by_value)]
fn by_value(_conn: &mut PgConnection, name: String) -> QueryResult<usize> {
    Ok(name.len())
}

#[advisory("attribute.lints")]
#[expect(clippy::needless_question_mark)]
fn returns(_conn: &mut PgConnection, value: QueryResult<()>) -> QueryResult<()> {
    Ok(value?)
}

#[advisory("attribute.lints")]
#[expect(clippy::used_underscore_binding)]
fn uses(_conn: &mut PgConnection) -> QueryResult<usize> {
    diesel::sql_query("SELECT 1").execute(_conn)
}

#[advisory("attribute.lints")]
#[warn(clippy::shadow_reuse, clippy::shadow_same, clippy::shadow_unrelated)]
fn shadows(conn: &mut PgConnection, rows: usize) -> QueryResult<usize> {
    #[expect(clippy::shadow_reuse)]
    let rows = rows + diesel::sql_query("SELECT 1").execute(conn)?;
    Ok(rows)
}

struct Ledger;

impl Ledger {
    #[advisory("attribute.lints:{id}")]
    #[expect(clippy::let_and_return, clippy::unused_self)]
    fn bind(&self, conn: &mut PgConnection, id: i32) -> QueryResult<usize> {
        let rows = diesel::sql_query("SELECT 1").execute(conn);
        rows
    }
}

#[test]
fn do_not_change_what_runs() {
    let conn = &mut connect();
    assert_eq!(by_value(conn, "name".to_owned()), Ok(4));
    assert_eq!(returns(conn, Ok(())), Ok(()));
    assert_eq!(uses(conn), Ok(1));
    assert_eq!(shadows(conn, 1), Ok(2));
    assert_eq!(Ledger.bind(conn, 1), Ok(1));
}

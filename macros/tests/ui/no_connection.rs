use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory]
fn close() -> QueryResult<()> {
    Ok(())
}

#[advisory]
async fn close_later() -> QueryResult<()> {
    Ok(())
}

struct Ledger {
    conn: PgConnection,
}

impl Ledger {
    #[advisory]
    fn close(&mut self) -> QueryResult<()> {
        diesel::sql_query("SELECT 1").execute(&mut self.conn)?;
        Ok(())
    }

    #[advisory("ledger:{_month}")]
    fn close_month(&mut self, _month: i32) -> QueryResult<usize> {
        diesel::sql_query("SELECT 1").execute(&mut self.conn)
    }
}

fn main() {
    let _ = (close, close_later, Ledger::close, Ledger::close_month);
}

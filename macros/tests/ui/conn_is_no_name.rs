use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books", conn = "db")]
fn close(db: &mut PgConnection) -> QueryResult<()> {
    drop(db);
    Ok(())
}

#[advisory("books", conn)]
fn open(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

struct Ledger {
    conn: PgConnection,
}

impl Ledger {
    #[advisory("books", conn = self.conn)]
    fn close(&mut self) -> QueryResult<usize> {
        diesel::sql_query("SELECT 1").execute(&mut self.conn)
    }
}

fn main() {
    let _ = (close, open, Ledger::close);
}

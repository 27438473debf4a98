use diesel::prelude::*;
use diesel_advisory::advisory;

trait Ledger {
    #[advisory("books")]
    fn close(&self, conn: &mut PgConnection) -> QueryResult<()>;
}

fn main() {
    let _ = <() as Ledger>::close;
}

impl Ledger for () {
    fn close(&self, _conn: &mut PgConnection) -> QueryResult<()> {
        Ok(())
    }
}

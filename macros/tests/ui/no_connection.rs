use diesel::prelude::*;
use diesel_advisory::advisory;

struct Ledger;

impl Ledger {
    #[advisory]
    fn close(&self) -> QueryResult<()> {
        Ok(())
    }
}

fn main() {
    let _ = Ledger.close();
}

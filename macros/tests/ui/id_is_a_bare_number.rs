use diesel::prelude::*;
use diesel_advisory::advisory;

struct Invoice {
    id: i32,
}

impl Invoice {
    #[advisory(self.id)]
    fn bill(&self, _conn: &mut PgConnection) -> QueryResult<()> {
        Ok(())
    }
}

fn main() {
    let _ = Invoice::bill;
}

use diesel::prelude::*;
use diesel_advisory::advisory;

struct Invoice {
    id: i32,
}

impl Invoice {
    #[advisory("invoice:{self.id}")]
    fn bill(&self, conn: &mut PgConnection) -> QueryResult<i32> {
        drop(conn);
        Ok(self.id)
    }
}

#[advisory("invoice:{")]
fn open(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("invoice:}")]
fn close(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

fn main() {
    let _ = (Invoice::bill, open, close);
}

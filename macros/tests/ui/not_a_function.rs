use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books")]
pub struct Books {
    month: i32,
}

fn main() {
    let _ = Books { month: 1 };
    let _: Option<PgConnection> = None;
}

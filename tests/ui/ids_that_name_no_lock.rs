//! A bare number is also the number of a row in every other table.

use diesel::PgConnection;
use diesel_advisory::AdvisoryConnection;

struct Uuid;

fn locks(conn: &mut PgConnection, row: i32, unsigned: u64, index: usize, uuid: Uuid) {
    let _ = conn.advisory(row);
    let _ = conn.advisory_xact(unsigned);
    let _ = conn.advisory_session(index);
    let _ = conn.advisory(uuid);
}

fn main() {}

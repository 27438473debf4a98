//! Connections that cannot be locked as they are, and what to lock instead.

use diesel::connection::BoxableConnection;
use diesel::migration::{Migration, MigrationMetadata, MigrationName, Result};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};

use crate::support::{assert_free, assert_taken, connect, unique};

#[derive(diesel::MultiConnection)]
enum Either {
    Postgres(PgConnection),
}

#[test]
fn a_multi_connection_is_locked_by_the_connection_inside() {
    let (either, lock) = (Either::Postgres(connect()), unique("connections.multi"));
    let Either::Postgres(mut conn) = either;
    let run = conn.advisory(&lock).run(|_| {
        assert_taken(lock.clone());
        Ok::<_, Error>(())
    });
    run.unwrap();
    assert_free(lock);
}

/// A migration written in Rust, which asks for a lock.
struct Locking(String);

impl Migration<Pg> for Locking {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> Result<()> {
        let conn = conn.downcast_mut::<PgConnection>().unwrap();
        conn.advisory_xact(&self.0).acquire()?;
        assert_taken(self.0.clone());
        Ok(())
    }

    fn revert(&self, _: &mut dyn BoxableConnection<Pg>) -> Result<()> {
        Ok(())
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        unimplemented!("nobody asks")
    }

    fn name(&self) -> &dyn MigrationName {
        unimplemented!("nobody asks")
    }
}

#[test]
fn a_migration_in_rust_locks_the_connection_inside() {
    let lock = unique("connections.migration");
    let mut conn = connect();
    let migration = Locking(lock.clone());
    conn.transaction(|conn| migration.run(conn)).unwrap();
    assert_free(lock);
}

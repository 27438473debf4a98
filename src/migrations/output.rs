//! What the harness writes.

use std::io::Write;

use diesel::migration::{Migration, MigrationVersion, Result};
use diesel::pg::Pg;
use diesel_migrations::{HarnessWithOutput, MigrationHarness};

/// The connection, with what it runs and reverts written to the output.
pub(super) struct Reporting<'r, C> {
    pub(super) conn: &'r mut C,
    pub(super) output: Option<&'r mut (dyn Write + Send + 'static)>,
}

impl<C: MigrationHarness<Pg>> MigrationHarness<Pg> for Reporting<'_, C> {
    fn run_migration(
        &mut self,
        migration: &dyn Migration<Pg>,
    ) -> Result<MigrationVersion<'static>> {
        match &mut self.output {
            None => self.conn.run_migration(migration),
            Some(output) => HarnessWithOutput::new(self.conn, output).run_migration(migration),
        }
    }

    fn revert_migration(
        &mut self,
        migration: &dyn Migration<Pg>,
    ) -> Result<MigrationVersion<'static>> {
        match &mut self.output {
            None => self.conn.revert_migration(migration),
            Some(output) => HarnessWithOutput::new(self.conn, output).revert_migration(migration),
        }
    }

    fn applied_migrations(&mut self) -> Result<Vec<MigrationVersion<'static>>> {
        self.conn.applied_migrations()
    }
}

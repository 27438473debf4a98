//! The harness as Diesel's trait has it: every run and revert under the lock.

use diesel::connection::LoadConnection;
use diesel::migration::{Migration, MigrationSource, MigrationVersion, Result};
use diesel::pg::Pg;
use diesel_migrations::{MigrationError, MigrationHarness};

use super::harness::LockedHarness;

impl<C> MigrationHarness<Pg> for LockedHarness<'_, C>
where
    C: LoadConnection<Backend = Pg> + MigrationHarness<Pg>,
{
    fn run_pending_migrations<S>(&mut self, source: S) -> Result<Vec<MigrationVersion<'_>>>
    where
        S: MigrationSource<Pg>,
    {
        let applied = self.applied()?;
        if !applied.lacks_any_of(&source)? {
            return Ok(Vec::new());
        }
        self.locked_in(&applied.schema, |harness| {
            let versions = harness.run_pending_migrations(source)?;
            Ok(owned(&versions))
        })
    }

    fn run_migrations(
        &mut self,
        migrations: &[Box<dyn Migration<Pg>>],
    ) -> Result<Vec<MigrationVersion<'_>>> {
        let applied = self.applied()?;
        if migrations
            .iter()
            .all(|migration| applied.contains(migration))
        {
            let versions = migrations
                .iter()
                .map(|migration| migration.name().version().as_owned());
            return Ok(versions.collect());
        }
        self.locked_in(&applied.schema, |harness| {
            let migrations = migrations.iter();
            migrations
                .map(|migration| run_once(harness, migration))
                .collect()
        })
    }

    fn run_next_migration<S>(&mut self, source: S) -> Result<MigrationVersion<'_>>
    where
        S: MigrationSource<Pg>,
    {
        let applied = self.applied()?;
        if !applied.lacks_any_of(&source)? {
            return Err(MigrationError::NoMigrationRun.into());
        }
        self.locked_in(&applied.schema, |harness| {
            let version = harness.run_next_migration(source)?;
            Ok(version.as_owned())
        })
    }

    fn revert_all_migrations<S>(&mut self, source: S) -> Result<Vec<MigrationVersion<'_>>>
    where
        S: MigrationSource<Pg>,
    {
        let applied = self.applied()?;
        if applied.versions.is_empty() {
            return Ok(Vec::new());
        }
        self.locked_in(&applied.schema, |harness| {
            let versions = harness.revert_all_migrations(source)?;
            Ok(owned(&versions))
        })
    }

    fn revert_last_migration<S>(&mut self, source: S) -> Result<MigrationVersion<'static>>
    where
        S: MigrationSource<Pg>,
    {
        let applied = self.applied()?;
        if applied.versions.is_empty() {
            return Err(MigrationError::NoMigrationRun.into());
        }
        self.locked_in(&applied.schema, |harness| {
            harness.revert_last_migration(source)
        })
    }

    fn run_migration(
        &mut self,
        migration: &dyn Migration<Pg>,
    ) -> Result<MigrationVersion<'static>> {
        let applied = self.applied()?;
        if applied.contains(migration) {
            return Ok(migration.name().version().as_owned());
        }
        self.locked_in(&applied.schema, |harness| run_once(harness, migration))
    }

    fn revert_migration(
        &mut self,
        migration: &dyn Migration<Pg>,
    ) -> Result<MigrationVersion<'static>> {
        let applied = self.applied()?;
        if !applied.contains(migration) {
            return Ok(migration.name().version().as_owned());
        }
        self.locked_in(&applied.schema, |harness| {
            let version = migration.name().version().as_owned();
            if harness.applied_migrations()?.contains(&version) {
                harness.revert_migration(migration)?;
            }
            Ok(version)
        })
    }

    fn applied_migrations(&mut self) -> Result<Vec<MigrationVersion<'static>>> {
        Ok(self.applied()?.versions)
    }
}

/// Runs a migration unless another process has run it. The lock is held.
fn run_once<H>(harness: &mut H, migration: &dyn Migration<Pg>) -> Result<MigrationVersion<'static>>
where
    H: MigrationHarness<Pg>,
{
    let version = migration.name().version().as_owned();
    // This also creates Diesel's table, if it is missing.
    if !harness.applied_migrations()?.contains(&version) {
        harness.run_migration(migration)?;
    }
    Ok(version)
}

fn owned(versions: &[MigrationVersion<'_>]) -> Vec<MigrationVersion<'static>> {
    versions.iter().map(MigrationVersion::as_owned).collect()
}

//! Migrations in Rust, to look and to wait inside of them.

use std::fmt;
use std::sync::Arc;

use diesel::connection::BoxableConnection;
use diesel::migration::{
    Migration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion, Result,
};
use diesel::pg::Pg;
use diesel::prelude::*;

/// What a step does, forwards and backwards.
type Work = dyn Fn(&mut PgConnection) -> Result<()> + Send + Sync;

/// Migrations, numbered from 1. Each runs in a transaction of its own, unless told otherwise.
#[derive(Clone, Default)]
pub(crate) struct Steps {
    works: Vec<Arc<Work>>,
    outside_of_transactions: bool,
}

impl Steps {
    pub(crate) fn of(
        work: impl Fn(&mut PgConnection) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::default().then(work)
    }

    pub(crate) fn then(
        mut self,
        work: impl Fn(&mut PgConnection) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.works.push(Arc::new(work));
        self
    }

    /// Adds a step of plain SQL.
    pub(crate) fn then_sql(self, sql: &'static str) -> Self {
        self.then(move |conn| {
            diesel::sql_query(sql).execute(conn)?;
            Ok(())
        })
    }

    pub(crate) fn outside_of_transactions(mut self) -> Self {
        self.outside_of_transactions = true;
        self
    }
}

impl MigrationSource<Pg> for Steps {
    fn migrations(&self) -> Result<Vec<Box<dyn Migration<Pg>>>> {
        let steps = (1..).zip(&self.works).map(|(number, work)| {
            Box::new(Step {
                work: Arc::clone(work),
                name: Name(format!("{number:014}")),
                in_transaction: InTransaction(!self.outside_of_transactions),
            }) as Box<dyn Migration<Pg>>
        });
        Ok(steps.collect())
    }
}

struct Step {
    work: Arc<Work>,
    name: Name,
    in_transaction: InTransaction,
}

impl Migration<Pg> for Step {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> Result<()> {
        (self.work)(conn.downcast_mut().unwrap())
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<Pg>) -> Result<()> {
        (self.work)(conn.downcast_mut().unwrap())
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        &self.in_transaction
    }

    fn name(&self) -> &dyn MigrationName {
        &self.name
    }
}

struct Name(String);

impl MigrationName for Name {
    fn version(&self) -> MigrationVersion<'_> {
        MigrationVersion::from(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct InTransaction(bool);

impl MigrationMetadata for InTransaction {
    fn run_in_transaction(&self) -> bool {
        self.0
    }
}

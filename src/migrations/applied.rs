//! Which migrations have been applied, without writing anything.

use diesel::connection::LoadConnection;
use diesel::deserialize::QueryableByName;
use diesel::migration::{Migration, MigrationSource, MigrationVersion, Result};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Nullable, Text};

/// The migrations that have been applied, and the schema of Diesel's table of them.
#[derive(Debug)]
pub(super) struct Applied {
    /// The schema that Diesel finds the table in, or creates it in.
    pub(super) schema: String,
    /// The latest first.
    pub(super) versions: Vec<MigrationVersion<'static>>,
}

#[derive(QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct TableRow {
    #[diesel(sql_type = Nullable<Text>)]
    schema: Option<String>,
    #[diesel(sql_type = Bool)]
    exists: bool,
}

#[derive(QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct VersionRow {
    #[diesel(sql_type = Text)]
    version: MigrationVersion<'static>,
}

impl Applied {
    /// Reads the table.
    ///
    /// Diesel itself creates the table first, if it does not exist. PostgreSQL refuses that to a role that
    /// may only read, and on a standby, even if the table exists. And if two processes do it at the same
    /// time, one can fail.
    pub(super) fn read<C: LoadConnection<Backend = Pg>>(conn: &mut C) -> QueryResult<Self> {
        let table = sql_query(
            "SELECT pg_catalog.current_schema()::pg_catalog.text AS schema, \
             pg_catalog.to_regclass(pg_catalog.concat(pg_catalog.quote_ident(\
             pg_catalog.current_schema()), '.__diesel_schema_migrations')) IS NOT NULL AS exists",
        );
        let TableRow { schema, exists } = table.get_result(conn)?;
        let mut versions = Vec::new();
        if exists {
            let rows = sql_query(
                "SELECT version::pg_catalog.text FROM __diesel_schema_migrations \
                 ORDER BY version DESC",
            );
            let rows = rows.load::<VersionRow>(conn)?.into_iter();
            versions = rows.map(|row| row.version).collect();
        }
        Ok(Self {
            // Without a schema, Diesel cannot create its table either, and reports that.
            schema: schema.unwrap_or_default(),
            versions,
        })
    }

    pub(super) fn contains(&self, migration: &dyn Migration<Pg>) -> bool {
        self.versions.contains(&migration.name().version())
    }

    /// Whether a migration of the source has not been applied.
    pub(super) fn lacks_any_of<S: MigrationSource<Pg>>(&self, source: &S) -> Result<bool> {
        let migrations = source.migrations()?;
        Ok(!migrations.iter().all(|migration| self.contains(migration)))
    }
}

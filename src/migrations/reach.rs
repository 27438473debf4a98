//! The way from a harness to its connection.

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write;
use std::marker::PhantomData;

use diesel::connection::{BoxableConnection, LoadConnection};
use diesel::migration::{Migration, MigrationMetadata, MigrationName, MigrationVersion, Result};
use diesel::pg::Pg;
use diesel_migrations::{HarnessWithOutput, MigrationHarness};

/// A harness that [`LockedHarness`](super::LockedHarness) can lock: a connection, or a
/// [`HarnessWithOutput`] around one.
///
/// `How` is there for the compiler to tell the two apart; you never name it.
#[diagnostic::on_unimplemented(
    message = "`LockedHarness` cannot reach the connection in `{Self}`",
    label = "neither a connection nor a `HarnessWithOutput` around one",
    note = "for `diesel-async`, lock an `AsyncConnectionWrapper`"
)]
pub trait Lockable<How>: MigrationHarness<Pg> + sealed::Sealed<How> {
    /// The type of its connection.
    type Connection: LoadConnection<Backend = Pg> + 'static;

    #[doc(hidden)]
    fn with_connection<T>(&mut self, visit: impl FnOnce(&mut Self::Connection) -> T) -> Result<T>;
}

/// How a connection is locked: as it is.
#[derive(Debug, Clone, Copy)]
pub struct Directly(());

/// How a [`HarnessWithOutput`] is locked: on the connection of what it is around.
#[derive(Debug, Clone, Copy)]
pub struct Through<How>(PhantomData<How>);

mod sealed {
    pub trait Sealed<How> {}
}

impl<C> sealed::Sealed<Directly> for C where C: LoadConnection<Backend = Pg> {}

impl<C> Lockable<Directly> for C
where
    C: LoadConnection<Backend = Pg> + MigrationHarness<Pg> + 'static,
{
    type Connection = C;

    fn with_connection<T>(&mut self, visit: impl FnOnce(&mut C) -> T) -> Result<T> {
        Ok(visit(self))
    }
}

impl<H, W, How> sealed::Sealed<Through<How>> for HarnessWithOutput<'_, H, W> {}

impl<H, W, How> Lockable<Through<How>> for HarnessWithOutput<'_, H, W>
where
    H: Lockable<How>,
    W: Write,
{
    type Connection = H::Connection;

    /// Diesel keeps the connection private, and hands it out to migrations only. So a migration
    /// goes and visits it. It fails in the end, and a migration that fails is recorded nowhere.
    fn with_connection<T>(&mut self, visit: impl FnOnce(&mut H::Connection) -> T) -> Result<T> {
        let visitor = Visitor {
            visit: Cell::new(Some(visit)),
            answer: RefCell::new(None),
            connection: PhantomData,
        };
        let end = self.run_migration(&visitor);
        match (visitor.answer.into_inner(), end) {
            (Some(answer), _) => Ok(answer),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err("the harness runs no migrations".into()),
        }
    }
}

/// A migration that does nothing to the schema.
struct Visitor<F, T, C> {
    visit: Cell<Option<F>>,
    answer: RefCell<Option<T>>,
    connection: PhantomData<fn(&mut C)>,
}

impl<F, T, C> Migration<Pg> for Visitor<F, T, C>
where
    F: FnOnce(&mut C) -> T,
    C: LoadConnection<Backend = Pg> + 'static,
{
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> Result<()> {
        let conn = conn.downcast_mut::<C>().ok_or_else(|| {
            format!(
                "the harness has another connection than a {}",
                type_name::<C>()
            )
        })?;
        if let Some(visit) = self.visit.take() {
            self.answer.replace(Some(visit(conn)));
        }
        Err("it only visits the connection".into())
    }

    fn revert(&self, _: &mut dyn BoxableConnection<Pg>) -> Result<()> {
        Err("it only visits the connection".into())
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        &OutsideOfTransactions
    }

    fn name(&self) -> &dyn MigrationName {
        &Unannounced
    }
}

struct OutsideOfTransactions;

impl MigrationMetadata for OutsideOfTransactions {
    fn run_in_transaction(&self) -> bool {
        false
    }
}

/// The version that Diesel has for its own set-up. [`HarnessWithOutput`] writes nothing about it.
struct Unannounced;

impl MigrationName for Unannounced {
    fn version(&self) -> MigrationVersion<'_> {
        "00000000000000".into()
    }
}

impl fmt::Display for Unannounced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("visit of the connection")
    }
}

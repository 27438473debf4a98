//! Leases under faults: nobody believes to hold what somebody else has.

mod faults;
mod leaders;
mod overlaps;
mod processes;

use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::{Error, IntoAdvisorySession, IntoAsyncAdvisorySession, Lease};

use crate::support::asynchronous;

/// The two kinds of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    Blocking,
    Async,
}

const COLOURS: [Colour; 2] = [Colour::Blocking, Colour::Async];

/// Leases the lock on a connection of its own, and has the work done in this thread, or in a task that may
/// block.
fn lease(
    colour: Colour,
    url: &str,
    lock: &str,
    ttl: Duration,
    wait: Duration,
    work: impl FnOnce(Lease) -> Result<(), Error> + Send + 'static,
) -> Result<(), Error> {
    match colour {
        Colour::Blocking => {
            let conn = Box::new(PgConnection::establish(url).map_err(bad)?);
            let lock = conn.into_advisory_session(lock).timeout(wait);
            lock.lease(ttl).run(work)
        }
        Colour::Async => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let leased = runtime.block_on(async {
                use diesel_async::{AsyncConnection, AsyncPgConnection};

                let conn = AsyncPgConnection::establish(url).await.map_err(bad)?;
                let lock = Box::new(conn).into_advisory_session(lock).timeout(wait);
                let run = lock
                    .lease(ttl)
                    .run(async |lease| tokio::task::spawn_blocking(|| work(lease)).await.unwrap());
                run.await
            });
            // A task that may block is not dropped with the work: it looks by itself.
            drop(runtime);
            leased
        }
    }
}

fn bad(error: ConnectionError) -> Error {
    Error::Database(diesel::result::Error::QueryBuilderError(Box::new(error)))
}

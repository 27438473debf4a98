//! The lease, as the options ask for it.

use std::pin::Pin;
use std::time::Duration;

use diesel_advisory::{
    AsyncAdvisoryConnection as _, AsyncAdvisoryInterval, AsyncAdvisorySession, Error,
    IntoAsyncAdvisorySession as _, Lease,
};
use diesel_async::AsyncPgConnection;
use tokio::sync::oneshot;

use crate::args::RunArgs;

/// A lease from the wait for its lock to its release.
pub(super) type Held<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// What is done under the lease: it is said that it is held, and the command is waited for.
pub(super) struct Work {
    granted: oneshot::Sender<Lease>,
    /// The command's exit code.
    done: oneshot::Receiver<u8>,
}

impl Work {
    pub(super) fn new(granted: oneshot::Sender<Lease>, done: oneshot::Receiver<u8>) -> Self {
        Self { granted, done }
    }

    async fn run(self, lease: Lease) -> Result<(), Ended> {
        let _ = self.granted.send(lease);
        match self.done.await {
            Ok(0) => Ok(()),
            _ => Err(Ended::Failed),
        }
    }
}

/// Why the work was not done.
enum Ended {
    /// The command has failed, which is no failure of the lock.
    Failed,
    Library(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl Ended {
    fn of_library(ended: Result<(), Self>) -> Result<(), Error> {
        match ended {
            Ok(()) | Err(Self::Failed) => Ok(()),
            Err(Self::Library(error)) => Err(error),
        }
    }
}

/// Takes the lease, and holds it until the command is done.
pub(super) fn hold(args: &RunArgs, conn: AsyncPgConnection, work: Work) -> Held<'_> {
    let wait = if args.no_wait {
        Some(Duration::ZERO)
    } else {
        args.wait
    };
    let mut session = Box::new(conn)
        .into_advisory_session(args.name.as_str())
        .timeout(wait);
    if args.shared {
        session = session.shared();
    }
    if let Some(count) = args.permits {
        session = session.permits(count);
    }
    if args.once {
        return in_interval(args, session.once(), work);
    }
    if let Some(period) = args.every {
        return in_interval(args, session.at_most_every(period), work);
    }
    plain(args, session, work)
}

type Owned<'a> = AsyncAdvisorySession<'a, Box<AsyncPgConnection>>;

fn plain<'a>(args: &RunArgs, session: Owned<'a>, work: Work) -> Held<'a> {
    let lease = session.lease(args.ttl);
    Box::pin(async move {
        let ended = lease.run(async move |lease: Lease| work.run(lease).await);
        Ended::of_library(ended.await)
    })
}

/// The lock that the start is recorded under becomes a lease of the same session before the command begins.
fn in_interval<'a>(
    args: &'a RunArgs,
    mut interval: AsyncAdvisoryInterval<'a, Box<AsyncPgConnection>>,
    work: Work,
) -> Held<'a> {
    if args.retry_failed {
        interval = interval.retry_failed();
    }
    let (name, ttl) = (args.name.as_str(), args.ttl);
    Box::pin(async move {
        let ended = interval.run(async move |conn: &mut AsyncPgConnection| {
            let lease = conn.advisory_session(name).no_wait().lease(ttl);
            lease
                .run(async move |lease: Lease| work.run(lease).await)
                .await
        });
        Ended::of_library(ended.await)
    })
}

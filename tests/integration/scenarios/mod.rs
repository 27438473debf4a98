//! What holds for blocking and for asynchronous connections: written once, asynchronously, and
//! compiled for both.

#![allow(clippy::duplicate_mod, reason = "that is how it is compiled for both")]

#[cfg(feature = "async")]
#[path = "."]
pub(crate) mod asynchronous {
    mod answers;
    mod failed_wait;
    mod full;
    mod holders;
    mod ids;
    mod instrumentation;
    mod intervals;
    mod isolation;
    mod leases;
    mod log;
    mod nesting;
    mod permit_statements;
    mod permits;
    mod properties;
    mod races;
    mod rights;
    mod round_trips;
    mod search_path;
    mod session;
    mod session_round_trips;
    mod sets;
    #[cfg(feature = "tracing")]
    mod spans;
    mod standby;
    mod statements;
    mod tokens;
    mod transaction;
    mod waiting;
    mod xact;

    pub(crate) mod side {
        use std::time::Duration;

        use diesel_advisory::inspect::{self, Run};
        use diesel_advisory::{Error, catalog};

        pub(crate) use diesel_advisory::AsyncAdvisoryConnection as _;
        pub(crate) use diesel_advisory::IntoAsyncAdvisorySession as _;
        pub(crate) use diesel_advisory_test_macros::keep as helper;
        pub(crate) use diesel_async::{
            AnsiTransactionManager, AsyncConnection as _, AsyncPgConnection as Conn,
            SimpleAsyncConnection as _, TransactionManager,
        };
        pub(crate) use tokio::test as scenario;

        pub(crate) mod queries {
            pub(crate) use diesel_async::RunQueryDsl;
        }

        /// Lets others run meanwhile.
        pub(crate) async fn pause(millis: u64) {
            tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
        }

        /// Forgets runs.
        pub(crate) async fn forget(conn: &mut Conn, older_than: Duration) -> Result<usize, Error> {
            catalog::forget_runs_async(conn, older_than).await
        }

        /// Lists runs.
        pub(crate) async fn runs(conn: &mut Conn) -> Vec<Run> {
            queries::RunQueryDsl::load(inspect::runs(), conn)
                .await
                .unwrap()
        }

        pub(crate) use crate::support::asynchronous::*;

        /// Does all of it on this thread, which has no runtime.
        pub(crate) fn complete<T>(future: impl Future<Output = T>) -> T {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(future)
        }

        /// Whether a pool would throw it away.
        pub(crate) fn is_broken(conn: &mut Conn) -> bool {
            diesel_async::pooled_connection::PoolableConnection::is_broken(conn)
        }

        /// Does work that panics, as a task.
        pub(crate) async fn panics<F>(work: impl FnOnce() -> F)
        where
            F: Future<Output: Send> + Send + 'static,
        {
            let joined = tokio::spawn(work()).await;
            assert!(joined.is_err_and(|error| error.is_panic()));
        }

        /// The round trips of a run that does not wait.
        pub(crate) const RUN_WITHOUT_WAIT: usize = 3;

        /// The round trips of a question: `tokio-postgres` has it prepared first.
        pub(crate) const QUESTION: usize = 2;

        /// What an error costs beside: the driver reports it before the server is done with it.
        pub(crate) const ERROR: usize = 1;

        /// What a session lock that is not free costs beside: a query that is prepared tries it first.
        pub(crate) const TRY_FIRST: usize = 1;

        /// The message of a run that commits.
        pub(crate) const COMMIT: &str = "SAVEPOINT diesel_advisory_commit; COMMIT";
    }
}

#[path = "."]
pub(crate) mod blocking {
    mod answers;
    mod failed_wait;
    mod full;
    mod holders;
    mod ids;
    mod instrumentation;
    mod intervals;
    mod isolation;
    mod leases;
    mod log;
    mod nesting;
    mod permit_statements;
    mod permits;
    mod properties;
    mod races;
    mod rights;
    mod round_trips;
    mod search_path;
    mod session;
    mod session_round_trips;
    mod sets;
    #[cfg(feature = "tracing")]
    mod spans;
    mod standby;
    mod statements;
    mod tokens;
    mod transaction;
    mod waiting;
    mod xact;

    pub(crate) mod side {
        use std::time::Duration;

        use diesel_advisory::inspect::{self, Run};
        use diesel_advisory::{Error, catalog};

        pub(crate) use diesel::connection::{
            AnsiTransactionManager, SimpleConnection as _, TransactionManager,
        };
        pub(crate) use diesel::{Connection as _, PgConnection as Conn};
        pub(crate) use diesel_advisory::AdvisoryConnection as _;
        pub(crate) use diesel_advisory::IntoAdvisorySession as _;
        pub(crate) use diesel_advisory_test_macros::{
            blocking as helper, blocking_test as scenario,
        };

        pub(crate) mod queries {
            pub(crate) use diesel::RunQueryDsl;
        }

        pub(crate) fn pause(millis: u64) {
            std::thread::sleep(std::time::Duration::from_millis(millis));
        }

        /// Forgets runs.
        pub(crate) fn forget(conn: &mut Conn, older_than: Duration) -> Result<usize, Error> {
            catalog::forget_runs(conn, older_than)
        }

        /// Lists runs.
        pub(crate) fn runs(conn: &mut Conn) -> Vec<Run> {
            queries::RunQueryDsl::load(inspect::runs(), conn).unwrap()
        }

        pub(crate) use crate::support::blocking::connection::*;

        /// It is done already.
        pub(crate) fn complete<T>(done: T) -> T {
            done
        }

        /// Whether a pool would throw it away.
        pub(crate) fn is_broken(conn: &mut Conn) -> bool {
            diesel::r2d2::R2D2Connection::is_broken(conn)
        }

        /// Does work that panics, on a thread.
        pub(crate) fn panics<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) {
            assert!(std::thread::spawn(work).join().is_err());
        }

        /// The round trips of a run that does not wait: it begins, then tries, then commits.
        pub(crate) const RUN_WITHOUT_WAIT: usize = 3;

        /// The round trips of a question.
        pub(crate) const QUESTION: usize = 1;

        /// What an error costs beside.
        pub(crate) const ERROR: usize = 0;

        /// What a session lock that is not free costs beside.
        pub(crate) const TRY_FIRST: usize = 0;

        /// The message of a run that commits.
        pub(crate) const COMMIT: &str = "COMMIT";
    }
}

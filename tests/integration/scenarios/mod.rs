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
    mod isolation;
    mod leases;
    mod log;
    mod nesting;
    mod permit_statements;
    mod permits;
    mod properties;
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

        pub(crate) use crate::support::asynchronous::*;

        /// The round trips of a run that does not wait.
        pub(crate) const RUN_WITHOUT_WAIT: usize = 3;

        /// The round trips of a question: `tokio-postgres` has it prepared first.
        pub(crate) const QUESTION: usize = 2;

        /// What an error costs beside: the driver reports it before the server is done with it.
        pub(crate) const ERROR: usize = 1;

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
    mod isolation;
    mod leases;
    mod log;
    mod nesting;
    mod permit_statements;
    mod permits;
    mod properties;
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

        pub(crate) use crate::support::blocking::connection::*;

        /// The round trips of a run that does not wait: it begins, then tries, then commits.
        pub(crate) const RUN_WITHOUT_WAIT: usize = 3;

        /// The round trips of a question.
        pub(crate) const QUESTION: usize = 1;

        /// What an error costs beside.
        pub(crate) const ERROR: usize = 0;

        /// The message of a run that commits.
        pub(crate) const COMMIT: &str = "COMMIT";
    }
}

//! What holds for blocking and for asynchronous connections: written once, asynchronously, and
//! compiled for both.

#![allow(clippy::duplicate_mod, reason = "that is how it is compiled for both")]

#[cfg(feature = "async")]
mod async_round_trips;

#[cfg(feature = "async")]
#[path = "."]
mod asynchronous {
    mod outcomes;
    mod session;
    mod sets;
    mod transactions;

    mod side {
        pub(crate) use diesel_advisory::AsyncAdvisoryConnection as _;
        pub(crate) use diesel_advisory::IntoAsyncAdvisorySession as _;
        pub(crate) use diesel_advisory_test_macros::keep as helper;
        pub(crate) use diesel_async::{
            AnsiTransactionManager, AsyncConnection as _, AsyncPgConnection as Conn,
            TransactionManager,
        };
        pub(crate) use tokio::test as scenario;

        pub(crate) use crate::support::asynchronous::*;
    }
}

#[path = "."]
mod blocking {
    mod outcomes;
    mod session;
    mod sets;
    mod transactions;

    mod side {
        pub(crate) use diesel::connection::{AnsiTransactionManager, TransactionManager};
        pub(crate) use diesel::{Connection as _, PgConnection as Conn};
        pub(crate) use diesel_advisory::AdvisoryConnection as _;
        pub(crate) use diesel_advisory::IntoAdvisorySession as _;
        pub(crate) use diesel_advisory_test_macros::{
            blocking as helper, blocking_test as scenario,
        };

        pub(crate) use crate::support::{
            assert_clean, connect, execute, insert, integer, lock_timeout, pid, table,
        };
    }
}

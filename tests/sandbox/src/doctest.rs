//! What the doctests of `diesel-advisory` begin with.

use std::sync::atomic::{AtomicU32, Ordering};

/// Declares connections, each as a `&mut PgConnection` with the tables of [`schema`](crate::schema).
///
/// Begin with the hidden line `# diesel_advisory_sandbox::doctest!(conn, other);`.
#[macro_export]
macro_rules! doctest {
    ($($conn:ident),+) => {
        let url = $crate::database_url();
        $(
            let $conn: &mut ::diesel::PgConnection =
                &mut ::diesel::Connection::establish(&url).unwrap();
            ::diesel::connection::SimpleConnection::batch_execute($conn, $crate::schema::SET_UP)
                .unwrap();
        )+
    };
}

/// Runs async code with a `&mut AsyncPgConnection` that has the tables of [`schema`](crate::schema).
#[macro_export]
macro_rules! async_doctest {
    ($conn:ident, { $($body:tt)* }) => {
        async fn doctest(
            $conn: &mut ::diesel_async::AsyncPgConnection,
        ) -> ::std::result::Result<(), ::std::boxed::Box<dyn ::std::error::Error>> {
            $($body)*
            Ok(())
        }
        let runtime = ::tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let url = $crate::database_url();
            type Conn = ::diesel_async::AsyncPgConnection;
            let establish = <Conn as ::diesel_async::AsyncConnection>::establish(&url);
            let mut conn = establish.await.unwrap();
            ::diesel_async::SimpleAsyncConnection::batch_execute(&mut conn, $crate::schema::SET_UP)
                .await
                .unwrap();
            doctest(&mut conn).await.unwrap();
        });
    };
}

/// Makes an empty database on [`Sandbox::shared`](crate::Sandbox::shared), and evaluates to its URL: for examples
/// that would be in the way of others.
#[macro_export]
macro_rules! own_database {
    () => {{
        let shared = $crate::Sandbox::shared();
        let name = $crate::doctest::database_name();
        let mut owner =
            <::diesel::PgConnection as ::diesel::Connection>::establish(shared.url()).unwrap();
        let create = ::std::format!("CREATE DATABASE {name}");
        ::diesel::connection::SimpleConnection::batch_execute(&mut owner, &create).unwrap();
        shared.url_as("postgres", &name)
    }};
}

/// A name that no other database has.
#[doc(hidden)]
#[must_use]
pub fn database_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("doctest_{}_{count}", std::process::id())
}

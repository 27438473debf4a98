//! `AsyncFnOnce` cannot say that the future is `Send`.

use diesel_advisory::{AsyncAdvisoryConnection, Error};
use diesel_async::AsyncPgConnection;

async fn locked<F>(conn: &mut AsyncPgConnection, f: F) -> Result<(), Error>
where
    F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<(), Error> + Send,
{
    conn.advisory("import").run(f).await
}

fn main() {}

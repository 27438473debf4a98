//! Async closures whose futures can be sent to another thread.

use std::future::Future;

/// An async closure with a name for its future, so that a bound can require it to be [`Send`].
///
/// Implemented for every async closure, `async |conn| { … }`. A closure that returns an async block,
/// `|conn| async move { … }`, is not one: its future cannot borrow the connection.
///
/// `AsyncFnOnce` alone cannot say this yet, which is why `diesel-async` has such a trait for its own
/// `transaction`. To write a function that takes a closure and hands it on to `run`, use this bound:
///
/// ```
/// # diesel_advisory_sandbox::async_doctest!(conn, {
/// use diesel_advisory::{AsyncAdvisoryConnection, AsyncFunc, Error};
/// use diesel_async::AsyncPgConnection;
///
/// async fn locked<T, F>(conn: &mut AsyncPgConnection, f: F) -> Result<T, Error>
/// where
///     F: for<'c> AsyncFunc<&'c mut AsyncPgConnection, Result<T, Error>, Fut: Send> + Send,
///     T: Send,
/// {
///     conn.advisory("import").run(f).await
/// }
///
/// locked(conn, async |_conn| Ok(())).await?;
/// # });
/// ```
pub trait AsyncFunc<T, R>:
    AsyncFnOnce(T) -> R + FnOnce(T) -> <Self as AsyncFunc<T, R>>::Fut
{
    /// The future that the closure returns.
    type Fut: Future<Output = R>;
}

impl<F, T, R, Fut> AsyncFunc<T, R> for F
where
    F: AsyncFnOnce(T) -> R + FnOnce(T) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

//! The same locks for `diesel-async`.
//!
//! Only sending and receiving is written here: everything else is the [protocol](crate::protocol)
//! that blocking connections run as well.

#![expect(clippy::manual_async_fn, reason = "`Send` is part of the signatures")]

mod connection;
mod guard;
mod session;
mod transaction;
mod unfinished;
mod xact;

use std::future::Future;

pub use self::connection::{AsyncAdvisoryConnection, IntoAsyncAdvisorySession};
pub use self::guard::AsyncAdvisoryGuard;

/// The connection of an [`AdvisoryLock`](crate::AdvisoryLock) that is taken asynchronously.
#[derive(Debug)]
pub struct Async<C>(pub(crate) C);

/// An async closure with a name for its future, so that a bound can ask it to be [`Send`].
///
/// It is implemented for every async closure. `AsyncFnOnce` alone has no way to say it yet, which
/// is why `diesel-async` has such a trait for its own `transaction`.
pub trait AsyncFunc<T, R>:
    AsyncFnOnce(T) -> R + FnOnce(T) -> <Self as AsyncFunc<T, R>>::Fut
{
    /// What the closure returns.
    type Fut: Future<Output = R>;
}

impl<F, T, R, Fut> AsyncFunc<T, R> for F
where
    F: AsyncFnOnce(T) -> R + FnOnce(T) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

//! Futures that are dropped after so many polls.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// When a future that has been polled often enough is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// While the server has just been asked.
    AtOnce,
    /// When it could go on.
    Woken,
}

/// Polls a future so many times at most, and answers `None` if that is not enough.
pub(crate) struct Polls<F> {
    future: Pin<Box<F>>,
    left: usize,
    moment: Moment,
}

impl<F: Future> Polls<F> {
    pub(crate) fn at_most(polls: usize, moment: Moment, future: F) -> Self {
        Self {
            future: Box::pin(future),
            left: polls,
            moment,
        }
    }
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        match self.future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 && self.moment == Moment::AtOnce => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

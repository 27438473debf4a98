//! The ways in which programs drop futures.

use std::future::Future;
use std::time::Duration;

/// The ways in which programs drop futures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Timeout,
    Select,
    Abort,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Timeout, Self::Select, Self::Abort];

    /// Drops the future when the other one is done.
    pub(crate) async fn drop_after<T: Send + 'static>(
        self,
        done: impl Future<Output = ()>,
        future: impl Future<Output = T> + Send + 'static,
    ) {
        match self {
            Self::Timeout => {
                let mut timeout =
                    Box::pin(tokio::time::timeout(Duration::from_millis(300), future));
                tokio::select! {
                    result = &mut timeout => assert!(result.is_err()),
                    () = done => assert!(timeout.await.is_err()),
                }
            }
            Self::Select => tokio::select! {
                _ = future => panic!("it should wait"),
                () = done => {}
            },
            Self::Abort => {
                let task = tokio::spawn(future);
                done.await;
                task.abort();
                let Err(error) = task.await else {
                    panic!("it should wait");
                };
                assert!(error.is_cancelled());
            }
        }
    }
}

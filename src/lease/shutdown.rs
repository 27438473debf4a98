//! Tells blocking leaders to stop.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Stops blocking [`Leader`](crate::Leader)s: give them one, keep a clone, and call
/// [`shut_down`](Self::shut_down), from another thread or the handler of a signal.
///
/// # Example
///
/// ```
/// use diesel_advisory::Shutdown;
///
/// let shutdown = Shutdown::default();
/// let of_the_leader = shutdown.clone();
/// shutdown.shut_down();
/// assert!(of_the_leader.is_shut_down());
/// ```
#[derive(Clone, Default)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_down: bool,
    last: u64,
    /// What is to be stopped, by number.
    running: Vec<(u64, Box<dyn FnMut() + Send>)>,
}

impl Shutdown {
    /// Tells all leaders that have it to stop. It cannot be taken back.
    ///
    /// [`is_held`](crate::Lease::is_held) turns false for every lease of theirs. The locks are held until the work
    /// has returned, and are released then.
    pub fn shut_down(&self) {
        let mut state = self.state();
        state.is_down = true;
        for (_, stop) in &mut state.running {
            stop();
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Returns whether [`shut_down`](Self::shut_down) was called.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.state().is_down
    }

    /// Does something that is stopped by the function, at once if it is too late.
    pub(crate) fn during<T>(
        &self,
        mut stop: impl FnMut() + Send + 'static,
        act: impl FnOnce() -> T,
    ) -> T {
        struct Registered<'s>(&'s Shutdown, u64);

        impl Drop for Registered<'_> {
            fn drop(&mut self) {
                self.0
                    .state()
                    .running
                    .retain(|(number, _)| *number != self.1);
            }
        }

        let mut state = self.state();
        if state.is_down {
            stop();
        }
        state.last += 1;
        let number = state.last;
        state.running.push((number, Box::new(stop)));
        drop(state);
        let _registered = Registered(self, number);
        act()
    }

    /// Pauses, and returns whether it is over: it was shut down meanwhile.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        let goes_on = |state: &mut State| !state.is_down;
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.state(), pause, goes_on);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_down
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("is_shut_down", &self.is_shut_down())
            .finish_non_exhaustive()
    }
}

//! The methods for work that starts at most once in a while.

/// Writes what makes work start at most once in a while, for the builder of a lock around a transaction, which
/// keeps it in a field `interval`.
macro_rules! transaction_interval {
    (
        impl<$($generic:tt),*> $Builder:ty {
            setup: $setup:literal,
            open: $open:literal,
            close: $close:literal,
            end: $end:literal,
        }
    ) => {
        /// Work that starts at most once in a while.
        ///
        /// When a job was started last is kept in the table `diesel_advisory.runs` of the
        /// [catalog](crate::catalog#installing-it), by the name of the lock, in the same transaction as the work:
        /// both commit, or neither does. So a run that fails or crashes does not count, and the next caller tries
        /// it.
        ///
        /// The lock still comes first, so that two callers never work at the same time. Those who wait for it are
        /// told afterwards that the job is not due; with [`no_wait`](Self::no_wait) they are told at once that it
        /// is running. Where a job fails, each of those who wait for it tries it in turn: use `no_wait` then.
        ///
        /// If it is not due, `run` returns [`Error::NotDue`](crate::Error::NotDue), and `try_run` returns `None`.
        /// Claiming the run and finishing it take two round trips more, and a third where the driver prepares.
        impl<'a, $($generic),*> $Builder {
            /// Runs the work only if it has not been *started* for that long.
            ///
            /// The server's clock counts, and is asked after the lock was acquired. A period of
            /// [`Duration::MAX`](std::time::Duration::MAX), and any of more than 1,000 years, is
            /// [`once`](Self::once).
            ///
            /// What the server's clock does to it: a start that lies further ahead than the period is not
            /// believed, and the job runs. If the clock jumps forward by more than the period, the job can run
            /// again too early; so can it after a failover to a standby that had not received the last run. See
            /// [the guide](crate::guide::jobs#what-a-clock-and-a-failover-can-do).
            ///
            /// # Errors
            ///
            /// `run` and `try_run` have these in addition, and hold nothing then:
            ///
            /// - [`Error::Unsupported`](crate::Error::Unsupported) with [`read_only`](Self::read_only),
            ///   [`shared`](Self::shared), [`and`](Self::and) or [`allow_standby`](Self::allow_standby), for a
            ///   lock that has a key instead of a name, and for a name over 2,000 bytes or with a NUL in it;
            /// - [`Error::Unsupported`](crate::Error::Unsupported) inside an open transaction above read
            ///   committed, which may not see the last run. Inside one at read committed, the run counts when that
            ///   transaction commits;
            /// - [`Error::NoCatalog`](crate::Error::NoCatalog) if the catalog is not installed, or too old;
            /// - [`Error::NoGrants`](crate::Error::NoGrants) if the role may not use the table;
            /// - [`Error::Database`](crate::Error::Database) if a statement failed and the closure still returned
            ///   `Ok`. Nothing is committed then, and the run does not count.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            /// use std::time::Duration;
            ///
            #[doc = concat!($open, "(\"nightly\").at_most_every(Duration::from_secs(20 * 3600)).no_wait()", $close)]
            #[doc = $end]
            /// ```
            pub fn at_most_every(mut self, period: std::time::Duration) -> Self {
                self.interval = Some(period.into());
                self
            }

            /// Runs the work only if it was never run under this name.
            ///
            /// Put what makes it another job into the name. Otherwise the same as
            /// [`at_most_every`](Self::at_most_every).
            ///
            /// # Errors
            ///
            /// The same as [`at_most_every`](Self::at_most_every).
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            /// let today = "2026-11-25";
            #[doc = concat!($open, "((\"nightly\", today)).once().no_wait()", $close)]
            #[doc = $end]
            /// ```
            pub fn once(mut self) -> Self {
                self.interval = Some(crate::lock::interval::Interval::Once);
                self
            }
        }
    };
}

/// Writes the same for the builder of a session lock, which becomes another one.
macro_rules! session_interval {
    (
        impl<$($generic:tt),*> $Builder:ty => $Interval:ident<'a, $D:ident> {
            setup: $setup:literal,
            open: $open:literal,
            close: $close:literal,
            end: $end:literal,
        }
    ) => {
        impl<'a, $($generic),*> $Builder {
            /// Runs the work only if it has not been *started* for that long.
            ///
            /// The start is committed before the work begins, in the table `diesel_advisory.runs` of the
            /// [catalog](crate::catalog#installing-it). So a run that fails, crashes or is cancelled counts; see
            #[doc = concat!("[`retry_failed`](", stringify!($Interval), "::retry_failed).")]
            /// The lock is held while the work runs, so that two callers never work at the same time.
            ///
            /// The server's clock counts, and is asked after the lock was acquired. A period of
            /// [`Duration::MAX`], and any of more than 1,000 years, is [`once`](Self::once). A start that lies
            /// further ahead than the period is not believed. See
            /// [the guide](crate::guide::jobs#what-a-clock-and-a-failover-can-do) for what else the clock, and a failover, can do.
            ///
            /// Only `run` and `try_run` can follow: who holds a guard does not say when the work begins and ends.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            /// use std::time::Duration;
            ///
            #[doc = concat!($open, "(\"nightly\").at_most_every(Duration::from_secs(20 * 3600)).no_wait()", $close)]
            #[doc = $end]
            /// ```
            pub fn at_most_every(self, period: Duration) -> $Interval<'a, $D> {
                $Interval::new(self.conn, self.request, period.into())
            }

            /// Runs the work only if it was never run under this name.
            ///
            /// Put what makes it another job into the name. Otherwise the same as
            /// [`at_most_every`](Self::at_most_every).
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            /// let today = "2026-11-25";
            #[doc = concat!($open, "((\"nightly\", today)).once().no_wait()", $close)]
            #[doc = $end]
            /// ```
            pub fn once(self) -> $Interval<'a, $D> {
                $Interval::new(self.conn, self.request, crate::lock::interval::Interval::Once)
            }
        }
    };
}

/// Writes the options of such a builder, which keeps them in fields `request` and `retry_failed`.
macro_rules! interval_options {
    (
        impl<$($generic:tt),*> $Builder:ty {
            setup: $setup:literal,
            open: $open:literal,
            close: $close:literal,
            end: $end:literal,
        }
    ) => {
        $crate::lock::options::wait_options! {
            impl<$($generic),*> $Builder {
                setup: $setup,
                timed: $open,
                tried: $open,
                close: $close,
                end: $end,
            }
        }

        impl<'a, $($generic),*> $Builder {
            /// Does not count a run whose closure returns an error or panics: the next caller tries it again.
            ///
            /// What was recorded of the run before is put back, unless another run has been started since. Where
            /// that fails, because the connection is lost, the run counts. A crash of the process, and a future
            /// that is dropped, count as well.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            #[doc = concat!($open, ".retry_failed()", $close)]
            #[doc = $end]
            /// ```
            pub fn retry_failed(mut self) -> Self {
                self.retry_failed = true;
                self
            }
        }
    };
}

pub(crate) use {interval_options, session_interval, transaction_interval};

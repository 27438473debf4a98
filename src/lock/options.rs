//! The methods that every builder has.

/// Writes how long a lock is waited for. In the examples, `timed` and `tried` stand before the option.
macro_rules! wait_options {
    (
        impl<$($generic:tt),*> $Builder:ty {
            setup: $setup:literal,
            timed: $timed:expr,
            tried: $tried:expr,
            close: $close:literal,
            end: $end:literal,
        }
    ) => {
        impl<'a, $($generic),*> $Builder {
            /// Waits for the lock no longer than `timeout`. `None` waits forever.
            ///
            /// Overrides the session's `lock_timeout` for this lock only. Afterwards, whether the lock
            /// was acquired or not, `lock_timeout` is what it was, so that row locks which are waited
            /// for later are not under this timeout. A set of locks has one deadline for all of them.
            ///
            /// Default: the session's [`lock_timeout`], which by PostgreSQL's default is none.
            ///
            /// The timeout is rounded up to whole milliseconds. Zero is the same as
            /// [`no_wait`](Self::no_wait). Timeouts above about 24 days wait forever.
            ///
            /// [`lock_timeout`]: https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-LOCK-TIMEOUT
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            /// use std::time::Duration;
            ///
            #[doc = concat!($timed, ".timeout(Duration::from_secs(2))", $close)]
            #[doc = $end]
            /// ```
            pub fn timeout(mut self, timeout: impl Into<Option<std::time::Duration>>) -> Self {
                self.request.wait = timeout.into().into();
                self
            }

            /// Does not wait: if another session holds the lock, it is unavailable at once.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            #[doc = concat!($tried, ".no_wait()", $close)]
            #[doc = $end]
            /// ```
            pub fn no_wait(mut self) -> Self {
                self.request.wait = crate::lock::wait::Wait::No;
                self
            }
        }
    };
}

/// Writes the options of a lock for the builder of one scope, which keeps them in a field `request`.
///
/// The examples differ from scope to scope in how a lock is asked for and taken: `open` stands before
/// the lock's id, `close` after the option.
macro_rules! lock_options {
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
                timed: concat!($open, "((\"invoice\", 42))"),
                tried: concat!($open, "(\"reports.nightly\")"),
                close: $close,
                end: $end,
            }
        }

        impl<'a, $($generic),*> $Builder {
            /// Takes a shared lock: it excludes exclusive locks, but not other shared ones.
            ///
            /// Default: exclusive. All locks of a set are taken in the same mode.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            /// // Other readers of the price list go on, a writer waits.
            #[doc = concat!($open, "(\"price list\").shared()", $close)]
            #[doc = $end]
            /// ```
            pub fn shared(mut self) -> Self {
                self.request.mode = crate::lock::request::Mode::Share;
                self
            }

            /// Adds a lock. All of them are acquired, or none.
            ///
            /// A set is always acquired in the order of its keys, whatever the order in which it was
            /// written, so that two sets cannot deadlock. A lock that is named twice is taken once.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            /// let (from, to) = (7, 3);
            #[doc = concat!($open, "((\"account\", from)).and((\"account\", to))", $close)]
            #[doc = $end]
            /// ```
            pub fn and(mut self, id: impl crate::lock::into_id::IntoLockId<'a>) -> Self {
                self.request.ids.push(id.into_lock_id());
                self
            }

            /// Adds every lock of an iterator. Otherwise the same as [`and`](Self::and).
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            /// let accounts = [7, 3, 12];
            #[doc = concat!(
                $open,
                "(\"bank\").and_all(accounts.map(|id| (\"account\", id)))",
                $close
            )]
            #[doc = $end]
            /// ```
            pub fn and_all<I>(mut self, ids: I) -> Self
            where
                I: IntoIterator<Item: crate::lock::into_id::IntoLockId<'a>>,
            {
                use crate::lock::into_id::IntoLockId as _;

                let ids = ids.into_iter().map(|id| id.into_lock_id());
                self.request.ids.extend(ids);
                self
            }

            /// Takes the lock on a standby too.
            ///
            /// A standby keeps locks of its own, which exclude nobody on the primary. This is for
            /// programs that serialize what they read there.
            ///
            /// Default: a lock on a standby is [`Error::Standby`](crate::error::Error::Standby).
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            #[doc = concat!($open, "(\"cache.refresh\").allow_standby()", $close)]
            #[doc = $end]
            /// ```
            pub fn allow_standby(mut self) -> Self {
                self.request.on_standby = true;
                self
            }
        }
    };
}

/// Writes the options of a transaction for the builder of a lock around one, which keeps them in a field
/// `modes`.
macro_rules! transaction_options {
    (
        impl<$($generic:tt),*> $Builder:ty {
            setup: $setup:literal,
            open: $open:literal,
            close: $close:literal,
            end: $end:literal,
        }
    ) => {
        /// The characteristics of the transaction, as in Diesel's
        /// [`TransactionBuilder`](diesel::pg::TransactionBuilder).
        ///
        /// What is not set is left to the session's defaults. If any is set, `run` inside an open
        /// transaction fails with
        /// [`AlreadyInTransaction`](diesel::result::Error::AlreadyInTransaction), as Diesel's builder
        /// does.
        ///
        /// # Above read committed
        ///
        /// A transaction above read committed sees one snapshot of the database from its first statement
        /// to its last. `run` acquires the lock before that snapshot is taken, so that the closure sees
        /// what the last holder has committed. A lock that
        /// [`advisory_xact`](crate::AdvisoryConnection::advisory_xact) acquires inside such a transaction
        /// does not get this guarantee: the snapshot predates the wait.
        ///
        /// The guarantee also holds in a session whose `default_transaction_isolation` is above read
        /// committed. Naming the level here saves round trips then, and two `ERROR`s in the server's log.
        ///
        /// It takes a session lock for a moment: a first transaction waits for the lock, and the one of
        /// the closure takes it over. Both are sent in one message, which a connection pooler in
        /// transaction mode sends to one server connection.
        ///
        /// Retry on serialization failure, as with any serializable transaction: other transactions may
        /// write the same rows without the lock, and PostgreSQL releases locks a moment before it is done
        /// with a transaction that has committed.
        impl<'a, $($generic),*> $Builder {
            /// Makes the transaction `READ COMMITTED`.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            #[doc = concat!($open, "(\"billing.close_month\").read_committed()", $close)]
            #[doc = $end]
            /// ```
            pub fn read_committed(mut self) -> Self {
                self.modes.isolation = Some(crate::lock::modes::Isolation::ReadCommitted);
                self
            }

            /// Makes the transaction `REPEATABLE READ`, with a snapshot that is not older than the lock.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            #[doc = concat!($open, "(\"billing.close_month\").repeatable_read()", $close)]
            #[doc = $end]
            /// ```
            pub fn repeatable_read(mut self) -> Self {
                self.modes.isolation = Some(crate::lock::modes::Isolation::RepeatableRead);
                self
            }

            /// Makes the transaction `SERIALIZABLE`, with a snapshot that is not older than the lock.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            #[doc = concat!($open, "(\"billing.close_month\").serializable()", $close)]
            #[doc = $end]
            /// ```
            pub fn serializable(mut self) -> Self {
                self.modes.isolation = Some(crate::lock::modes::Isolation::Serializable);
                self
            }

            /// Makes the transaction `READ ONLY`.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            #[doc = concat!($open, "(\"price list\").shared().read_only()", $close)]
            #[doc = $end]
            /// ```
            pub fn read_only(mut self) -> Self {
                self.modes.read_only = Some(true);
                self
            }

            /// Makes the transaction `READ WRITE`.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            #[doc = concat!($open, "(\"billing.close_month\").read_write()", $close)]
            #[doc = $end]
            /// ```
            pub fn read_write(mut self) -> Self {
                self.modes.read_only = Some(false);
                self
            }

            /// Makes the transaction `DEFERRABLE`, which has no effect unless it is also serializable
            /// and read only.
            ///
            /// Such a transaction waits for a safe snapshot after it has acquired the lock, for as long as
            /// that takes. With `timeout` or `no_wait` it is
            /// [`Error::Unsupported`](crate::error::Error::Unsupported). In a session where all three are the
            /// default, `timeout` and `no_wait` limit a transaction that names its level.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            #[doc = concat!(
                $open,
                "(\"report\").serializable().read_only().deferrable()",
                $close
            )]
            #[doc = $end]
            /// ```
            pub fn deferrable(mut self) -> Self {
                self.modes.deferrable = Some(true);
                self
            }

            /// Makes the transaction `NOT DEFERRABLE`.
            ///
            /// # Example
            ///
            /// ```
            #[doc = $setup]
            #[doc = concat!($open, "(\"report\").serializable().not_deferrable()", $close)]
            #[doc = $end]
            /// ```
            pub fn not_deferrable(mut self) -> Self {
                self.modes.deferrable = Some(false);
                self
            }
        }
    };
}

pub(crate) use {lock_options, transaction_options, wait_options};

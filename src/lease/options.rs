//! The methods that both leaders have.

/// Writes the options of a leader, which it keeps in the fields `plan` and `on_change`.
macro_rules! leader_options {
    ($Leader:ident) => {
        impl<'a> $Leader<'a> {
            /// Builds a leader for the lock. Nothing happens until [`run`](Self::run) is called.
            ///
            /// # Example
            ///
            /// ```
            #[doc = concat!("use diesel_advisory::", stringify!($Leader), ";")]
            ///
            #[doc = concat!("let leader = ", stringify!($Leader), "::new(\"scheduler\");")]
            /// # drop(leader);
            /// ```
            pub fn new(id: impl crate::lock::into_id::IntoLockId<'a>) -> Self {
                Self {
                    plan: crate::lease::leader::Plan::new(id.into_lock_id()),
                    on_change: Box::new(|_| ()),
                }
            }

            /// Sets how long the lead lasts without a word from the leader. A takeover takes that long, if
            /// the leader vanishes. It has to be the same for all candidates.
            ///
            /// Default: 15 s. Below 200 ms it is rounded up.
            ///
            /// # Example
            ///
            /// ```
            #[doc = concat!("use diesel_advisory::", stringify!($Leader), ";")]
            /// use std::time::Duration;
            ///
            #[doc = concat!("let leader = ", stringify!($Leader), "::new(\"scheduler\").time_to_live(Duration::from_secs(30));")]
            /// # drop(leader);
            /// ```
            pub fn time_to_live(mut self, time_to_live: std::time::Duration) -> Self {
                self.plan.ttl = crate::lease::clock::TimeToLive::new(time_to_live);
                self
            }

            /// Sets how often a candidate asks for the lock, up to a quarter earlier at random. After a
            /// failure it pauses for as long, then twice as long each time, up to 30 s.
            ///
            /// Default: 2 s.
            ///
            /// # Example
            ///
            /// ```
            #[doc = concat!("use diesel_advisory::", stringify!($Leader), ";")]
            /// use std::time::Duration;
            ///
            #[doc = concat!("let leader = ", stringify!($Leader), "::new(\"scheduler\").retry(Duration::from_secs(5));")]
            /// # drop(leader);
            /// ```
            pub fn retry(mut self, retry: std::time::Duration) -> Self {
                self.plan.retry = retry.max(std::time::Duration::from_millis(1));
                self
            }

            /// Sets what the others see of this one: the session's `application_name` while it asks for the
            /// lock or holds it.
            ///
            /// Default: the connection's `application_name`, or the names of the host and of the process if it
            /// has none.
            ///
            /// # Example
            ///
            /// ```
            #[doc = concat!("use diesel_advisory::", stringify!($Leader), ";")]
            ///
            #[doc = concat!("let leader = ", stringify!($Leader), "::new(\"scheduler\").identity(\"web-3\");")]
            /// # drop(leader);
            /// ```
            pub fn identity(mut self, identity: impl Into<String>) -> Self {
                self.plan.identity = Some(identity.into());
                self
            }

            /// Calls the function for each [`Change`](crate::Change).
            ///
            /// # Example
            ///
            /// ```
            #[doc = concat!("use diesel_advisory::", stringify!($Leader), ";")]
            ///
            #[doc = concat!("let leader = ", stringify!($Leader), "::new(\"scheduler\").on_change(|change| println!(\"{change}\"));")]
            /// # drop(leader);
            /// ```
            pub fn on_change(
                mut self,
                on_change: impl FnMut(crate::lease::leader::Change<'_>) + Send + 'a,
            ) -> Self {
                self.on_change = Box::new(on_change);
                self
            }

            /// Sets whether a new leader waits, with the lock, until a time to live has passed since its
            /// session's first answer.
            ///
            /// A server that crashes, restarts or fails over ends all sessions at once, and a leader that is
            /// cut off at the same time may believe in its lease for a little less than the time to live. With
            /// the delay nobody leads before. A cold deployment leads after one time to live; a candidate that
            /// has followed for longer leads at once.
            ///
            /// Default: on.
            ///
            /// # Example
            ///
            /// ```
            #[doc = concat!("use diesel_advisory::", stringify!($Leader), ";")]
            ///
            #[doc = concat!("let leader = ", stringify!($Leader), "::new(\"scheduler\").lock_delay(false);")]
            /// # drop(leader);
            /// ```
            pub fn lock_delay(mut self, lock_delay: bool) -> Self {
                self.plan.lock_delay = lock_delay;
                self
            }
        }

        impl std::fmt::Debug for $Leader<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($Leader))
                    .field("plan", &self.plan)
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use leader_options;

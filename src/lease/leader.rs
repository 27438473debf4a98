//! What a leader decides, and what it tells of it, without I/O.

use std::error::Error as StdError;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::clock::TimeToLive;
use super::handle::{GivenUp, Lease};
use crate::error::Error;
use crate::error::unavailable::Holder;
use crate::lock::id::LockId;
use crate::lock::request::Request;
use crate::lock::token::FencingToken;
use crate::lock::wait::Wait;
use crate::sql::lease::SessionName;

/// What happens to a leader. `Display` prints it as a line for a log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Change<'e> {
    /// It is a candidate, for the first time or again.
    Campaigning,
    /// Another one leads. [`Holder::application_name`] is that one's identity.
    Following(Holder),
    /// It leads, with this token. Where the server cannot give one, the token is all zeros, and
    /// [`Lease::token`](crate::Lease::token) says why.
    Leading(FencingToken),
    /// It does not lead any more: the lease was lost.
    Lost,
    /// It does not lead any more: its work has called [`resign`](crate::Lease::resign).
    Resigned,
    /// It could not connect, or the server failed. It tries again.
    Failed(&'e (dyn StdError + Send + Sync + 'static)),
}

impl fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Campaigning => f.write_str("campaigning"),
            Self::Following(holder) => {
                f.write_str("following ")?;
                holder.fmt_name(f)
            }
            Self::Leading(token) => write!(f, "leading with token {token}"),
            Self::Lost => f.write_str("lost the lead"),
            Self::Resigned => f.write_str("resigned"),
            Self::Failed(error) => write!(f, "failed, and tries again: {error}"),
        }
    }
}

/// How to lead: what both builders collect.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    id: LockId<'a>,
    pub(crate) ttl: TimeToLive,
    pub(crate) retry: Duration,
    pub(crate) identity: Option<String>,
    pub(crate) lock_delay: bool,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(id: LockId<'a>) -> Self {
        Self {
            id,
            ttl: TimeToLive::new(Duration::from_secs(15)),
            retry: Duration::from_secs(2),
            identity: None,
            lock_delay: true,
        }
    }

    pub(crate) fn name(&self) -> SessionName {
        match &self.identity {
            Some(identity) => SessionName::Always(identity.clone()),
            None => SessionName::IfUnset(host_and_process()),
        }
    }

    /// A candidate never waits in a statement.
    pub(crate) fn request(&self) -> Request<'static> {
        let mut request = Request::new([self.id.clone().into_owned()]);
        request.wait = Wait::No;
        request
    }
}

fn host_and_process() -> String {
    let host = std::env::var("HOSTNAME")
        .or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"))
        .unwrap_or_else(|_| String::from("localhost"));
    format!("{}:{}", host.trim(), std::process::id())
}

/// What a candidate has seen so far, whom it tells of it, and how long it pauses for it.
pub(crate) struct Campaign<'a> {
    retry: Duration,
    on_change: OnChange<'a>,
    failures: u32,
    following: Option<(i32, Option<String>)>,
}

/// Who is told of each change.
pub(crate) type OnChange<'a> = Box<dyn FnMut(Change<'_>) + Send + 'a>;

impl<'a> Campaign<'a> {
    pub(crate) fn begin(retry: Duration, on_change: OnChange<'a>) -> Self {
        let mut campaign = Self {
            retry,
            on_change,
            failures: 0,
            following: None,
        };
        (campaign.on_change)(Change::Campaigning);
        campaign
    }

    /// The lock is not free. Nobody holds it any more, if there is no holder.
    pub(crate) fn follows(&mut self, holder: Option<&Holder>) -> Duration {
        self.failures = 0;
        if let Some(holder) = holder {
            let following = Some((holder.pid, holder.application_name.clone()));
            if self.following != following {
                self.following = following;
                (self.on_change)(Change::Following(holder.clone()));
            }
        }
        jittered(self.retry)
    }

    /// Something failed. The pause is twice as long each time.
    pub(crate) fn failed(&mut self, error: &(dyn StdError + Send + Sync + 'static)) -> Duration {
        /// However long the server is away, somebody leads soon after it is back.
        const MOST: Duration = Duration::from_secs(30);

        (self.on_change)(Change::Failed(error));
        let factor = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.following = None;
        let pause = self.retry.saturating_mul(factor);
        jittered(pause.min(MOST.max(self.retry)))
    }

    /// A term begins.
    pub(crate) fn leads(&mut self, lease: &Lease) {
        self.failures = 0;
        self.following = None;
        let token = lease.token().unwrap_or(FencingToken::new(0, 0, 0));
        (self.on_change)(Change::Leading(token));
    }

    /// Tells how a term ended, if another one is campaigned for.
    pub(crate) fn after<R>(&mut self, term: Next<R, Change<'static>>) -> Next<R, Duration> {
        match term {
            Next::Return(returned) => Next::Return(returned),
            Next::Again(change) => Next::Again(self.begins_again(change)),
            Next::ShutDown => Next::ShutDown,
        }
    }

    /// A term has ended before the work was done. Who has resigned lets others have the lock first.
    pub(super) fn begins_again(&mut self, after: Change<'static>) -> Duration {
        let has_resigned = matches!(after, Change::Resigned);
        (self.on_change)(after);
        (self.on_change)(Change::Campaigning);
        if has_resigned {
            self.retry.saturating_add(jittered(self.retry))
        } else {
            Duration::ZERO
        }
    }
}

/// Between three quarters of it and all of it, so that candidates do not ask all at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 1_024;
    let most = pause / 4;
    let off = most.saturating_mul(u32::try_from(random).unwrap_or(0)) / 1_024;
    pause.saturating_sub(off)
}

/// What follows from the end of a term.
#[derive(Debug)]
pub(crate) enum Next<R, A> {
    /// The work is done, or has failed.
    Return(R),
    /// Campaign again.
    Again(A),
    ShutDown,
}

/// Decides what follows. `returned` is `None` if the work was dropped.
pub(crate) fn after<R>(
    lease: &Lease,
    in_time: &Result<(), Error>,
    returned: Option<R>,
) -> Next<R, Change<'static>> {
    match (lease.given_up(), returned) {
        (Some(GivenUp::ShutDown), _) => Next::ShutDown,
        _ if in_time.is_err() => Next::Again(Change::Lost),
        (Some(GivenUp::Resigned), _) => Next::Again(Change::Resigned),
        (None | Some(GivenUp::Over), Some(returned)) => Next::Return(returned),
        (None | Some(GivenUp::Over), None) => Next::Again(Change::Lost),
    }
}

/// Whether an error is one that no later attempt can do better.
pub(crate) fn is_final(error: &Error) -> bool {
    matches!(error, Error::EmptyName | Error::EmptySet)
}

//! The thread that owns the connection of a lease, and asks the questions.

use std::ops::DerefMut;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::link::{Blocking, PgTransactions};
use crate::error::Error;
use crate::error::lost::HowLost;
use crate::lease::clock::{Moment, TimeToLive};
use crate::lease::handle::Lease;
use crate::lease::keeping::{ask, begin};
use crate::lock::request::Request;
use crate::protocol::end_session;
use crate::protocol::lease::{acquire, finish};
use crate::protocol::link::ready;
use crate::sql::lease::{LeaseSettings, SessionName};
use crate::sql::release::HeldLocks;

/// The end of the thread that its user has.
///
/// The thread may be stuck in a call of the driver's for as long as the network lets it. So nobody waits for
/// it longer than the time to live, but for the lock itself.
#[derive(Debug)]
pub(super) struct Keeper {
    orders: Sender<Order>,
    events: Receiver<Event>,
    taking: Taking,
}

#[derive(Debug)]
enum Order {
    /// Try to take the lock, and begin the lease.
    Take(Lease),
    /// Do not begin. It means nothing once the lease has begun.
    Stop,
    /// Release it.
    Finish,
}

/// Stops a keeper from beginning a lease.
#[derive(Debug)]
pub(super) struct Stop(Sender<Order>);

impl Stop {
    pub(super) fn stop(&self) {
        let _ = self.0.send(Order::Stop);
    }
}

/// What came of the work under a lease.
#[derive(Debug)]
pub(super) struct Worked<R> {
    pub(super) returned: R,
    /// Whether the lease was held until the work returned.
    pub(super) in_time: Result<(), Error>,
    /// Whether the lock was released.
    pub(super) finished: Result<(), Error>,
}

#[derive(Debug)]
enum Event {
    /// It was not taken. `None`: it is unavailable.
    NotTaken(Option<Error>),
    Granted,
    Began(Result<(), Error>),
    Finished(Result<(), Error>),
}

/// How a keeper takes the lock.
#[derive(Debug, Clone)]
pub(super) struct Taking {
    pub(super) ttl: TimeToLive,
    /// Whether an unavailable lock is an error, which says who holds it.
    pub(super) or_error: bool,
    /// Whether the lock is asked for again if it is unavailable.
    pub(super) again: bool,
    /// Whether to begin only once a time to live has passed since the server's first answer.
    pub(super) delayed: bool,
    pub(super) name: Option<SessionName>,
}

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Taken {
    Held,
    Unavailable,
}

impl Taken {
    pub(super) fn held(self) -> Option<()> {
        matches!(self, Self::Held).then_some(())
    }
}

impl Keeper {
    pub(super) fn spawn<D>(conn: D, request: Request<'static>, taking: Taking) -> Self
    where
        D: DerefMut<Target: PgTransactions> + Send + 'static,
    {
        let (orders, taken_orders) = channel();
        let (tell, events) = channel();
        let thread = Thread {
            request,
            settings: LeaseSettings::new(taking.ttl.millis(), taking.name.clone()),
            taking: taking.clone(),
            orders: taken_orders,
            tell,
        };
        thread::spawn(move || thread.run(conn));
        Self {
            orders,
            events,
            taking,
        }
    }

    /// Takes the lock, however long that waits for it, and begins the lease.
    pub(super) fn take(&self, lease: &Lease) -> Result<Taken, Error> {
        let _ = self.orders.send(Order::Take(lease.clone()));
        self.taken(lease, self.events.recv().ok())
    }

    /// The same where nothing is waited for. So a server that does not answer within the time to live is
    /// gone.
    pub(super) fn try_take(&self, lease: &Lease) -> Result<Taken, Error> {
        let _ = self.orders.send(Order::Take(lease.clone()));
        self.taken(lease, self.within(self.taking.ttl.get()))
    }

    fn taken(&self, lease: &Lease, event: Option<Event>) -> Result<Taken, Error> {
        match event {
            Some(Event::NotTaken(None)) => return Ok(Taken::Unavailable),
            Some(Event::NotTaken(Some(error))) => return Err(error),
            Some(Event::Granted) => {}
            _ => return Err(lost(lease)),
        }
        let ttl = self.taking.ttl.get();
        let delay = if self.taking.delayed {
            ttl
        } else {
            Duration::ZERO
        };
        match self.within(ttl + delay) {
            Some(Event::Began(began)) => began.map(|()| Taken::Held),
            _ => Err(lost(lease)),
        }
    }

    /// Does the work, and releases the lock.
    ///
    /// If it panics, the lock is released while the panic goes on.
    pub(super) fn work<R>(&self, lease: &Lease, work: impl FnOnce(Lease) -> R) -> Worked<R> {
        let finishing = Finishing {
            keeper: self,
            finished: false,
        };
        let over = lease.over_when_dropped();
        let returned = work(lease.clone());
        let in_time = lease.check_not_lost();
        drop(over);
        let finished = finishing.finish(lease);
        Worked {
            returned,
            in_time,
            finished,
        }
    }

    pub(super) fn stop(&self) -> Stop {
        Stop(self.orders.clone())
    }

    fn finish(&self, lease: &Lease) -> Result<(), Error> {
        let _ = self.orders.send(Order::Finish);
        match self.within(self.taking.ttl.get()) {
            Some(Event::Finished(finished)) => finished,
            _ => Err(lost(lease)),
        }
    }

    fn within(&self, time: Duration) -> Option<Event> {
        self.events.recv_timeout(time).ok()
    }
}

/// The error of a lease whose thread does not answer.
fn lost(lease: &Lease) -> Error {
    lease.found(HowLost::Time);
    lease.lost_error(lease.how_lost().unwrap_or(HowLost::Time))
}

/// Has the lock released, in a panic too.
struct Finishing<'k> {
    keeper: &'k Keeper,
    finished: bool,
}

impl Finishing<'_> {
    fn finish(mut self, lease: &Lease) -> Result<(), Error> {
        self.finished = true;
        self.keeper.finish(lease)
    }
}

impl Drop for Finishing<'_> {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.keeper.orders.send(Order::Finish);
            let _ = self.keeper.within(self.keeper.taking.ttl.get());
        }
    }
}

/// What runs in the thread.
struct Thread {
    request: Request<'static>,
    taking: Taking,
    settings: LeaseSettings,
    orders: Receiver<Order>,
    tell: Sender<Event>,
}

impl Thread {
    fn run<D>(self, mut conn: D)
    where
        D: DerefMut<Target: PgTransactions>,
    {
        // The first answer of this session, which no standby has given.
        let mut answered = None;
        while let Ok(order) = self.orders.recv() {
            let Order::Take(lease) = order else {
                continue;
            };
            let trace = lease.trace();
            let taken = trace.inside(|| self.take(&mut *conn));
            if matches!(taken, Ok(_) | Err(Error::Unavailable(_))) {
                answered = answered.or(Some(Moment::now()));
            }
            let event = match taken {
                Ok(Some(locks)) => {
                    self.tell(Event::Granted);
                    let event = trace.inside(|| self.keep(&mut *conn, &lease, &locks, answered));
                    drop(conn);
                    return self.tell(event);
                }
                Ok(None) => Event::NotTaken(None),
                Err(error) => Event::NotTaken(Some(error)),
            };
            let is_unavailable =
                matches!(event, Event::NotTaken(None | Some(Error::Unavailable(_))));
            if !is_unavailable || !self.taking.again {
                drop(conn);
                return self.tell(event);
            }
            self.tell(event);
        }
    }

    fn take<C: PgTransactions>(&self, conn: &mut C) -> Result<Option<HeldLocks>, Error> {
        let link = &mut Blocking(conn);
        let attempt = ready(acquire(link, self.request.clone(), &self.settings))?;
        if self.taking.or_error {
            ready(attempt.or_unavailable(link)).map(Some)
        } else {
            Ok(attempt.granted())
        }
    }

    /// Keeps the lease alive until the work is done.
    fn keep<C: PgTransactions>(
        &self,
        conn: &mut C,
        lease: &Lease,
        locks: &HeldLocks,
        answered: Option<Moment>,
    ) -> Event {
        let link = &mut Blocking(conn);
        let mut began = Ok(());
        if let Some(answered) = answered.filter(|_| self.taking.delayed) {
            began = self.wait_out(link, lease, answered);
        }
        let began = began.and_then(|()| ready(begin(link, lease, &self.settings)));
        if began.is_err() {
            let _ = self.finish(link, lease, locks);
            return Event::Began(began);
        }
        self.tell(Event::Began(Ok(())));
        while lease.how_lost().is_none() {
            match self.orders.recv_timeout(lease.ask_in()) {
                Err(RecvTimeoutError::Timeout) => ready(ask(link, lease, &self.settings)),
                // It came too late.
                Ok(Order::Stop | Order::Take(_)) => {}
                // The other end is dropped only with the work.
                Ok(Order::Finish) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Event::Finished(self.finish(link, lease, locks))
    }

    /// Lets the time pass in which another may believe to hold the lock, whose session ended with the server's
    /// crash.
    fn wait_out<C: PgTransactions>(
        &self,
        link: &mut Blocking<'_, C>,
        lease: &Lease,
        answered: Moment,
    ) -> Result<(), Error> {
        loop {
            let left = self.taking.ttl.left(answered);
            if left.is_zero() {
                return Ok(());
            }
            let pause = left.min(self.taking.ttl.pause());
            let Err(RecvTimeoutError::Timeout) = self.orders.recv_timeout(pause) else {
                return Err(Error::ShutDown);
            };
            ready(ask(link, lease, &self.settings));
            lease.check_not_lost()?;
        }
    }

    fn finish<C: PgTransactions>(
        &self,
        link: &mut Blocking<'_, C>,
        lease: &Lease,
        locks: &HeldLocks,
    ) -> Result<(), Error> {
        if let Err(lost) = lease.check_not_lost() {
            // Whatever it holds must not go on being held.
            ready(end_session(link));
            return Err(lost);
        }
        ready(finish(link, locks, &self.settings))
    }

    fn tell(&self, event: Event) {
        // Nobody listens who has waited for too long.
        let _ = self.tell.send(event);
    }
}

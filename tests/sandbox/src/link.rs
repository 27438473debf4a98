use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A client's end of a connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    pub(crate) fn shutdown(&self) {
        // Fails only where it is shut down already.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => (&mut &*stream).read(buffer),
            Stream::Tcp(stream) => (&mut &*stream).read(buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => (&mut &*stream).write(bytes),
            Stream::Tcp(stream) => (&mut &*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One client's connection, with a lane for each direction.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Stream,
    pub(crate) server: Stream,
    pub(crate) to_server: Lane,
    pub(crate) to_client: Lane,
    /// The client is the next to speak, having said nothing since it heard the server's last word.
    pub(crate) server_spoke: AtomicBool,
    half_closed: AtomicBool,
}

impl Link {
    pub(crate) fn new(client: Stream, server: Stream, network: Network) -> Self {
        Self {
            client,
            server,
            to_server: Lane::new(network.to_server),
            to_client: Lane::new(network.to_client),
            server_spoke: AtomicBool::new(true),
            half_closed: AtomicBool::new(false),
        }
    }

    /// Closes both ends at once. What is under way is lost.
    pub(crate) fn cut(&self) {
        self.to_server.close();
        self.to_client.close();
        self.client.shutdown();
        self.server.shutdown();
    }

    /// Says that one lane has delivered all that it will, and tells whether both have.
    pub(crate) fn lane_ended(&self) -> bool {
        self.half_closed.swap(true, Ordering::SeqCst)
    }
}

/// What connections meet on their way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Network {
    pub(crate) to_server: Conditions,
    pub(crate) to_client: Conditions,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Conditions {
    pub(crate) delay: Duration,
    pub(crate) swallows: bool,
}

/// What is under way in one direction of one connection, in order.
#[derive(Debug)]
pub(crate) struct Lane {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    conditions: Conditions,
    under_way: VecDeque<Parcel>,
    closed: bool,
}

#[derive(Debug)]
struct Parcel {
    due: Instant,
    /// `None` is the end of the stream, which travels like everything else.
    bytes: Option<Vec<u8>>,
}

impl Lane {
    fn new(conditions: Conditions) -> Self {
        Self {
            state: Mutex::new(State {
                conditions,
                under_way: VecDeque::new(),
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Conditions)) {
        change(&mut lock(&self.state).conditions);
        self.changed.notify_all();
    }

    /// Takes up all that comes from a stream, and then its end.
    pub(crate) fn take_up(&self, mut from: &Stream, mut pack: impl FnMut(&[u8]) -> Vec<u8>) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read) = from.read(&mut buffer) {
            if read == 0 || !self.send(Some(pack(&buffer[..read]))) {
                break;
            }
        }
        self.send(None);
    }

    /// Delivers all that is due when it is due, until the stream ends. Tells whether it ended in
    /// order: otherwise the receiver is gone, or the connection is cut.
    pub(crate) fn deliver(&self, mut deliver: impl FnMut(&[u8]) -> io::Result<()>) -> bool {
        while let Some(parcel) = self.receive() {
            let Some(bytes) = parcel.bytes else {
                return true;
            };
            if deliver(&bytes).is_err() {
                break;
            }
        }
        self.close();
        false
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.under_way.clear();
        self.changed.notify_all();
    }

    /// Whether it was taken up.
    fn send(&self, bytes: Option<Vec<u8>>) -> bool {
        let mut state = lock(&self.state);
        if state.closed {
            return false;
        }
        let due = Instant::now() + state.conditions.delay;
        state.under_way.push_back(Parcel { due, bytes });
        self.changed.notify_all();
        true
    }

    /// The next one, when it is due; `None` once the lane is closed.
    fn receive(&self) -> Option<Parcel> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            let next = state.under_way.front().map(|parcel| parcel.due);
            let next = next.filter(|_| !state.conditions.swallows);
            let early = next.map(|due| due.saturating_duration_since(Instant::now()));
            state = match early {
                Some(Duration::ZERO) => return state.under_way.pop_front(),
                Some(early) => self
                    .changed
                    .wait_timeout(state, early)
                    .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state),
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

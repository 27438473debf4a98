use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::frontend::{Kind, Messages};
use crate::link::{Conditions, Link, Network, Stream, lock};
use crate::listener::Listener;

/// Stands between clients and a [`Sandbox`](crate::Sandbox) or a pooler: counts round trips, notes
/// what was sent, and is the network that fails.
///
/// A round trip is a burst of messages from a client that the server answers, with whatever number
/// of messages. The handshake of a new connection is one; the farewell of a closed one is none.
///
/// All that is told to the network holds for the connections there are and for new ones, from then
/// on. Those that shall fail alone have a proxy of their own.
///
/// ```
/// use std::time::Duration;
///
/// use diesel_advisory_sandbox::{Direction, Sandbox};
///
/// let proxy = Sandbox::shared().proxy();
/// let mut client = postgres::Client::connect(proxy.url(), postgres::NoTls).unwrap();
/// proxy.delay(Direction::Both, Duration::from_micros(500));
/// client.batch_execute("SELECT 1").unwrap(); // takes a millisecond more
/// proxy.swallow(Direction::ToClient);
/// // Now the server does what it is asked, and nobody hears of it.
/// proxy.resume();
/// ```
#[derive(Debug)]
pub struct Proxy {
    url: String,
    conninfo: String,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// Which way something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What clients send.
    ToServer,
    /// What the server answers.
    ToClient,
    /// Both.
    Both,
}

#[derive(Debug)]
struct Shared {
    listener: Listener,
    server_socket: PathBuf,
    round_trips: AtomicUsize,
    sent: Mutex<Vec<String>>,
    refusing: AtomicBool,
    closing: AtomicBool,
    links: Mutex<Links>,
}

#[derive(Debug, Default)]
struct Links {
    network: Network,
    all: Vec<Arc<Link>>,
}

impl Proxy {
    pub(crate) fn start(listener: Listener, server_socket: PathBuf) -> io::Result<Self> {
        let (url, conninfo) = (listener.url()?, listener.conninfo()?);
        let shared = Arc::new(Shared {
            listener,
            server_socket,
            round_trips: AtomicUsize::new(0),
            sent: Mutex::default(),
            refusing: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            links: Mutex::default(),
        });
        let accepting = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.accept())
        };
        Ok(Self {
            url,
            conninfo,
            shared,
            accepting: Some(accepting),
        })
    }

    /// Where to connect through the proxy, as superuser `postgres` to the database `postgres`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn conninfo(&self) -> &str {
        &self.conninfo
    }

    /// The round trips of all connections since the proxy was made, or [`Self::reset`].
    ///
    /// Whoever has the answer to what it sent finds it counted.
    #[must_use]
    pub fn round_trips(&self) -> usize {
        self.shared.round_trips.load(Ordering::SeqCst)
    }

    /// The SQL of all connections since the proxy was made, or [`Self::reset`]: the text of every
    /// `Query` and `Parse`, in the order in which they came.
    #[must_use]
    pub fn sent(&self) -> Vec<String> {
        lock(&self.shared.sent).clone()
    }

    /// Forgets what was counted and noted so far.
    pub fn reset(&self) {
        self.shared.round_trips.store(0, Ordering::SeqCst);
        lock(&self.shared.sent).clear();
    }

    /// Lets everything that goes this way arrive so much later; zero ends it. As in a network, any
    /// number of messages can be under way, and they arrive in order.
    ///
    /// [`Direction::Both`] with half a millisecond makes a round trip of one.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.shared
            .change(direction, |conditions| conditions.delay = delay);
    }

    /// Swallows everything that goes this way from now on, the end of a connection too: the sender
    /// can send, and the receiver hears nothing. New connections are made, and then hear nothing.
    pub fn swallow(&self, direction: Direction) {
        self.shared
            .change(direction, |conditions| conditions.swallows = true);
    }

    /// Swallows nothing any more. What was swallowed arrives now, as in a network that sends it
    /// again; where it shall be lost, use [`Self::cut`].
    pub fn resume(&self) {
        self.shared
            .change(Direction::Both, |conditions| conditions.swallows = false);
    }

    /// Cuts all connections there are now, on both sides and in the middle of whatever they do.
    ///
    /// A backend that waits for a lock does not look at its connection, and so waits on.
    pub fn cut(&self) {
        for link in &lock(&self.shared.links).all {
            link.cut();
        }
    }

    /// Cuts the clients' side of all connections there are now. The server hears of it only after
    /// [`Self::resume`], and until then keeps their sessions, with what they hold.
    pub fn cut_clients(&self) {
        for link in &lock(&self.shared.links).all {
            link.to_server
                .change(|conditions| conditions.swallows = true);
            link.client.shutdown();
        }
    }

    /// Whether new connections are closed before they get a word in.
    pub fn refuse(&self, refuse: bool) {
        self.shared.refusing.store(refuse, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.cut();
        if self.shared.listener.wake() {
            // It has nothing to say but that it panicked, which the test runner shows.
            let _ = self.accepting.take().map(JoinHandle::join);
        }
    }
}

impl Shared {
    fn change(&self, direction: Direction, change: impl Fn(&mut Conditions)) {
        let mut links = lock(&self.links);
        if direction != Direction::ToClient {
            change(&mut links.network.to_server);
            for link in &links.all {
                link.to_server.change(&change);
            }
        }
        if direction != Direction::ToServer {
            change(&mut links.network.to_client);
            for link in &links.all {
                link.to_client.change(&change);
            }
        }
    }

    fn accept(self: &Arc<Self>) {
        let mut threads = Vec::new();
        while let Ok(client) = self.listener.accept() {
            if self.closing.load(Ordering::SeqCst) {
                break;
            }
            if self.refusing.load(Ordering::SeqCst) {
                continue;
            }
            // Without a server the client finds its connection closed, as it would without us.
            let Ok(server) = UnixStream::connect(&self.server_socket) else {
                continue;
            };
            let link = {
                let mut links = lock(&self.links);
                let link = Link::new(client, Stream::Unix(server), links.network);
                let link = Arc::new(link);
                links.all.push(Arc::clone(&link));
                link
            };
            threads.retain(|thread: &JoinHandle<()>| !thread.is_finished());
            let carriers: [fn(&Self, &Link); 4] = [
                Self::hear_client,
                |_, link| link.to_client.take_up(&link.server, <[u8]>::to_vec),
                Self::speak_to_server,
                Self::speak_to_client,
            ];
            for carry in carriers {
                let (shared, link) = (Arc::clone(self), Arc::clone(&link));
                threads.push(thread::spawn(move || carry(&shared, &link)));
            }
        }
        for link in &lock(&self.links).all {
            link.cut();
        }
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn hear_client(&self, link: &Link) {
        let mut messages = Messages::default();
        link.to_server.take_up(&link.client, |bytes| {
            messages.push(bytes);
            // The server can do nothing with a part of a message, so only whole ones are passed on.
            let mut whole = Vec::new();
            while let Some(message) = messages.next() {
                // Counted first, so that nobody can have the answer before.
                if message.kind.is_answered() && link.server_spoke.swap(false, Ordering::SeqCst) {
                    self.round_trips.fetch_add(1, Ordering::SeqCst);
                }
                if let Kind::Sql(sql) = message.kind {
                    lock(&self.sent).push(sql);
                }
                whole.extend(message.bytes);
            }
            whole
        });
    }

    fn speak_to_server(&self, link: &Link) {
        link.to_server
            .deliver(|bytes| (&link.server).write_all(bytes));
        // The server can have had a last word that the client has yet to hear.
        link.server.shutdown();
        self.forget_if_ended(link);
    }

    fn speak_to_client(&self, link: &Link) {
        let ended = link.to_client.deliver(|bytes| {
            link.server_spoke.store(true, Ordering::SeqCst);
            (&link.client).write_all(bytes)
        });
        // Otherwise it is the client that is gone, which the server may have yet to hear.
        if ended {
            link.client.shutdown();
        }
        self.forget_if_ended(link);
    }

    fn forget_if_ended(&self, link: &Link) {
        if link.lane_ended() {
            link.cut();
            lock(&self.links)
                .all
                .retain(|other| !std::ptr::eq(&raw const **other, link));
        }
    }
}

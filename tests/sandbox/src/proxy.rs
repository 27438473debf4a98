use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::frontend::{Kind, Messages};
use crate::url::{PORT, socket_url};

/// Stands between clients and a [`Sandbox`](crate::Sandbox): counts round trips, notes what was
/// sent, cuts connections.
///
/// A round trip is a burst of messages from a client that the server answers, with whatever number
/// of messages. The handshake of a new connection is one; the farewell of a closed one is none.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    folder: PathBuf,
    listener: UnixListener,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server_socket: PathBuf,
    round_trips: AtomicUsize,
    sent: Mutex<Vec<String>>,
    refusing: AtomicBool,
    closing: AtomicBool,
    links: Mutex<Vec<Arc<Link>>>,
}

/// One client's connection.
#[derive(Debug)]
struct Link {
    client: UnixStream,
    server: UnixStream,
    /// The client is the next to speak, having said nothing since the server's last word.
    server_spoke: AtomicBool,
}

impl Proxy {
    pub(crate) fn listen(folder: PathBuf, server_folder: &Path) -> io::Result<Self> {
        let socket = format!(".s.PGSQL.{PORT}");
        let listener = UnixListener::bind(folder.join(&socket))?;
        let shared = Arc::new(Shared {
            server_socket: server_folder.join(&socket),
            round_trips: AtomicUsize::new(0),
            sent: Mutex::default(),
            refusing: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            links: Mutex::default(),
        });
        let accepting = {
            let (listener, shared) = (listener.try_clone()?, Arc::clone(&shared));
            thread::spawn(move || shared.accept(&listener))
        };
        Ok(Self {
            url: socket_url(&folder, "postgres", "postgres"),
            folder,
            listener,
            shared,
            accepting: Some(accepting),
        })
    }

    /// Where to connect through the proxy, as superuser `postgres` to the database `postgres`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
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

    /// Cuts all connections there are now, on both sides and in the middle of whatever they do.
    ///
    /// A backend that waits for a lock does not look at its connection, and so waits on.
    pub fn cut(&self) {
        for link in lock(&self.shared.links).iter() {
            link.cut();
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
        // Shutting down the listener wakes its thread on Linux; elsewhere only a connection does,
        // for which the socket's file has to be there still.
        let woken = UnixStream::connect(self.folder.join(format!(".s.PGSQL.{PORT}"))).is_ok();
        let shut = self.listener.try_clone().and_then(|listener| {
            UnixStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both)
        });
        if woken || shut.is_ok() {
            // It has nothing to say but that it panicked, which the test runner shows.
            let _ = self.accepting.take().map(JoinHandle::join);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &UnixListener) {
        let mut threads = Vec::new();
        while let Ok((client, _)) = listener.accept() {
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
            let link = Arc::new(Link {
                client,
                server,
                server_spoke: AtomicBool::new(true),
            });
            lock(&self.links).push(Arc::clone(&link));
            threads.retain(|thread: &JoinHandle<()>| !thread.is_finished());
            let (shared, sending) = (Arc::clone(self), Arc::clone(&link));
            threads.push(thread::spawn(move || shared.send(&sending)));
            let shared = Arc::clone(self);
            threads.push(thread::spawn(move || shared.answer(&link)));
        }
        for link in lock(&self.links).iter() {
            link.cut();
        }
        for thread in threads {
            let _ = thread.join();
        }
    }

    /// Carries what the client says to the server, until either ends.
    fn send(&self, link: &Link) {
        let mut messages = Messages::default();
        let _ = pump(&link.client, |bytes| {
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
            (&link.server).write_all(&whole)
        });
        // The server can have had a last word that the client has yet to read.
        let _ = link.server.shutdown(Shutdown::Both);
    }

    /// Carries what the server says to the client, until either ends.
    fn answer(&self, link: &Arc<Link>) {
        let _ = pump(&link.server, |bytes| {
            link.server_spoke.store(true, Ordering::SeqCst);
            (&link.client).write_all(bytes)
        });
        link.cut();
        lock(&self.links).retain(|other| !Arc::ptr_eq(other, link));
    }
}

impl Link {
    fn cut(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

fn pump(mut from: &UnixStream, mut pass_on: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => pass_on(&buffer[..read])?,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

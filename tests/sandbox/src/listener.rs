use std::fs::{self, Permissions};
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use crate::link::Stream;
use crate::url::{PORT, conninfo, socket_name, socket_url, tcp_url};

/// Where a proxy's clients connect.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix {
        listener: UnixListener,
        /// Holds nothing but the socket, and is removed with it.
        folder: PathBuf,
    },
    Tcp(TcpListener),
}

impl Listener {
    pub(crate) fn unix(folder: PathBuf) -> io::Result<Self> {
        let socket = folder.join(socket_name(PORT));
        let listener = UnixListener::bind(&socket)?;
        // The server's user connects too, for a standby. Who may is decided by the folder.
        fs::set_permissions(&socket, Permissions::from_mode(0o666))?;
        Ok(Self::Unix { listener, folder })
    }

    pub(crate) fn tcp() -> io::Result<Self> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(Self::Tcp)
    }

    pub(crate) fn url(&self) -> io::Result<String> {
        Ok(match self {
            Self::Unix { folder, .. } => socket_url(folder, PORT, "postgres", "postgres"),
            Self::Tcp(listener) => tcp_url(listener.local_addr()?.port()),
        })
    }

    pub(crate) fn conninfo(&self) -> io::Result<String> {
        Ok(match self {
            Self::Unix { folder, .. } => conninfo(&folder.to_string_lossy(), PORT),
            Self::Tcp(listener) => conninfo("127.0.0.1", listener.local_addr()?.port()),
        })
    }

    pub(crate) fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Unix { listener, .. } => Stream::Unix(listener.accept()?.0),
            Self::Tcp(listener) => {
                let client = listener.accept()?.0;
                client.set_nodelay(true)?;
                Stream::Tcp(client)
            }
        })
    }

    /// Has [`Self::accept`] return in another thread, if that can be done.
    pub(crate) fn wake(&self) -> bool {
        match self {
            // Shutting down the listener wakes its thread on Linux; elsewhere only a connection
            // does, for which the socket's file has to be there still.
            Self::Unix { listener, folder } => {
                let woken = UnixStream::connect(folder.join(socket_name(PORT))).is_ok();
                let shut = listener.try_clone().and_then(|listener| {
                    UnixStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both)
                });
                woken || shut.is_ok()
            }
            Self::Tcp(listener) => listener.local_addr().and_then(TcpStream::connect).is_ok(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { folder, .. } = self {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

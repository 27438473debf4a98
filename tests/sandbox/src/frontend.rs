//! The client's half of PostgreSQL's protocol, as far as it takes to tell messages apart, and whether
//! there is a server.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Splits what a client sends into messages, however it arrives.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    pending: Vec<u8>,
    started: bool,
}

impl Messages {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole message, if it is there already.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let type_bytes = usize::from(self.started);
        let length = self
            .pending
            .get(type_bytes..type_bytes + 4)?
            .try_into()
            .ok()?;
        let end = type_bytes + usize::try_from(u32::from_be_bytes(length)).ok()?;
        if self.pending.len() < end {
            return None;
        }
        let rest = self.pending.split_off(end);
        let bytes = std::mem::replace(&mut self.pending, rest);
        let kind = if self.started {
            Kind::of_message(&bytes)
        } else {
            Kind::of_startup(&bytes)
        };
        self.started |= matches!(kind, Kind::Startup);
        Some(Message { kind, bytes })
    }
}

/// One whole message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The connection begins.
    Startup,
    /// May the connection be encrypted?
    EncryptionRequest,
    /// The one message of a connection that cancels another one's statement.
    Cancel,
    /// SQL, of a `Query` or a `Parse`.
    Sql(String),
    /// The connection ends.
    Terminate,
    Other,
}

impl Kind {
    /// Farewells and cancellations are not answered.
    pub(crate) fn is_answered(&self) -> bool {
        !matches!(self, Self::Cancel | Self::Terminate)
    }

    fn of_startup(bytes: &[u8]) -> Self {
        const CANCEL: u32 = 80_877_102;
        const TLS: u32 = 80_877_103;
        const GSSAPI: u32 = 80_877_104;

        let code = bytes.get(4..8).and_then(|code| code.try_into().ok());
        match code.map_or(0, u32::from_be_bytes) {
            CANCEL => Self::Cancel,
            TLS | GSSAPI => Self::EncryptionRequest,
            _ => Self::Startup,
        }
    }

    fn of_message(bytes: &[u8]) -> Self {
        let mut strings = bytes.get(5..).unwrap_or_default().split(|byte| *byte == 0);
        let sql = match bytes.first() {
            Some(b'Q') => strings.next(),
            // The statement's name comes first.
            Some(b'P') => strings.nth(1),
            Some(b'X') => return Self::Terminate,
            _ => return Self::Other,
        };
        Self::Sql(String::from_utf8_lossy(sql.unwrap_or_default()).into_owned())
    }
}

/// Whether somebody at this socket lets `postgres` in, and is ready for its first query.
pub(crate) fn can_connect(socket: &Path) -> bool {
    connect(socket).is_ok()
}

fn connect(socket: &Path) -> io::Result<()> {
    const STARTUP: &[u8] = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    const TERMINATE: &[u8] = b"X\0\0\0\x04";
    const READY: &[u8] = b"Z\0\0\0\x05I";

    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(STARTUP)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(READY) {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    stream.write_all(TERMINATE)
}

#[cfg(test)]
mod tests {
    use super::{Kind, Messages};

    #[test]
    fn messages_are_the_same_however_they_arrive() {
        let mut stream = Vec::new();
        stream.extend_from_slice(&[0, 0, 0, 8, 4, 210, 22, 47]); // may we encrypt?
        stream.extend_from_slice(&[0, 0, 0, 9, 0, 3, 0, 0, 0]); // version 3.0, no parameters
        stream.extend_from_slice(b"Q\0\0\0\x0dSELECT 1\0");
        stream.extend_from_slice(b"P\0\0\0\x11n\0SELECT 2\0\0\0");
        stream.extend_from_slice(b"S\0\0\0\x04");
        stream.extend_from_slice(b"X\0\0\0\x04");
        let expected = [
            Kind::EncryptionRequest,
            Kind::Startup,
            Kind::Sql("SELECT 1".to_owned()),
            Kind::Sql("SELECT 2".to_owned()),
            Kind::Other,
            Kind::Terminate,
        ];
        for size in 1..=stream.len() {
            let mut messages = Messages::default();
            let (mut kinds, mut bytes) = (Vec::new(), Vec::new());
            for piece in stream.chunks(size) {
                messages.push(piece);
                while let Some(message) = messages.next() {
                    kinds.push(message.kind);
                    bytes.extend(message.bytes);
                }
            }
            assert_eq!(kinds, expected, "in pieces of {size}");
            assert_eq!(bytes, stream, "in pieces of {size}");
        }
    }
}

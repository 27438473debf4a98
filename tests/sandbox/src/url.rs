use std::fmt::Write;
use std::path::Path;

/// Names the port too: without it, clients take that of `PGPORT`.
pub(crate) fn socket_url(folder: &Path, port: u16, user: &str, database: &str) -> String {
    format!(
        "postgres://{}@/{}?host={}&port={port}",
        percent_encode(user),
        percent_encode(database),
        percent_encode(&folder.to_string_lossy()),
    )
}

pub(crate) fn tcp_url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// The same for programs of PostgreSQL's own.
pub(crate) fn conninfo(host: &str, port: u16) -> String {
    format!("host={host} port={port}")
}

/// The port of a server that has none: it only names the socket's file.
pub(crate) const PORT: u16 = 5432;

pub(crate) fn socket_name(port: u16) -> String {
    format!(".s.PGSQL.{port}")
}

fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_with_a_meaning_in_urls_is_encoded() {
        assert_eq!(
            socket_url(Path::new("/tmp/x-1"), PORT, "a@b", "größe/1"),
            "postgres://a%40b@/gr%C3%B6%C3%9Fe%2F1?host=%2Ftmp%2Fx-1&port=5432",
        );
    }
}

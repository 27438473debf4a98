//! Connection strings: `host=… dbname=…`, and URLs.
//!
//! No message repeats what it could not read: it might be part of a password.

use percent_encoding::percent_decode_str;

use super::params::{Params, keyword};
use crate::exit::Failure;

/// Whether libpq would read it as a connection string. Otherwise it is the name of a database.
pub(crate) fn is_conninfo(text: &str) -> bool {
    is_url(text) || text.contains('=')
}

pub(crate) fn is_url(text: &str) -> bool {
    without_scheme(text).is_some()
}

fn without_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://")
        .or_else(|| text.strip_prefix("postgres://"))
}

/// Reads a connection string of either form.
pub(crate) fn parse(text: &str) -> Result<Params, Failure> {
    match without_scheme(text) {
        Some(rest) => parse_url(rest),
        None => parse_pairs(text),
    }
}

fn wrong(what: &str) -> Failure {
    Failure::usage(format!("the connection string cannot be read: {what}"))
}

fn parse_pairs(text: &str) -> Result<Params, Failure> {
    let mut params = Params::default();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(params);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            name.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err(wrong("a `=` is missing after a keyword"));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut value = String::new();
        if chars.next_if_eq(&'\'').is_some() {
            loop {
                match chars.next() {
                    Some('\'') => break,
                    Some('\\') => value.extend(chars.next()),
                    Some(c) => value.push(c),
                    None => return Err(wrong("a quote is not closed")),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
                match c {
                    '\\' => value.extend(chars.next()),
                    c => value.push(c),
                }
            }
        }
        params.set(keyword(&name)?, value);
    }
}

fn parse_url(rest: &str) -> Result<Params, Failure> {
    let mut params = Params::default();
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, Some(path)),
        None => (rest, None),
    };
    let hosts = match authority.rsplit_once('@') {
        Some((user, hosts)) => {
            let (user, password) = match user.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (user, None),
            };
            params.set_unless_empty("user", decode(user)?);
            if let Some(password) = password {
                params.set_unless_empty("password", decode(password)?);
            }
            hosts
        }
        None => authority,
    };
    parse_hosts(hosts, &mut params)?;
    if let Some(path) = path {
        params.set_unless_empty("dbname", decode(path)?);
    }
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty())
    {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| wrong("a `=` is missing in the query of the URL"))?;
        let (name, value) = (decode(name)?, decode(value)?);
        // What JDBC has, and libpq understands.
        if name == "ssl" && value == "true" {
            params.set("sslmode", String::from("require"));
        } else {
            params.set(keyword(&name)?, value);
        }
    }
    Ok(params)
}

fn parse_hosts(hosts: &str, params: &mut Params) -> Result<(), Failure> {
    if hosts.is_empty() {
        return Ok(());
    }
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest
                    .split_once(']')
                    .ok_or_else(|| wrong("a `]` is missing after an address"))?;
                (address, after.strip_prefix(':').unwrap_or_default())
            }
            None => host.rsplit_once(':').unwrap_or((host, "")),
        };
        names.push(decode(name)?);
        ports.push(decode(port)?);
    }
    if names.iter().any(|name| !name.is_empty()) {
        params.set("host", names.join(","));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        params.set("port", ports.join(","));
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, Failure> {
    percent_decode_str(text)
        .decode_utf8()
        .map(String::from)
        .map_err(|_| wrong("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::{is_conninfo, parse};

    fn read(text: &str) -> Vec<(String, String)> {
        let params = parse(text).unwrap();
        let pairs = params.iter();
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn pairs_are_read_as_libpq_does() {
        let expected = [
            ("dbname", "a b"),
            ("host", "/run/x"),
            ("password", r"it's \ ="),
            ("user", ""),
        ];
        let text = r" host = /run/x dbname='a b' password='it\'s \\ =' user='' ";
        assert_eq!(read(text), expected.map(|(k, v)| (k.into(), v.into())));
    }

    #[test]
    fn urls_are_read_as_libpq_does() {
        let text =
            "postgres://me:p%40ss:w@[::1]:5433,b,/my%20db?sslmode=verify-full&connect_timeout=3";
        let expected = [
            ("connect_timeout", "3"),
            ("dbname", "my db"),
            ("host", "::1,b,"),
            ("password", "p@ss:w"),
            ("port", "5433,,"),
            ("sslmode", "verify-full"),
            ("user", "me"),
        ];
        assert_eq!(read(text), expected.map(|(k, v)| (k.into(), v.into())));
        assert_eq!(
            read("postgresql://%2Frun%2Fx/db?ssl=true")[1],
            ("host".into(), "/run/x".into())
        );
        assert!(read("postgresql://").is_empty());
    }

    #[test]
    fn messages_do_not_repeat_what_could_not_be_read() {
        for text in [
            "password=top secret",
            "password='top secret",
            "postgres://me:secret@[::1/db",
            "postgres://me@h/db?secret",
            "postgres://me@h/db?pasword=secret",
        ] {
            let message = parse(text).unwrap_err().message;
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn a_name_of_a_database_is_no_connection_string() {
        assert!(!is_conninfo("app"));
        assert!(is_conninfo("dbname=app"));
        assert!(is_conninfo("postgres:///app"));
    }
}

//! Passwords stay out of `ps`, and out of the environment of what is run.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::args::ConnectArgs;
use crate::connect::conninfo::{is_conninfo, is_url, parse};
use crate::exit::Failure;

/// Hands a password of the command line on to the same program without it there.
pub(crate) const HANDED_ON: &str = "PG_ADVISORY_PASSWORD";

/// The same process becomes the same program again, with a command line that everybody may see, if it has a
/// password there now.
pub(crate) fn hide_from_ps() -> Result<(), Failure> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let Some((args, password)) = hide(args)? else {
        return Ok(());
    };
    let error = Command::new(this_program())
        .args(args.get(1..).unwrap_or_default())
        .env(HANDED_ON, password)
        .exec();
    Err(Failure::new(
        crate::exit::SOFTWARE,
        format!("the password cannot be hidden from `ps`: {error}"),
    ))
}

/// Also after the file was replaced by a newer version.
pub(crate) fn this_program() -> OsString {
    if cfg!(target_os = "linux") {
        return OsString::from("/proc/self/exe");
    }
    std::env::current_exe().map_or_else(|_| OsString::from("pg-advisory"), OsString::from)
}

/// The command line without the password, and the password, if there is one.
fn hide(mut args: Vec<OsString>) -> Result<Option<(Vec<OsString>, String)>, Failure> {
    let mut found = None;
    let mut is_value = false;
    for arg in &mut args {
        let Some(text) = arg.to_str() else {
            is_value = false;
            continue;
        };
        if text == "--" {
            break;
        }
        let (option, value) = if is_value {
            ("", text)
        } else if let Some(value) = text.strip_prefix("--dbname=") {
            ("--dbname=", value)
        } else if let Some(value) = text.strip_prefix("-d").filter(|value| !value.is_empty()) {
            ("-d", value)
        } else if is_url(text) {
            // It has a password, as a rule, and would be repeated in a message.
            return Err(Failure::usage("the URL of a database is given by `-d`"));
        } else {
            is_value = text == "-d" || text == "--dbname";
            continue;
        };
        is_value = false;
        if is_conninfo(value) {
            let mut params = parse(value)?;
            if let Some(password) = params.remove("password") {
                *arg = OsString::from(format!("{option}{}", params.to_conninfo()));
                found = Some(password);
            }
        }
    }
    Ok(found.map(|password| (args, password)))
}

/// What is taken out of the environment of the command (`None`), or replaced in it.
pub(crate) fn changes(args: &ConnectArgs) -> Vec<(&'static str, Option<String>)> {
    let mut changes = vec![("PGPASSWORD", None)];
    // Another one is the command's own business.
    if args.dbname.is_none() && args.host.is_none() {
        if let Ok(url) = std::env::var("DATABASE_URL") {
            if let Some(without) = without_password(&url) {
                changes.push(("DATABASE_URL", Some(without)));
            }
        }
    }
    changes
}

/// The connection string without its password, if it has one.
fn without_password(text: &str) -> Option<String> {
    let mut params = parse(text).ok()?;
    params.remove("password")?;
    if !is_url(text) {
        return Some(params.to_conninfo());
    }
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let (scheme, rest) = base.split_once("://")?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let authority = match authority.rsplit_once('@') {
        Some((user, hosts)) => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{user}@{hosts}")
        }
        None => authority.to_owned(),
    };
    let pairs = query.split('&').filter(|pair| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        !pair.is_empty() && name != "password"
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    Some(format!("{scheme}://{authority}{path}{mark}{query}"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{hide, without_password};

    fn args(args: &[&str]) -> Vec<OsString> {
        args.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_command_line_loses_its_password_wherever_it_stands() {
        for (with, without) in [
            (
                &["p", "who", "-d", "postgres://me:pw@h/db"][..],
                &["p", "who", "-d", "dbname='db' host='h' user='me'"][..],
            ),
            (&["p", "-dhost=h password=pw"], &["p", "-dhost='h'"]),
            (
                &["p", "--dbname=postgres://h?password=pw", "x"],
                &["p", "--dbname=host='h'", "x"],
            ),
        ] {
            let (hidden, password) = hide(args(with)).unwrap().unwrap();
            assert_eq!((hidden, password.as_str()), (args(without), "pw"));
        }
        for without in [
            &["p", "-d", "db"][..],
            &["p", "-d", "host=h"],
            &["p", "--", "-d", "password=x"],
        ] {
            assert!(hide(args(without)).unwrap().is_none());
        }
        let message = hide(args(&["p", "who", "postgres://me:pw@h/db"]))
            .unwrap_err()
            .message;
        assert_eq!(message, "the URL of a database is given by `-d`");
    }

    #[test]
    fn a_url_keeps_its_form_without_the_password() {
        for (with, without) in [
            (
                "postgres://me:pw@h:1,[::1]/db?sslmode=require",
                "postgres://me@h:1,[::1]/db?sslmode=require",
            ),
            ("postgresql://h/db?password=pw", "postgresql://h/db"),
            (
                "postgresql://:pw@h?a%70plication_name=x&p%61ssword=pw",
                "postgresql://@h?a%70plication_name=x",
            ),
            ("host=h password=pw", "host='h'"),
        ] {
            assert_eq!(without_password(with).as_deref(), Some(without));
        }
        assert_eq!(without_password("postgres://me@h/db"), None);
        assert_eq!(without_password("mysql://me:pw@h/db"), None);
    }
}

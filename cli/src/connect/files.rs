//! The password file and the service file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::params::{Params, keyword};
use crate::exit::{Failure, say};

/// The home folder, as libpq finds it.
pub(crate) fn home() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(PathBuf::from)
}

/// The password of the first line that fits.
pub(crate) fn password_for(file: Option<&str>, wanted: [&str; 4]) -> Option<String> {
    let path = match file {
        Some(file) => PathBuf::from(file),
        None => home()?.join(".pgpass"),
    };
    let metadata = fs::metadata(&path).ok()?;
    if !metadata.is_file() {
        say!("password file {} is not a plain file", path.display());
        return None;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        say!(
            "password file {} has group or world access, and is ignored: its permissions should be u=rw (0600) \
             or less",
            path.display()
        );
        return None;
    }
    password_in(&fs::read_to_string(&path).ok()?, wanted)
}

fn password_in(text: &str, wanted: [&str; 4]) -> Option<String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let fields = fields(line);
            let (password, rest) = fields.split_last()?;
            let fits = rest.len() == wanted.len()
                && rest
                    .iter()
                    .zip(wanted)
                    .all(|((field, raw), wanted)| raw == "*" || field == wanted);
            fits.then(|| password.0.clone())
        })
}

/// The fields of a line, read and as they stand there. A `*` means everything, a `\*` does not.
fn fields(line: &str) -> Vec<(String, String)> {
    let mut fields = vec![(String::new(), String::new())];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        // The fifth is the last: a password may have colons.
        if c == ':' && fields.len() < 5 {
            fields.push((String::new(), String::new()));
        } else if let Some((read, raw)) = fields.last_mut() {
            raw.push(c);
            if c == '\\' {
                let next = chars.next();
                read.extend(next);
                raw.extend(next);
            } else {
                read.push(c);
            }
        }
    }
    fields
}

/// What the service file says of a service.
pub(crate) fn service(name: &str, var: impl Fn(&str) -> Option<String>) -> Result<Params, Failure> {
    let own = var("PGSERVICEFILE")
        .map(PathBuf::from)
        .or_else(|| home().map(|home| home.join(".pg_service.conf")));
    let system = var("PGSYSCONFDIR").unwrap_or_else(|| String::from("/etc/postgresql-common"));
    let system = Path::new(&system).join("pg_service.conf");
    for file in own.into_iter().chain([system]) {
        if let Ok(text) = fs::read_to_string(&file) {
            if let Some(params) = service_in(&text, name, &file)? {
                return Ok(params);
            }
        }
    }
    Err(Failure::config(format!(
        "there is no definition of the service {name:?}"
    )))
}

fn service_in(text: &str, name: &str, file: &Path) -> Result<Option<Params>, Failure> {
    let mut found = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(group) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            if found.is_some() {
                break;
            }
            if group == name {
                found = Some(Params::default());
            }
        } else if let Some(params) = &mut found {
            let place = || format!("line {} of the service file {}", index + 1, file.display());
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| Failure::config(format!("a `=` is missing in {}", place())))?;
            let key = keyword(key.trim())
                .map_err(|_| Failure::config(format!("unknown option in {}", place())))?;
            if key == "service" {
                return Err(Failure::config(format!(
                    "a service inside of a service in {}",
                    place()
                )));
            }
            params.set(key, value.trim().to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{password_in, service_in};

    #[test]
    fn a_password_is_that_of_the_first_line_that_fits() {
        let text = "# db:5432:app:me:comment\n\
                    other:*:*:*:no\n\
                    ::1:5432:app:me:too many fields\n\
                    \\:\\:1:*:app:me:ipv6\n\
                    db:5432:\\*:me:a star\n\
                    db:5432:app:me:it\\:is\\\\a:secret\n\
                    db:*:*:*:late\n";
        let find = |host, db| password_in(text, [host, "5432", db, "me"]);
        assert_eq!(find("db", "app").as_deref(), Some(r"it:is\a:secret"));
        assert_eq!(find("db", "*").as_deref(), Some("a star"));
        assert_eq!(find("db", "else").as_deref(), Some("late"));
        assert_eq!(find("::1", "app").as_deref(), Some("ipv6"));
        assert_eq!(find("none", "app"), None);
    }

    #[test]
    fn a_service_is_its_group_of_the_file() {
        let text = "[a]\nhost=one\n\n[b]\n# a comment\nhost = two\nport=5433\n[c]\nnonsense\n";
        let read = |name| service_in(text, name, Path::new("f"));
        let b = read("b").unwrap().unwrap();
        assert_eq!(b.to_conninfo(), "host='two' port='5433'");
        assert!(read("d").unwrap().is_none());
        let message = read("c").unwrap_err().message;
        assert_eq!(message, "a `=` is missing in line 9 of the service file f");
    }
}

use std::cmp::Reverse;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;

const BIN_VARIABLE: &str = "DIESEL_ADVISORY_PG_BIN";

/// Names the folder that `script/versions` made.
const VERSIONS_VARIABLE: &str = "DIESEL_ADVISORY_VERSIONS";

/// Where servers get installed without being in `PATH`. A star stands for the version.
const USUAL_FOLDERS: [&str; 6] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/pgsql/bin",
    "/Applications/Postgres.app/Contents/Versions/latest/bin",
];

/// The programs of one installed PostgreSQL.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) folder: PathBuf,
    pub(crate) major_version: u32,
}

impl Programs {
    pub(crate) fn find() -> Result<Self, Error> {
        if let Some(folder) = env::var_os(BIN_VARIABLE).filter(|folder| !folder.is_empty()) {
            let folder = PathBuf::from(folder);
            return Self::in_folder(&folder).ok_or(Error::NotAServer { folder });
        }
        installed().next().ok_or(Error::NotInstalled)
    }

    /// Those of a major version: what `script/versions` has fetched, or what is installed.
    pub(crate) fn of_version(major_version: u32) -> Result<Self, Error> {
        let fetched = fetched(&format!("postgres/{major_version}/bin"));
        fetched
            .and_then(|folder| Self::in_folder(&folder))
            .into_iter()
            .chain(installed())
            .find(|programs| programs.major_version == major_version)
            .ok_or(Error::NoSuchVersion { major_version })
    }

    /// One of the programs alone proves nothing: client packages and strays have some of them.
    fn in_folder(folder: &Path) -> Option<Self> {
        if !["initdb", "pg_ctl"]
            .iter()
            .all(|name| folder.join(name).is_file())
        {
            return None;
        }
        // PATH can hold links to them. The supervisor knows its server by the program itself.
        let folder = folder
            .join("postgres")
            .canonicalize()
            .ok()?
            .parent()?
            .to_owned();
        let major_version = parse_major_version(&output(folder.join("postgres"), "--version")?)?;
        Some(Self {
            folder,
            major_version,
        })
    }
}

/// Something in the folder that `script/versions` made.
pub(crate) fn fetched(path: &str) -> Option<PathBuf> {
    let folder = env::var_os(VERSIONS_VARIABLE).filter(|folder| !folder.is_empty())?;
    Some(Path::new(&folder).join(path))
}

fn installed() -> impl Iterator<Item = Programs> {
    folders_of_path()
        .into_iter()
        .chain(folder_of_pg_config())
        .chain(USUAL_FOLDERS.iter().flat_map(|pattern| expand(pattern)))
        .filter_map(|folder| Programs::in_folder(&folder))
}

pub(crate) fn folders_of_path() -> Vec<PathBuf> {
    env::var_os("PATH").map_or_else(Vec::new, |path| {
        env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .collect()
    })
}

fn folder_of_pg_config() -> Option<PathBuf> {
    Some(PathBuf::from(output("pg_config", "--bindir")?.trim_end()))
}

pub(crate) fn output(program: impl AsRef<OsStr>, argument: &str) -> Option<String> {
    let output = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// From `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, but also `17beta1` and `18devel`.
fn parse_major_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    numbers(version).next()
}

/// The folders that a pattern with one star stands for, newest version first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut versions: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_prefix(prefix).map(str::to_owned))
        .collect();
    versions.sort_by_key(|version| Reverse(numbers(version).collect::<Vec<_>>()));
    versions
        .iter()
        .map(|version| PathBuf::from(format!("{before}{version}{after}")))
        .collect()
}

pub(crate) fn numbers(text: &str) -> impl Iterator<Item = u32> {
    text.split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{expand, parse_major_version};

    #[test]
    fn major_versions() {
        for (text, version) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                Some(15),
            ),
            ("postgres (PostgreSQL) 17beta1\n", Some(17)),
            ("postgres (PostgreSQL) 18devel\n", Some(18)),
            ("something else 15.2\n", None),
        ] {
            assert_eq!(parse_major_version(text), version, "{text}");
        }
    }

    #[test]
    fn newer_versions_come_first() {
        let root = crate::folder::Folder::create().unwrap().path;
        for version in ["9.6", "15", "17", "9.10"] {
            std::fs::create_dir(root.join(format!("pg-{version}"))).unwrap();
        }
        let found = expand(&format!("{}/pg-*/bin", root.display()));
        std::fs::remove_dir_all(&root).unwrap();
        let expected = ["pg-17/bin", "pg-15/bin", "pg-9.10/bin", "pg-9.6/bin"];
        assert_eq!(found, expected.map(|name| Path::new(&root).join(name)));
    }
}

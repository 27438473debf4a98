use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Error;

/// The user that the server runs as, where that cannot be the user of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The folder that everything of one server is in.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) server_user: Option<ServerUser>,
}

impl Folder {
    pub(crate) fn create() -> Result<Self, Error> {
        let path = create_private().map_err(Error::system("create a folder for PostgreSQL"))?;
        let prepared = Self::for_server_user(path.clone());
        if prepared.is_err() {
            let _ = fs::remove_dir(path);
        }
        prepared
    }

    fn for_server_user(path: PathBuf) -> Result<Self, Error> {
        const ROOT: u32 = 0;

        let metadata = fs::metadata(&path).map_err(Error::system("read a folder of PostgreSQL"))?;
        let server_user = match metadata.uid() {
            ROOT => Some(find_server_user().ok_or(Error::NoServerUser)?),
            _ => None,
        };
        let folder = Self { path, server_user };
        if server_user.is_some() {
            // The group remains ours, so that we can go in and out too.
            fs::set_permissions(&folder.path, Permissions::from_mode(0o770))
                .and_then(|()| folder.hand_over(&folder.path))
                .map_err(Error::system("give a folder to PostgreSQL's user"))?;
        }
        Ok(folder)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> io::Result<()> {
        let path = self.path.join(name);
        fs::write(&path, content)?;
        self.hand_over(&path)
    }

    pub(crate) fn create_subfolder(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        self.hand_over(&path)?;
        Ok(path)
    }

    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.path.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 20;

        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// What the server's user does not own, the supervisor could not remove in the end.
    fn hand_over(&self, path: &Path) -> io::Result<()> {
        match self.server_user {
            Some(user) => chown(path, Some(user.uid), None),
            None => Ok(()),
        }
    }
}

/// `TMPDIR` is not asked: the path of a Unix socket has to stay below 100 bytes, and the server's
/// user has to be able to reach it.
fn create_private() -> io::Result<PathBuf> {
    if has_room(MEMORY) {
        if let Ok(path) = create_in(MEMORY) {
            return Ok(path);
        }
    }
    create_in("/tmp")
}

/// A new server is a thousand small files, which some file systems take seconds to create.
const MEMORY: &str = "/dev/shm";

/// Whether many servers fit: each takes some 25 MB, and more as it is used. Containers often have
/// 64 MB there.
fn has_room(folder: &str) -> bool {
    const ENOUGH_KB: u64 = 512 * 1024;

    Command::new("df")
        .args(["-Pk", folder])
        .stderr(Stdio::null())
        .output()
        .ok()
        .and_then(|output| parse_available_kb(&String::from_utf8(output.stdout).ok()?))
        .is_some_and(|available| available >= ENOUGH_KB)
}

fn parse_available_kb(df: &str) -> Option<u64> {
    df.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

fn create_in(parent: &str) -> io::Result<PathBuf> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("{parent}/dapg-{}-{number}", process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|()| path),
        }
    }
}

fn find_server_user() -> Option<ServerUser> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| users.lines().find_map(|line| parse_user(line, name)))
}

fn parse_user(line: &str, name: &str) -> Option<ServerUser> {
    let mut fields = line.split(':');
    if fields.next() != Some(name) {
        return None;
    }
    let mut ids = fields.skip(1).map(str::parse);
    Some(ServerUser {
        uid: ids.next()?.ok()?,
        gid: ids.next()?.ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{parse_available_kb, parse_user};

    #[test]
    fn room_is_what_df_calls_available() {
        let df = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                  tmpfs 24684084 1052 24683032 1% /dev/shm\n";
        assert_eq!(parse_available_kb(df), Some(24_683_032));
        assert_eq!(parse_available_kb(""), None);
    }

    #[test]
    fn users_are_read_by_their_whole_name() {
        let line = "postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash";
        let user = parse_user(line, "postgres").unwrap();
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(parse_user(line, "post").is_none());
    }
}

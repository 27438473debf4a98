use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Error;
use crate::folder::Folder;
use crate::programs::Programs;

/// The shell that runs a program, and removes it when our end of its pipe closes.
#[derive(Debug)]
pub(crate) struct Supervisor {
    shell: Child,
    /// `None` only while it is dropped.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Supervisor {
    /// Of a server that is not made yet, with what its `postgresql.conf` gets.
    pub(crate) fn of_server(
        programs: &Programs,
        folder: &Folder,
        settings: &str,
    ) -> Result<Self, Error> {
        let script = include_str!("supervisor.sh");
        let spawned = folder
            .write("settings", settings)
            .and_then(|()| Self::spawn(script, folder, &[programs.folder.as_os_str()]));
        spawned.map_err(|source| {
            // Nobody else is there to do it.
            let _ = fs::remove_dir_all(&folder.path);
            Error::System {
                action: "run PostgreSQL",
                source,
            }
        })
    }

    /// The script gets the folder, and then the other arguments.
    pub(crate) fn spawn(script: &str, folder: &Folder, arguments: &[&OsStr]) -> io::Result<Self> {
        const SCRIPT: &str = "supervisor.sh";

        folder.write(SCRIPT, script)?;
        let mut command = Command::new("/bin/sh");
        command
            .arg(folder.path.join(SCRIPT))
            .arg(&folder.path)
            .args(arguments)
            // The server's user need not be able to read the present one.
            .current_dir("/")
            // It has to outlive an interrupt from the keyboard, which goes to our whole group.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // With ours it would keep whoever reads our output waiting after our end.
            .stderr(Stdio::null())
            // Without it, initdb looks through all time zones.
            .env("TZ", "UTC");
        // Defaults of the server's own settings come from these.
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if let Some(user) = folder.server_user {
            command.uid(user.uid).gid(user.gid);
        }

        let mut shell = command.spawn()?;
        let orders = shell.stdin.take();
        let answers = shell.stdout.take().map(BufReader::new);
        let answers = answers.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            shell,
            orders,
            answers,
        })
    }

    /// Whether the order was carried out. Returns when it was.
    pub(crate) fn order(&mut self, order: &str) -> io::Result<bool> {
        let orders = self.orders.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(orders, "{order}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim_end() == "done")
    }

    /// Returns when a server's order was carried out.
    pub(crate) fn carry_out(&mut self, order: &str, folder: &Folder) -> Result<(), Error> {
        // A supervisor that is gone was killed by someone; the log is still the best there is to tell.
        match self.order(order) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Error::Server {
                order: order.replace('_', " "),
                log: folder.log_tail(),
            }),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.shell.wait();
    }
}

//! `--watch`: the table again and again, in place.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Server, fetch, table};
use crate::args::WhoArgs;
use crate::connect;
use crate::exit::{Failure, SOFTWARE};
use crate::run::signals::{Signals, code_of};

/// The terminal's second screen, until this is dropped.
struct Screen {
    /// How the terminal was, if keys are read from it.
    keys: Option<Termios>,
}

impl Screen {
    fn enter() -> Self {
        let stdin = std::io::stdin();
        let keys = stdin
            .is_terminal()
            .then(|| tcgetattr(&stdin).ok())
            .flatten();
        if let Some(before) = &keys {
            let mut now = before.clone();
            now.local_flags
                .remove(LocalFlags::ICANON | LocalFlags::ECHO);
            let _ = tcsetattr(&stdin, SetArg::TCSANOW, &now);
        }
        write("\x1b[?1049h\x1b[?25l");
        Self { keys }
    }

    fn show(lines: &[String]) {
        let height = terminal_size::terminal_size_of(std::io::stdout()).map(|(_, height)| height.0);
        let lines = lines.iter().take(height.map_or(usize::MAX, usize::from));
        let lines = lines
            .map(|line| format!("{line}\x1b[K"))
            .collect::<Vec<_>>();
        write(&format!("\x1b[H{}\x1b[J", lines.join("\r\n")));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write("\x1b[?25h\x1b[?1049l");
        if let Some(before) = &self.keys {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// The terminal may have gone: a signal tells of that.
fn write(text: &str) {
    let mut stdout = std::io::stdout();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

pub(super) async fn watch(args: &WhoArgs, mut server: Server) -> Result<u8, Failure> {
    if !std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "--watch needs a terminal; --json is for programs",
        ));
    }
    let failed = |error| Failure::new(SOFTWARE, format!("signals: {error}"));
    let mut ending = Signals::that_end()?;
    let mut stopped = signal(SignalKind::from_raw(Signal::SIGTSTP as i32)).map_err(failed)?;
    let mut resized = signal(SignalKind::window_change()).map_err(failed)?;
    let mut keys = keys();
    let mut screen = Screen::enter();
    loop {
        let lines = tokio::select! {
            lines = look(args, &mut server) => lines,
            signal = ending.next() => return Ok(code_of(signal)),
        };
        Screen::show(&lines);
        tokio::select! {
            () = tokio::time::sleep(args.interval) => {}
            _ = resized.recv() => {}
            key = keys.recv() => if key == Some(b'q') {
                return Ok(0);
            },
            signal = ending.next() => return Ok(code_of(signal)),
            _ = stopped.recv() => {
                drop(screen);
                let _ = raise(Signal::SIGSTOP);
                screen = Screen::enter();
            }
        }
    }
}

/// The table, or why there is none: a server that restarts will be back.
async fn look(args: &WhoArgs, server: &mut Server) -> Vec<String> {
    let now = crate::text::timestamp(std::time::SystemTime::now());
    let mut lines = vec![
        format!(
            "pg-advisory who, every {}, {now}",
            humantime::format_duration(args.interval)
        ),
        String::new(),
    ];
    match fetch(server, &args.names).await {
        Ok(entries) => {
            lines.extend(table::lines(
                &entries,
                table::Style::of_stdout(args.verbose),
            ));
        }
        Err(failure) => {
            lines.extend(failure.message.lines().map(String::from));
            if let Ok(conn) = connect::open(&server.settings, "pg-advisory who").await {
                server.conn = conn;
            }
        }
    }
    lines
}

/// What is typed. The thread that reads ends with the program.
fn keys() -> mpsc::Receiver<u8> {
    let (typed, keys) = mpsc::channel(1);
    std::thread::spawn(move || {
        if std::io::stdin().is_terminal() {
            let mut key = [0];
            while std::io::stdin().read(&mut key).is_ok_and(|read| read > 0) {
                if typed.blocking_send(key[0]).is_err() {
                    return;
                }
            }
        }
        // Nothing more comes: whoever waits for it goes on waiting.
        std::thread::sleep(Duration::MAX);
    });
    keys
}

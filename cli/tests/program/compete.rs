//! Many processes that compete for one lock, while some of them and their sessions are killed.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel_advisory_sandbox::Sandbox;
use postgres::Client;

use crate::support::{LONG, client, done, pids, program};

const PROCESSES: usize = 20;

/// Writes its token five times. Who comes with an older token than the last one is refused, as a resource does
/// that knows fencing tokens.
const WRITER: &str = r#"
for i in 1 2 3 4 5; do
    (
        flock 9
        last=$(tail -n 1 "$0/log")
        if [[ -n $last && $PG_ADVISORY_TOKEN < $last ]]; then
            echo "$PG_ADVISORY_TOKEN" >>"$0/refused"
            exit 1
        fi
        echo "$PG_ADVISORY_TOKEN" >>"$0/log"
    ) 9>"$0/guard" || exit 1
    sleep 0.005
done
echo "$PG_ADVISORY_TOKEN" >>"$0/complete"
"#;

/// Ends the session of the holder, or kills its program.
fn strike(sql: &mut Client, number: usize) -> bool {
    let Some(pid) = pids(sql, "compete", true).first().copied() else {
        return false;
    };
    if number % 2 == 0 {
        let row = sql.query_one("SELECT pg_terminate_backend($1)", &[&pid]);
        return row.unwrap().get(0);
    }
    let row = sql.query_opt(
        "SELECT application_name FROM pg_stat_activity WHERE pid = $1",
        &[&pid],
    );
    let Some(row) = row.unwrap() else {
        return false;
    };
    // Its program is known by the number that the test has given it as a name.
    let name: String = row.get(0);
    let pattern = format!("PGAPPNAME={name}\0");
    let programs = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    for program in programs {
        let path = program.path();
        let environ = std::fs::read(path.join("environ")).unwrap_or_default();
        let cmdline = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let has = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|found| found == part);
        if has(&environ, pattern.as_bytes()) && has(&cmdline, b"pg-advisory\0run") {
            let pid = path.file_name().unwrap().to_string_lossy().parse().unwrap();
            return crate::support::signal("KILL", pid);
        }
    }
    false
}

fn lines(folder: &Path, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    text.lines().map(String::from).collect()
}

#[test]
fn of_many_processes_one_writes_at_a_time() {
    compete(Duration::from_secs(5));
}

mod full {
    use std::time::Duration;

    use diesel_advisory_sandbox::is_full_run;

    #[test]
    fn of_many_processes_one_writes_at_a_time_for_a_minute() {
        if is_full_run() {
            super::compete(Duration::from_secs(60));
        }
    }
}

/// Goes on for this long, and until enough has happened.
fn compete(time: Duration) {
    let server = Sandbox::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let end = Instant::now() + time;
    let (kills, unexpected) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let is_over = || {
        let complete = lines(folder.path(), "complete").len();
        let enough = complete > PROCESSES && kills.load(Ordering::Relaxed) > 0;
        let now = Instant::now();
        now >= end && (enough || now >= end + LONG)
    };
    std::thread::scope(|scope| {
        let (server, unexpected, is_over) = (&server, &unexpected, &is_over);
        for worker in 0..PROCESSES {
            scope.spawn(move || {
                while !is_over() {
                    let run = [
                        "run", "compete", "--ttl", "2s", "--grace", "1s", "-q", "--", "bash", "-c",
                        WRITER, path,
                    ];
                    let mut run = program(server, &run);
                    run.env("PGAPPNAME", format!("compete-{worker}"))
                        .env("LC_ALL", "C");
                    let done = done(run);
                    // Done, refused by the guard, killed itself, lost, or without a session before it began.
                    if ![0, 1, -1, 69, 70, 74].contains(&done.code) {
                        eprintln!("{done:?}");
                        unexpected.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut sql = client(server);
            for number in 0.. {
                if is_over() {
                    break;
                }
                if strike(&mut sql, number) {
                    kills.fetch_add(1, Ordering::Relaxed);
                }
                // However slow the machine is, some get their work done in between.
                let before = lines(folder.path(), "complete").len();
                while lines(folder.path(), "complete").len() < before + 2 && !is_over() {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
    });
    let kills = kills.load(Ordering::Relaxed);
    let (log, refused, complete) = (
        lines(folder.path(), "log"),
        lines(folder.path(), "refused"),
        lines(folder.path(), "complete"),
    );
    eprintln!(
        "{} runs were complete, {} refused, {kills} kills",
        complete.len(),
        refused.len()
    );
    assert_eq!(unexpected.load(Ordering::Relaxed), 0);
    assert!(log.is_sorted(), "an older token came after a newer one");
    assert!(
        kills > 0 && complete.len() > PROCESSES,
        "too little has happened"
    );
    // Without exclusion, most of them would write between the others' lines.
    assert!(
        refused.len() <= kills,
        "{} were refused after {kills} kills",
        refused.len()
    );
    for token in &complete {
        assert_eq!(log.iter().filter(|line| *line == token).count(), 5);
    }
}

//! One core for client and server, so that the scheduler does not decide what a round trip costs.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

const PINNED: &str = "DIESEL_ADVISORY_BENCH_PINNED";

/// Goes on as a process that is bound to one core, and every process that it starts with it.
///
/// Where there is no `taskset`, it says so and goes on unbound.
pub(crate) fn pin() {
    if env::var_os(PINNED).is_some() {
        return;
    }
    let Some(core) = last_core() else {
        eprintln!("note: cannot tell which cores there are, so client and server share none");
        return;
    };
    let program = env::current_exe().expect("this program has a path");
    let error = Command::new("taskset")
        .arg("--cpu-list")
        .arg(core)
        .arg(program)
        .args(env::args_os().skip(1))
        .env(PINNED, "1")
        .exec();
    eprintln!("note: client and server are not bound to one core: taskset: {error}");
}

/// The last core that this process may use: the first ones have most of the interrupts.
fn last_core() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let last = allowed.trim().rsplit([',', '-']).next()?;
    Some(last.to_owned())
}

//! Counts the instructions that the client side of a lock takes, and compares them with the committed
//! ones: a guard against slow drift that no clock decides.
//!
//! `script/instructions` runs it. The counts depend on the compiler and the kind of processor, so the
//! file names both.

mod cases;
mod scripted;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::cases::{CASES, repeat};

type Counts = BTreeMap<String, u64>;
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// By how many per cent a count may differ from the committed one.
const TOLERANCE: u64 = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(|argument| &**argument).collect();
    let done = match arguments[..] {
        [] => compare(),
        ["--update"] => update(),
        // What is run under callgrind.
        ["repeat", case, times] => run(case, times),
        _ => Err("usage: script/instructions [--update]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(case: &str, times: &str) -> Result<()> {
    let known = CASES.iter().find(|(name, _)| *name == case);
    let (_, case) = known.ok_or("no such case")?;
    black_box(repeat(*case, times.parse()?)?);
    Ok(())
}

fn compare() -> Result<()> {
    let path = file();
    let Ok(text) = fs::read_to_string(&path) else {
        println!("no counts are committed for this kind of processor");
        return Ok(());
    };
    let (compiler, committed_with) = (compiler()?, text.lines().next().unwrap_or_default());
    if compiler != committed_with {
        println!(
            "notice: the counts are those of another compiler ({committed_with}), so nothing is compared"
        );
        return Ok(());
    }
    let committed = parse(&text)?;
    let counted = count_all()?;
    let mut differ = Vec::new();
    for (name, now) in &counted {
        let before = committed.get(name).copied().unwrap_or_default();
        println!("{name:<26} {now:>8}, committed {before:>8}");
        if now.abs_diff(before) * 100 > before * TOLERANCE {
            differ.push(name.as_str());
        }
    }
    let gone = committed.keys().filter(|name| !counted.contains_key(*name));
    differ.extend(gone.map(String::as_str));
    if differ.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more than {TOLERANCE} % from {}: {}\nIf that is intended, run script/instructions --update",
        path.display(),
        differ.join(", "),
    )
    .into())
}

fn update() -> Result<()> {
    let mut text = compiler()? + "\n";
    for (name, count) in count_all()? {
        writeln!(text, "{name} {count}")?;
    }
    print!("{text}");
    fs::write(file(), text)?;
    Ok(())
}

/// The first line of the file.
fn compiler() -> Result<String> {
    let rustc = Command::new("rustc").arg("--version").output()?;
    Ok(format!("# {}", String::from_utf8(rustc.stdout)?.trim_end()))
}

fn file() -> PathBuf {
    let name = format!("{}.txt", env::consts::ARCH);
    [env!("CARGO_MANIFEST_DIR"), &name].iter().collect()
}

fn parse(text: &str) -> Result<Counts> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, count) = line.split_once(' ').ok_or("a line without a count")?;
            Ok((name.to_owned(), count.parse()?))
        })
        .collect()
}

fn count_all() -> Result<Counts> {
    let counts = CASES.iter().map(|(name, _)| {
        const TIMES: u32 = 500;

        // What is done once, to start the process or to fill a cache, is in both.
        let (some, more) = (instructions(name, TIMES)?, instructions(name, 2 * TIMES)?);
        Ok(((*name).to_owned(), (more - some) / u64::from(TIMES)))
    });
    counts.collect()
}

/// The instructions of a process that does it so many times.
fn instructions(case: &str, times: u32) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["repeat", case, &times.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| {
        let (_, count) = line.split_once("Collected : ")?;
        count.trim().parse().ok()
    });
    match collected {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("{case}, under valgrind: {report}").into()),
    }
}

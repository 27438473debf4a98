//! On a terminal: job control, the question of `kill`, and `who --watch`.

use std::process::Command;

use diesel_advisory_sandbox::Sandbox;
use rexpect::session::{PtyReplSession, PtySession, spawn_bash, spawn_command};

use crate::support::{LONG, Running, client, eventually, holder, pids, program};

fn timeout() -> Option<u64> {
    u64::try_from(LONG.as_millis()).ok()
}

/// A line for a shell.
fn line(command: &Command) -> String {
    let quote =
        |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap().replace('\'', r"'\''"));
    let mut words = vec![
        String::from("env"),
        String::from("-u"),
        String::from("PGAPPNAME"),
    ];
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.to_str().unwrap(), quote(value)));
        }
    }
    words.push(quote(command.get_program()));
    words.extend(command.get_args().map(quote));
    words.join(" ")
}

fn shell() -> PtyReplSession {
    let mut shell = spawn_bash(timeout()).unwrap();
    // A shell on a terminal takes no notice of SIGTERM, which it gets in the end.
    shell.process_mut().set_kill_timeout(Some(100));
    shell.send_line("set -m; stty -echo").unwrap();
    shell.wait_for_prompt().unwrap();
    shell
}

fn on_terminal(command: Command) -> PtySession {
    spawn_command(command, timeout()).unwrap()
}

#[test]
fn a_job_is_stopped_and_continued_by_its_shell() {
    let server = Sandbox::shared();
    let mut shell = shell();
    let script = "trap 'echo continued' CONT; echo re''ady; while read -t 1 word || [ $? -gt 128 ]; do \
                  [ -z \"$word\" ] || { echo \"got $word\"; exit 3; }; done";
    let run = line(&program(
        server,
        &["run", "job", "--", "bash", "-c", script],
    ));
    shell.send_line(&run).unwrap();
    shell.exp_string("ready").unwrap();
    shell.send_control('z').unwrap();
    shell.exp_string("Stopped").unwrap();
    shell.wait_for_prompt().unwrap();
    // The shell has the terminal, and the lock is still held.
    shell.send_line("echo shell is $((40 + 2))").unwrap();
    shell.exp_string("shell is 42").unwrap();
    shell.wait_for_prompt().unwrap();
    let held = pids(&mut client(server), "job", true);
    assert_eq!(held.len(), 1);
    shell.send_line("fg").unwrap();
    shell.exp_string("continued").unwrap();
    // The command has the terminal again.
    shell.send_line("word").unwrap();
    shell.exp_string("got word").unwrap();
    shell.wait_for_prompt().unwrap();
    shell.send_line("echo code $?").unwrap();
    shell.exp_string("code 3").unwrap();
}

#[test]
fn the_interrupt_key_reaches_the_command() {
    let server = Sandbox::shared();
    let mut shell = shell();
    let script =
        "trap 'echo inter''rupted; exit 4' INT; echo re''ady; while :; do sleep 0.01; done";
    let run = line(&program(
        server,
        &["run", "interrupt", "--", "bash", "-c", script],
    ));
    shell.send_line(&run).unwrap();
    shell.exp_string("ready").unwrap();
    shell.send_control('c').unwrap();
    shell.exp_string("interrupted").unwrap();
    shell.wait_for_prompt().unwrap();
    shell.send_line("echo code $?").unwrap();
    shell.exp_string("code 4").unwrap();
}

#[test]
fn a_job_that_was_stopped_for_too_long_does_not_go_on() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    let mut shell = shell();
    let script = "trap 'echo ended by te''rm; exit 3' TERM; trap 'echo contin''ued' CONT; echo re''ady; \
                  while :; do sleep 0.01; done";
    let run = [
        "run", "job-late", "--ttl", "300ms", "--", "bash", "-c", script,
    ];
    shell.send_line(&line(&program(server, &run))).unwrap();
    shell.exp_string("ready").unwrap();
    shell.send_control('z').unwrap();
    shell.exp_string("Stopped").unwrap();
    shell.wait_for_prompt().unwrap();
    eventually("the lock is free", || {
        pids(&mut sql, "job-late", true).is_empty()
    });
    shell.send_line("fg").unwrap();
    shell.exp_string("is lost").unwrap();
    shell.exp_string("ended by term").unwrap();
    shell.wait_for_prompt().unwrap();
    shell.send_line("echo code $?").unwrap();
    shell.exp_string("code 74").unwrap();
}

#[test]
fn kill_asks_on_a_terminal() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    let _held = Running::start(program(server, &["run", "ask", "--", "sleep", "1000"]));
    let pid = holder(&mut sql, "ask");
    let mut asked = on_terminal(program(server, &["kill", "ask"]));
    asked.exp_string(&pid.to_string()).unwrap();
    asked.exp_string("End this session? [y/N]").unwrap();
    asked.send_line("n").unwrap();
    asked.exp_eof().unwrap();
    assert_eq!(pids(&mut sql, "ask", true), [pid]);
    let mut asked = on_terminal(program(server, &["kill", "ask"]));
    asked.exp_string("End this session? [y/N]").unwrap();
    asked.send_line("y").unwrap();
    asked.exp_string("is gone").unwrap();
    assert!(pids(&mut sql, "ask", true).is_empty());
}

#[test]
fn a_wait_on_a_terminal_is_one_line_that_goes_away() {
    let server = Sandbox::shared();
    let held = Running::start(program(
        server,
        &["run", "wait-shown", "--", "sleep", "1000"],
    ));
    let pid = holder(&mut client(server), "wait-shown");
    let mut waiting = on_terminal(program(
        server,
        &["run", "wait-shown", "--", "echo", "it ran"],
    ));
    let shown =
        format!("\r\x1b[Kpg-advisory: waiting for \"wait-shown\" for 1s: held by pid {pid}");
    waiting.exp_string(&shown).unwrap();
    held.signal("TERM");
    waiting.exp_string("\r\x1b[K").unwrap();
    waiting.exp_string("it ran").unwrap();
}

#[test]
fn watch_redraws_in_place_and_leaves_the_terminal_as_it_was() {
    let server = Sandbox::start().unwrap();
    let mut sql = client(&server);
    for leave in ["q", "interrupt"] {
        let mut watch = on_terminal(program(&server, &["who", "--watch", "--interval", "100ms"]));
        watch.exp_string("\x1b[?1049h\x1b[?25l").unwrap();
        watch.exp_string("No advisory lock is held.").unwrap();
        let held = Running::start(program(&server, &["run", "watched", "--", "sleep", "1000"]));
        holder(&mut sql, "watched");
        watch.exp_string("\x1b[H").unwrap();
        watch.exp_string("watched").unwrap();
        held.signal("TERM");
        assert_eq!(held.end().code, 143);
        watch.exp_string("No advisory lock is held.").unwrap();
        if leave == "q" {
            watch.send("q").unwrap();
            watch.flush().unwrap();
        } else {
            watch.send_control('c').unwrap();
        }
        watch.exp_string("\x1b[?25h\x1b[?1049l").unwrap();
        watch.exp_eof().unwrap();
    }
}

#[test]
fn watch_is_for_terminals() {
    let server = Sandbox::shared();
    let watch = crate::support::done(program(server, &["who", "--watch"]));
    assert_eq!(watch.code, 64);
}

#[test]
fn colours_are_for_terminals_of_those_who_like_them() {
    let server = Sandbox::start().unwrap();
    let _held = Running::start(program(&server, &["run", "colours", "--", "sleep", "1000"]));
    holder(&mut client(&server), "colours");
    let shown = |no_color: Option<&str>| {
        let mut who = program(&server, &["who"]);
        who.env_remove("NO_COLOR");
        if let Some(value) = no_color {
            who.env("NO_COLOR", value);
        }
        on_terminal(who).exp_eof().unwrap()
    };
    assert!(shown(None).contains("\x1b[1m"));
    assert!(shown(Some("")).contains("\x1b[1m"));
    let plain = shown(Some("1"));
    assert!(
        plain.contains("colours") && !plain.contains('\x1b'),
        "{plain}"
    );
}

#[test]
fn a_password_is_asked_for_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let server = crate::connect::with_password(folder.path());
    for options in [&["who"][..], &["who", "-W"]] {
        let url = server.url_as("guest", "postgres");
        let mut who = on_terminal(crate::support::at(&url, options));
        who.exp_string("Password for user guest: ").unwrap();
        who.send_line("hush-hush").unwrap();
        let rest = who.exp_eof().unwrap();
        assert!(
            rest.contains("No advisory lock is held.") && !rest.contains("hush"),
            "{rest}"
        );
    }
}

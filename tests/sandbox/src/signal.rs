use std::process::{Command, Stdio};

/// Sends a signal to a process: `signal(child.id(), "STOP")`.
///
/// It needs no program but the shell.
///
/// # Panics
///
/// If there is no such process or signal.
pub fn signal(pid: u32, signal: &str) {
    let sent = Command::new("/bin/sh")
        .args(["-c", r#"kill "-$1" "$2""#, "sh", signal, &pid.to_string()])
        .stdin(Stdio::null())
        .status();
    assert!(
        sent.is_ok_and(|status| status.success()),
        "cannot send SIG{signal} to process {pid}"
    );
}

//! What is generated from the command line's definition is up to date.

use std::path::Path;

use crate::support::{bare, done};

/// `UPDATE_GENERATED=1 cargo test -p diesel-advisory-cli generated` writes the files.
fn is_up_to_date(file: &str, args: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("generated")
        .join(file);
    let done = done(bare(args));
    assert_eq!(done.code, 0, "{}", done.err);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &done.out).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == done.out,
        "{file} is not what `pg-advisory {}` prints",
        args.join(" ")
    );
}

#[test]
fn generated_completions_are_up_to_date() {
    for (file, shell) in [
        ("completions/pg-advisory.bash", "bash"),
        ("completions/_pg-advisory", "zsh"),
        ("completions/pg-advisory.fish", "fish"),
    ] {
        is_up_to_date(file, &["completions", shell]);
    }
}

#[test]
fn generated_man_pages_are_up_to_date() {
    is_up_to_date("man/pg-advisory.1", &["man"]);
    for command in ["run", "who", "kill", "key", "check", "install"] {
        is_up_to_date(&format!("man/pg-advisory-{command}.1"), &["man", command]);
    }
}

#[test]
fn there_is_no_generated_page_for_what_is_no_command() {
    assert_eq!(done(bare(&["man", "nothing"])).code, 64);
}

//! Completions and man pages.

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::{Failure, SOFTWARE};
use crate::output::out;

pub(crate) fn completions(shell: Shell) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pg-advisory", &mut text);
    out(&String::from_utf8_lossy(&text))?;
    Ok(0)
}

pub(crate) fn man(command: Option<&str>) -> Result<u8, Failure> {
    let mut program = Cli::command().flatten_help(false);
    program.build();
    let page = match command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name);
            let found: &Command =
                found.ok_or_else(|| Failure::usage(format!("there is no command {name:?}")))?;
            found.clone()
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page)
        .render(&mut text)
        .map_err(|error| Failure::new(SOFTWARE, error.to_string()))?;
    out(&String::from_utf8_lossy(&text))?;
    Ok(0)
}

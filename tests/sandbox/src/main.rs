//! Runs a command with `DATABASE_URL` naming a throwaway PostgreSQL. Without a command it prints
//! the URL and keeps the server until standard input ends.

use std::env;
use std::error::Error;
use std::io;
use std::process::{Command, ExitCode};

use diesel_advisory_sandbox::Sandbox;

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let sandbox = Sandbox::start()?;
    let mut command = env::args_os().skip(1);
    let Some(program) = command.next() else {
        println!("{}", sandbox.url());
        io::copy(&mut io::stdin(), &mut io::sink())?;
        return Ok(ExitCode::SUCCESS);
    };
    let status = Command::new(program)
        .args(command)
        .env("DATABASE_URL", sandbox.url())
        .status()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

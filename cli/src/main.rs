//! `pg-advisory`: PostgreSQL advisory locks by name, for those who have no Rust program.
//!
//! What a user is told stands in [`args`], from which help, completions and man pages are made. `connect` opens
//! sessions as libpq's programs do; there is a module for each command.

mod args;
mod check;
mod connect;
mod exit;
mod generated;
mod key;
mod kill;
mod locks;
mod output;
mod run;
mod secrets;
mod text;
mod who;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use diesel_async::AsyncPgConnection;

use self::args::{Cli, Command, InstallArgs};
use self::connect::Settings;
use self::exit::{Failure, SOFTWARE, USAGE, say};

fn main() -> ExitCode {
    if let Some(code) = run::become_command() {
        return ExitCode::from(code);
    }
    let code = secrets::hide_from_ps().and_then(|()| start());
    ExitCode::from(code.unwrap_or_else(|failure| {
        say!("{failure}");
        failure.code
    }))
}

fn start() -> Result<u8, Failure> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let asked_for = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            return Ok(if asked_for { 0 } else { USAGE });
        }
    };
    // One thread: a command is killed with the thread that has started it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(SOFTWARE, format!("no runtime: {error}")))?;
    let code = runtime.block_on(command(cli.command));
    // A name that is being looked up, or a key that is being waited for, holds nobody up.
    runtime.shutdown_background();
    code
}

async fn command(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Key(args) => key::key(&args).await,
        Command::Install(args) => install(&args).await,
        Command::Completions { shell } => generated::completions(shell),
        Command::Man { command } => generated::man(command.as_deref()),
        Command::Run(args) => run::run(&args).await,
        Command::Who(args) => who::who(&args).await,
        Command::Kill(args) => kill::kill(&args).await,
        Command::Check(args) => check::check(&args).await,
    }
}

async fn install(args: &InstallArgs) -> Result<u8, Failure> {
    let settings = Settings::of(&args.connect)?;
    let mut conn: AsyncPgConnection = connect::open(&settings, "pg-advisory install").await?;
    diesel_advisory::catalog::install_async(&mut conn).await?;
    Ok(0)
}

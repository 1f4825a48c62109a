//! The command line: one file per command.

pub mod check;
mod demo;
mod output;
mod serve;
mod signals;

use std::{ffi::OsString, io, process::ExitCode};

use clap::{Parser, Subcommand};

pub use demo::Demo;

/// The exit code of bad settings and bad arguments, `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

/// The exit code of a process that a second Ctrl-C ended, as shells have it.
const INTERRUPTED: u8 = 130;

#[derive(Debug, Parser)]
#[command(name = "longshore", version, about = "A gRPC storage microservice over S3", long_about = None)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve gRPC, set up by LONGSHORE_* variables and the tenants file that they name
    Serve,
    /// Read and validate all settings, and say what is wrong with them; listens nowhere
    Check,
    /// Serve one tenant on an S3 server of its own, in this process: to try things out
    Demo(Demo),
}

/// The command that `arguments` ask for (the program's name first). Where there is nothing to run (help,
/// the version, or arguments that make no sense), all has been said and the exit code is given.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, ExitCode> {
    match CommandLine::try_parse_from(arguments) {
        Ok(line) => Ok(line.command),
        Err(answer) => {
            let wrong = answer.use_stderr();
            // Where it cannot be written there is nowhere left to say so.
            let _ = answer.print();
            Err(if wrong { ExitCode::from(USAGE) } else { ExitCode::SUCCESS })
        }
    }
}

/// Runs a command to its end.
pub async fn run(command: Command) -> ExitCode {
    match command {
        Command::Serve => serve::run(std::env::vars_os()).await,
        Command::Check => check(),
        Command::Demo(demo) => demo.run().await,
    }
}

/// The exit code of a process that has no runtime to run a command in.
pub fn cannot_start(error: &io::Error) -> ExitCode {
    failed(&format!("cannot start threads: {error}"))
}

fn check() -> ExitCode {
    let checked = check::run(std::env::vars_os(), &mut io::stdout().lock(), &mut io::stderr().lock());
    // The settings' verdict is lost where it cannot be written: neither good nor bad.
    checked.map_or_else(|error| failed(&format!("cannot write: {error}")), ExitCode::from)
}

/// Says one sentence, for exit code 1.
fn failed(sentence: &str) -> ExitCode {
    output::problem(sentence);
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Command, ExitCode> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_commands_are_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn commands_are_told_apart() {
        assert!(matches!(parsed("longshore serve"), Ok(Command::Serve)));
        assert!(matches!(parsed("longshore check"), Ok(Command::Check)));
        assert!(matches!(parsed("longshore demo"), Ok(Command::Demo(_))));
    }

    #[test]
    fn help_and_version_are_no_failure_and_nonsense_is() {
        for (line, code) in [
            ("longshore --version", ExitCode::SUCCESS),
            ("longshore demo --help", ExitCode::SUCCESS),
            ("longshore", ExitCode::from(USAGE)),
            ("longshore fly", ExitCode::from(USAGE)),
            ("longshore demo --listen nowhere", ExitCode::from(USAGE)),
        ] {
            assert_eq!(format!("{:?}", parsed(line).unwrap_err()), format!("{code:?}"), "{line}");
        }
    }
}

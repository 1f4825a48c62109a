//! The command line: one file per command.

pub mod check;
mod connect;
mod demo;
mod explain;
mod output;
mod reload;
mod serve;
mod signals;
mod token;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

pub use check::Check;
pub use demo::Demo;

use crate::config;

/// The exit code for invalid settings and invalid arguments, `EX_USAGE` in sysexits.h.
const USAGE: u8 = 64;

/// The exit code after a second signal. Shells report 130 for a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[derive(Debug, Parser)]
#[command(name = "longshore", version, about = "A gRPC storage microservice backed by S3", long_about = None)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// The command to run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve gRPC, configured by LONGSHORE_* variables and the tenants file that they name
    Serve,
    /// Read and validate all settings and report every problem, without serving
    Check(Check),
    /// Print the JSON Schema of the tenants file
    Schema,
    /// Print a new token for a caller, and its SHA-256 for the tenants file
    Token,
    /// Serve one tenant backed by an S3 server in the same process, to try Longshore out
    Demo(Demo),
}

/// Parses `arguments`, of which the first is the program's name. If there is no command to run (for `--help`,
/// `--version` and invalid arguments), prints the output and returns the exit code.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, ExitCode> {
    match CommandLine::try_parse_from(arguments) {
        Ok(line) => Ok(line.command),
        Err(answer) => {
            let wrong = answer.use_stderr();
            // A failure to print cannot be reported anywhere.
            let _ = answer.print();
            Err(if wrong { ExitCode::from(USAGE) } else { ExitCode::SUCCESS })
        }
    }
}

/// Runs a command until it ends, and returns its exit code.
pub async fn run(command: Command) -> ExitCode {
    match command {
        Command::Serve => serve::run(std::env::vars_os()).await,
        Command::Check(check) => checked(check).await,
        Command::Schema => printed(&format!("{:#}", config::schema())),
        Command::Token => match token::new() {
            Some(token) => printed(&token.to_string()),
            None => failed("cannot create a token: the system has no random bytes"),
        },
        Command::Demo(demo) => demo.run().await,
    }
}

/// Reports that the runtime could not be started. Returns the exit code.
pub fn cannot_start(error: &io::Error) -> ExitCode {
    failed(&format!("cannot start the worker threads: {error}"))
}

async fn checked(check: Check) -> ExitCode {
    let checked = check.run(std::env::vars_os(), &mut io::stdout(), &mut io::stderr()).await;
    // If the summary cannot be written, `check` reports that, and not whether the settings are valid.
    checked.map_or_else(
        |error| failed(&format!("cannot write the summary to standard output: {error}")),
        ExitCode::from,
    )
}

/// Writes text to standard output. Returns the exit code.
fn printed(text: &str) -> ExitCode {
    match writeln!(io::stdout().lock(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("cannot write to standard output: {error}")),
    }
}

/// Writes one sentence to standard error. Returns exit code 1.
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
    fn the_command_line_definition_is_valid() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn each_command_is_parsed() {
        assert!(matches!(parsed("longshore serve"), Ok(Command::Serve)));
        assert!(matches!(parsed("longshore check"), Ok(Command::Check(_))));
        assert!(matches!(parsed("longshore check tenants.yaml --no-secrets"), Ok(Command::Check(_))));
        assert!(matches!(parsed("longshore check --connect"), Ok(Command::Check(_))));
        assert!(matches!(parsed("longshore check --explain c Get s/k --tenant t"), Ok(Command::Check(_))));
        assert!(matches!(parsed("longshore schema"), Ok(Command::Schema)));
        assert!(matches!(parsed("longshore token"), Ok(Command::Token)));
        assert!(matches!(parsed("longshore demo"), Ok(Command::Demo(_))));
    }

    #[test]
    fn help_and_version_succeed_and_invalid_arguments_fail() {
        for (line, code) in [
            ("longshore --version", ExitCode::SUCCESS),
            ("longshore demo --help", ExitCode::SUCCESS),
            ("longshore", ExitCode::from(USAGE)),
            ("longshore check --connect --no-secrets", ExitCode::from(USAGE)),
            ("longshore check --explain c Get", ExitCode::from(USAGE)),
            ("longshore check --tenant t", ExitCode::from(USAGE)),
            ("longshore fly", ExitCode::from(USAGE)),
            ("longshore demo --listen nowhere", ExitCode::from(USAGE)),
        ] {
            assert_eq!(format!("{:?}", parsed(line).unwrap_err()), format!("{code:?}"), "{line}");
        }
    }
}

//! Commands, help and exit codes; the only file that prints to the terminal.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where printing belongs")]

use std::ffi::OsString;
use std::process::ExitCode;

use crate::app::{App, Ending, StartFault};
use crate::check;
use crate::config::{Config, SETTINGS};
use crate::log;
use crate::report::Problem;

/// What the exit codes mean; the README repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Stopped as asked, every request finished; or the command succeeded.
    Done = 0,
    /// Stopped by force, or failed in another way.
    Failed = 1,
    /// Settings or arguments are wrong.
    Usage = 2,
    /// Certificate or key cannot be used.
    Identity = 3,
    /// The address cannot be listened on.
    Listen = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the program with its arguments.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> = arguments.map(|a| a.to_string_lossy().into_owned()).collect();
    let exit = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["run"] => serve(),
        ["healthcheck"] => report(check::healthcheck(&environment)),
        ["--help" | "-h" | "help"] => {
            print!("{}", help());
            Exit::Done
        }
        ["--version" | "-V" | "version"] => {
            println!("auth-proxy {}", env!("CARGO_PKG_VERSION"));
            Exit::Done
        }
        _ => {
            complain(
                &Problem::new(format!("unknown arguments: {}", arguments.join(" ")))
                    .hint("auth-proxy takes its settings from the environment; see auth-proxy --help"),
            );
            Exit::Usage
        }
    };
    exit.into()
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from(HELP);
    for setting in SETTINGS {
        text.push_str(&format!(
            "  {}\n      {} (default: {})\n",
            setting.name, setting.meaning, setting.default
        ));
    }
    text
}

const HELP: &str = "\
auth-proxy signs in to Microsoft Entra ID with a certificate and adds the bearer token to every request
for Azure OpenAI. Point the application at it instead of at Azure; any API key will do there.

Usage:
  auth-proxy               run until SIGTERM or SIGINT
  auth-proxy healthcheck   ask the running proxy's /health; exit code 0 when it is ready
  auth-proxy --help
  auth-proxy --version

Exit codes:
  0  stopped, every request finished; or the command succeeded
  1  stopped by force, or failed in another way
  2  settings or arguments are wrong
  3  certificate or key cannot be used
  4  the address cannot be listened on

Settings (environment; an empty value means unset):
";

fn serve() -> Exit {
    let config = match Config::from_lookup(&environment) {
        Ok(config) => config,
        Err(problems) => return fail(StartFault::Config(problems)),
    };
    log::init(config.log_level, config.log_format);
    match App::start(config) {
        Ok(app) => match app.run() {
            Ending::Drained => Exit::Done,
            Ending::Forced => Exit::Failed,
        },
        Err(fault) => fail(fault),
    }
}

fn fail(fault: StartFault) -> Exit {
    let (exit, problems) = match fault {
        StartFault::Config(problems) => (Exit::Usage, problems),
        StartFault::Identity(problem) => (Exit::Identity, vec![problem]),
        StartFault::Listen(problem) => (Exit::Listen, vec![problem]),
        StartFault::System(problem) => (Exit::Failed, vec![problem]),
    };
    problems.iter().for_each(complain);
    exit
}

fn report(outcome: Result<(), Problem>) -> Exit {
    match outcome {
        Ok(()) => Exit::Done,
        Err(problem) => {
            complain(&problem);
            Exit::Failed
        }
    }
}

fn complain(problem: &Problem) {
    eprintln!("error: {problem}");
}

fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

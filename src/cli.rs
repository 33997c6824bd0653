//! Commands, help and exit codes; the only file that prints to the terminal.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where printing belongs")]

use std::ffi::OsString;
use std::process::ExitCode;

use crate::app::{App, Ending, StartFault};
use crate::check::{self, Kind};
use crate::config::{self, Config, Environment, SETTINGS};
use crate::log;
use crate::report::Problem;
use crate::version;

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
    /// `check`: signing in failed.
    SignIn = 5,
    /// `check`: the destination cannot be reached, or refuses.
    Destination = 6,
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
        ["check"] => examine(Form::Text),
        ["check", "--json"] => examine(Form::Json),
        ["healthcheck"] => report(check::healthcheck(&environment)),
        ["wait"] => wait(WAIT),
        ["wait", "--max", most] => wait(most),
        ["wait", option] if option.starts_with("--max=") => wait(&option["--max=".len()..]),
        ["--help" | "-h" | "help"] => {
            print!("{}", help());
            Exit::Done
        }
        ["--version" | "-V" | "version"] => {
            println!("auth-proxy {}", version::describe());
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
        let default = match setting.default {
            "required" => "(required)".to_owned(),
            default => format!("(default: {default})"),
        };
        text.push_str(&format!("  {}\n      {} {default}\n", setting.name, setting.meaning));
    }
    text
}

const HELP: &str = "\
auth-proxy signs in to Microsoft Entra ID with a certificate and adds the bearer token to every request
for Azure OpenAI. Point the application at it instead of at Azure; any API key will do there.

Usage:
  auth-proxy                    run until SIGTERM or SIGINT
  auth-proxy check [--json]     try every step of a start, one token and one request included, and say what is wrong
  auth-proxy healthcheck        ask the running proxy's /health; exit code 0 when it is ready
  auth-proxy wait [--max 30s]   ask until it is ready, for so long at most
  auth-proxy --help
  auth-proxy --version

Example:
  export AZURE_CLIENT_ID=... AZURE_TENANT_ID=... AZURE_CERTIFICATE_PATH=/path/to/certificate.pem
  export API_BASE_URL=https://NAME.openai.azure.com HOST=127.0.0.1
  auth-proxy check && auth-proxy

Exit codes:
  0  stopped, every request finished; or the command succeeded
  1  stopped by force, or failed in another way
  2  settings or arguments are wrong
  3  certificate or key cannot be used
  4  the address cannot be listened on
  5  check: signing in failed
  6  check: the destination cannot be reached, or refuses

Settings (environment; an empty value means unset):
";

/// How long `wait` waits unless told.
const WAIT: &str = "30s";

/// How `check` tells what it found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Each step as soon as it is over.
    Text,
    /// One object in the end.
    Json,
}

fn examine(form: Form) -> Exit {
    let names = names();
    let steps = check::run(Environment { lookup: &environment, names: &names }, &mut |step| {
        if form == Form::Text {
            print!("{}", check::text(step));
        }
    });
    let exit = match check::failed(&steps) {
        None => Exit::Done,
        Some(Kind::Settings) => Exit::Usage,
        Some(Kind::Certificate) => Exit::Identity,
        Some(Kind::Authority | Kind::SignIn) => Exit::SignIn,
        Some(Kind::Destination) => Exit::Destination,
    };
    if form == Form::Json {
        print!("{}", check::json(&steps, exit as u8));
    }
    exit
}

fn wait(most: &str) -> Exit {
    match config::duration(most) {
        Ok(most) => report(check::wait(&environment, most)),
        Err(mut problem) => {
            problem.message = format!("--max {}", problem.message);
            complain(&problem);
            Exit::Usage
        }
    }
}

fn serve() -> Exit {
    let environment = Environment { lookup: &environment, names: &names() };
    let config = match Config::from_environment(environment) {
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

fn names() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}

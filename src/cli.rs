//! Commands, help and exit codes; the only file that prints to the terminal.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where printing belongs")]

mod hash_key;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use crate::app::{App, Ending, StartError};
use crate::check::{self, StepKind};
use crate::config::{self, Config, Environment, LogFormat, LogLevel, SETTINGS};
use crate::log;
use crate::report::{Problem, quote};
use crate::version;

/// What the exit codes mean; docs/settings.md repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Stopped as asked, every request finished; or the command succeeded.
    Done = 0,
    /// Stopped by force, or failed in another way.
    Failed = 1,
    /// Settings or arguments are wrong.
    Usage = 2,
    /// A certificate, a private key or the file of keys cannot be used.
    Identity = 3,
    /// The address cannot be listened on.
    Listen = 4,
    /// `check`: signing in failed.
    SignIn = 5,
    /// `check`: the upstream cannot be reached, or rejects the request.
    Upstream = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the program with its arguments.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> = arguments.map(|a| a.to_string_lossy().into_owned()).collect();
    let exit = match Command::parse(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(Command::Run) => serve(),
        Ok(Command::Check(form)) => run_check(form),
        Ok(Command::Healthcheck) => report(check::healthcheck(&environment)),
        Ok(Command::Wait(max)) => report(check::wait(&environment, max)),
        Ok(Command::HashKey(name)) => match hash_key::from_stdin(name.as_deref()) {
            Ok(line) => {
                println!("{line}");
                Exit::Done
            }
            Err(problem) => {
                print_error(&problem);
                Exit::Usage
            }
        },
        Ok(Command::Help(text)) => {
            print!("{text}");
            Exit::Done
        }
        Ok(Command::Version) => {
            println!("auth-proxy {}", version::describe());
            Exit::Done
        }
        Err(problem) => {
            print_error(&problem);
            Exit::Usage
        }
    };
    exit.into()
}

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Run,
    Check(OutputFormat),
    Healthcheck,
    /// For so long at most.
    Wait(Duration),
    /// For the caller of this name.
    HashKey(Option<String>),
    Help(String),
    Version,
}

impl Command {
    fn parse(arguments: &[&str]) -> Result<Self, Problem> {
        let (name, rest) = arguments.split_first().map_or(("run", &[][..]), |(name, rest)| (*name, rest));
        let is_help = |argument: &&str| matches!(*argument, "--help" | "-h");
        match (usage(name), name) {
            (Some(usage), _) if rest.iter().any(is_help) => Ok(Self::Help(usage.help())),
            (_, "run") => unknown_argument(name, rest).map_or(Ok(Self::Run), Err),
            (_, "check") => match rest {
                ["--json"] => Ok(Self::Check(OutputFormat::Json)),
                _ => unknown_argument(name, rest).map_or(Ok(Self::Check(OutputFormat::Text)), Err),
            },
            (_, "healthcheck") => unknown_argument(name, rest).map_or(Ok(Self::Healthcheck), Err),
            (_, "wait") => wait(rest).map(Self::Wait),
            (_, "hash-key") => match rest {
                [] => Ok(Self::HashKey(None)),
                [name] if !name.starts_with('-') => {
                    hash_key::name(name).map(|name| Self::HashKey(Some(name)))
                }
                // None of it is shown: it may be the key.
                _ => {
                    Err(Problem::new("hash-key: takes one argument at most, a name").hint(hash_key::EXAMPLE))
                }
            },
            (_, "--help" | "-h" | "help") => {
                Ok(Self::Help(rest.first().and_then(|name| usage(name)).map_or_else(help, Usage::help)))
            }
            _ if rest.iter().any(is_help) => Ok(Self::Help(help())),
            (_, "--version" | "-V" | "-v" | "version") => {
                unknown_argument(name, rest).map_or(Ok(Self::Version), Err)
            }
            _ => {
                let what = if name.starts_with('-') { "option" } else { "command" };
                Err(Problem::new(format!("unknown {what}: {}", quote_argument(name)))
                    .hint("commands: run, check, healthcheck, wait, hash-key, help, version")
                    .hint("settings come from the environment; see auth-proxy --help"))
            }
        }
    }
}

/// The first argument that is left over, as a problem.
fn unknown_argument(command: &str, rest: &[&str]) -> Option<Problem> {
    let argument = rest.iter().find(|argument| command != "check" || **argument != "--json");
    let argument = argument.or_else(|| rest.last())?;
    let what = if argument.starts_with('-') { "option" } else { "argument" };
    let command = command.trim_start_matches('-');
    let problem = Problem::new(format!("{command}: unknown {what}: {}", quote_argument(argument)));
    Some(match usage(command) {
        Some(usage) => problem.hint(format!("usage: auth-proxy {}", usage.form)),
        None => problem.hint("see auth-proxy --help"),
    })
}

/// An argument for a message. What follows a `=` is a value, which may belong to a secret.
fn quote_argument(argument: &str) -> String {
    let option = argument.split_once('=').filter(|_| argument.starts_with('-'));
    quote(option.map_or(argument, |(option, _)| option))
}

fn wait(arguments: &[&str]) -> Result<Duration, Problem> {
    let max = match arguments {
        [] => DEFAULT_WAIT,
        ["--max"] | ["--max="] => {
            return Err(Problem::new("wait: --max has no value").hint("write, for example, wait --max 30s"));
        }
        ["--max", max] => max,
        [option] if option.starts_with("--max=") => &option["--max=".len()..],
        ["--max", _, rest @ ..] | rest => {
            let problem =
                unknown_argument("wait", rest).unwrap_or_else(|| Problem::new("wait: unknown argument"));
            return Err(match rest {
                [max, ..] if config::duration(max).is_ok() => {
                    problem.hint(format!("did you mean wait --max {max}?"))
                }
                _ => problem,
            });
        }
    };
    config::duration(max)
        .map_err(|problem| Problem { message: format!("wait: --max {}", problem.message), ..problem })
}

/// A command, as its own help and everybody's has it.
struct Usage {
    name: &'static str,
    /// With its arguments.
    form: &'static str,
    meaning: &'static str,
    /// What else there is to know.
    more: &'static str,
}

const COMMANDS: [Usage; 5] = [
    Usage {
        name: "run",
        form: "",
        meaning: "run until SIGTERM or SIGINT",
        more: "The same as `auth-proxy run`. Settings come from the environment: auth-proxy --help lists them.\n",
    },
    Usage {
        name: "check",
        form: "check [--json]",
        meaning: "try every step of a start, including one token and one request, and report what is wrong",
        more: "\
Steps: settings, certificate, authority, sign-in, upstream. Needs the same environment as the proxy, which
need not be running. --json prints one object at the end.

Exit codes: 0 all steps passed, 2 settings, 3 certificate or key, 5 sign-in, 6 upstream.
",
    },
    Usage {
        name: "healthcheck",
        form: "healthcheck",
        meaning: "query the running proxy's /health; exit code 0 if it is ready",
        more: "Queries HOST and PORT, which must be the proxy's. If it is not ready: exit code 1, and the reason.\n",
    },
    Usage {
        name: "wait",
        form: "wait [--max 30s]",
        meaning: "wait until the running proxy is ready (for start-up scripts)",
        more: "\
Queries HOST and PORT, which must be the proxy's. --max is 30s by default; write 500ms, 10s, 2m or 1h. Exit code 0 as
soon as it is ready; 1 if it is not ready in that time, and the reason.
",
    },
    Usage {
        name: "hash-key",
        form: "hash-key [NAME]",
        meaning: "make a line for PROXY_API_KEYS_FILE from a key on standard input",
        more: "\
The key is one line of 16 visible ASCII characters or more. Without NAME the line may be a name, a space and the key;
else the name is `default`. Prints the name and the SHA-256 of the key. Exit code 2 if the input is no key.

Example:
  key=$(openssl rand -hex 32)
  printf %s \"$key\" | auth-proxy hash-key team-a >> keys
",
    },
];

/// The command of this name.
fn usage(name: &str) -> Option<&'static Usage> {
    COMMANDS.iter().find(|command| command.name == name)
}

impl Usage {
    fn help(&self) -> String {
        let Self { form, meaning, more, .. } = self;
        format!("{meaning}\n\nUsage: {}\n\n{more}", format!("auth-proxy {form}").trim_end())
    }
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from(ABOUT);
    for Usage { form, meaning, .. } in &COMMANDS {
        text.push_str(&format!("  {:<29} {meaning}\n", format!("auth-proxy {form}").trim_end()));
    }
    text.push_str(MORE);
    for setting in SETTINGS {
        let default = match setting.default {
            "required" => "(required)".to_owned(),
            default => format!("(default: {default})"),
        };
        text.push_str(&format!("  {}\n      {} {default}\n", setting.name, setting.meaning));
    }
    text
}

const ABOUT: &str = "\
auth-proxy signs in to Microsoft Entra ID with a certificate and adds the bearer token to every request
for Azure OpenAI. Point clients at it instead of at Azure and set any placeholder API key.

Usage:
";

const MORE: &str = "  auth-proxy --help             this text; after a command, that command's help
  auth-proxy --version

Example:
  export AZURE_CLIENT_ID=... AZURE_TENANT_ID=... AZURE_CERTIFICATE_PATH=/path/to/certificate.pem
  export API_BASE_URL=https://NAME.openai.azure.com HOST=127.0.0.1
  auth-proxy check && auth-proxy

Exit codes:
  0  stopped after all requests finished; or the command succeeded
  1  stopped with requests open, or another failure
  2  settings or arguments are wrong
  3  certificate, private key or PROXY_API_KEYS_FILE cannot be used
  4  cannot listen on the address
  5  check: sign-in failed
  6  check: the upstream is unreachable or refuses the request

Settings (environment; an empty value means unset):
";

/// How long `wait` waits by default.
const DEFAULT_WAIT: &str = "30s";

/// How `check` prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputFormat {
    /// Each step as soon as it is over.
    Text,
    /// One object in the end.
    Json,
}

fn run_check(form: OutputFormat) -> Exit {
    let variable_names = variable_names();
    let steps = check::run(Environment { lookup: &environment, names: &variable_names }, &mut |step| {
        if form == OutputFormat::Text {
            print!("{}", check::text(step));
        }
    });
    let exit = match check::failed(&steps) {
        None => Exit::Done,
        Some(StepKind::Settings) => Exit::Usage,
        Some(StepKind::Certificate) => Exit::Identity,
        Some(StepKind::Authority | StepKind::SignIn) => Exit::SignIn,
        Some(StepKind::Upstream) => Exit::Upstream,
    };
    if form == OutputFormat::Json {
        print!("{}", check::json(&steps, exit as u8));
    }
    exit
}

fn serve() -> Exit {
    let environment = Environment { lookup: &environment, names: &variable_names() };
    let config = match Config::from_environment(environment) {
        Ok(config) => config,
        Err(problems) => {
            return fail(StartError::Config(problems), Config::log_format(environment.lookup));
        }
    };
    let format = config.log_format;
    log::init(config.log_level, config.log_format);
    match App::start(config) {
        Ok(app) => match app.run() {
            Ending::Drained => Exit::Done,
            Ending::GraceExpired => Exit::Failed,
        },
        Err(error) => fail(error, format),
    }
}

/// Reports why the program cannot start: for people, or as events for who collects the log.
fn fail(error: StartError, format: LogFormat) -> Exit {
    let (exit, problems) = match error {
        StartError::Config(problems) => (Exit::Usage, problems),
        StartError::Identity(problem) => (Exit::Identity, vec![problem]),
        StartError::Listen(problem) => (Exit::Listen, vec![problem]),
        StartError::System(problem) => (Exit::Failed, vec![problem]),
    };
    match format {
        LogFormat::Text => problems.iter().for_each(print_error),
        LogFormat::Json => {
            log::init(LogLevel::Error, format);
            for Problem { message, hints, notes } in &problems {
                let (hint, note) = (hints.join("; "), notes.join("; "));
                let fields: [(&str, &dyn log::Value); 3] =
                    [("exit_code", &(exit as u8)), ("hint", &hint), ("note", &note)];
                log::error(message, &fields[..if notes.is_empty() { 2 } else { 3 }]);
            }
        }
    }
    exit
}

fn report(outcome: Result<(), Problem>) -> Exit {
    match outcome {
        Ok(()) => Exit::Done,
        Err(problem) => {
            print_error(&problem);
            Exit::Failed
        }
    }
}

fn print_error(problem: &Problem) {
    eprintln!("error: {problem}");
}

fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn variable_names() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        Command::parse(&arguments).map_err(|problem| problem.to_string())
    }

    #[test]
    fn what_the_arguments_ask_for() {
        let wait = |seconds| Command::Wait(Duration::from_secs(seconds));
        let help = |name: &str| Command::Help(usage(name).unwrap().help());
        for (line, expected) in [
            ("", Command::Run),
            ("run", Command::Run),
            ("check", Command::Check(OutputFormat::Text)),
            ("check --json", Command::Check(OutputFormat::Json)),
            ("healthcheck", Command::Healthcheck),
            ("wait", wait(30)),
            ("wait --max 2m", wait(120)),
            ("wait --max=10", wait(10)),
            ("hash-key", Command::HashKey(None)),
            ("hash-key team-a", Command::HashKey(Some("team-a".into()))),
            ("hash-key team-a -h", help("hash-key")),
            ("--version", Command::Version),
            ("-V", Command::Version),
            ("-v", Command::Version),
            ("version", Command::Version),
            ("--help", Command::Help(super::help())),
            ("-h", Command::Help(super::help())),
            ("help", Command::Help(super::help())),
            ("help nothing", Command::Help(super::help())),
            ("--version --help", Command::Help(super::help())),
            ("help wait", help("wait")),
            ("run --help", help("run")),
            ("run -h", help("run")),
            ("check --help", help("check")),
            ("check --json -h", help("check")),
            ("healthcheck --help", help("healthcheck")),
            ("wait --help", help("wait")),
            ("wait --max 10s --help", help("wait")),
        ] {
            assert_eq!(parse(line).as_ref(), Ok(&expected), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_what_would_be() {
        let key = "3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f";
        for (line, message, hint) in [
            ("wait --max", "wait: --max has no value", "wait --max 30s"),
            ("wait --max=", "wait: --max has no value", "wait --max 30s"),
            ("wait --max soon", "wait: --max is not a length of time: `soon`", "write 500ms, 10s, 2m or 1h"),
            ("wait --max 10s 20s", "wait: unknown argument: `20s`", "usage: auth-proxy wait [--max 30s]"),
            ("wait 10s", "wait: unknown argument: `10s`", "did you mean wait --max 10s?"),
            ("wait --timeout 10s", "wait: unknown option: `--timeout`", "usage: auth-proxy wait [--max 30s]"),
            ("check --yaml", "check: unknown option: `--yaml`", "usage: auth-proxy check [--json]"),
            ("check --json --yaml", "check: unknown option: `--yaml`", "usage: auth-proxy check [--json]"),
            ("check --json --json", "check: unknown option: `--json`", "usage: auth-proxy check [--json]"),
            ("check now", "check: unknown argument: `now`", "usage: auth-proxy check [--json]"),
            ("hash-key a/hunter2", "hash-key: the argument is not a caller's name", "printf %s"),
            ("hash-key a hunter2", "hash-key: takes one argument at most, a name", "from standard input"),
            ("hash-key --hunter2", "hash-key: takes one argument at most, a name", "hash-key NAME"),
            ("healthcheck -q", "healthcheck: unknown option: `-q`", "usage: auth-proxy healthcheck"),
            ("run --port=8080", "run: unknown option: `--port`", "usage: auth-proxy"),
            ("--version now", "version: unknown argument: `now`", "auth-proxy --help"),
            ("--port 8080", "unknown option: `--port`", "settings come from the environment"),
            ("--api-key=hunter2", "unknown option: `--api-key`", "settings come from the environment"),
            (
                "start",
                "unknown command: `start`",
                "commands: run, check, healthcheck, wait, hash-key, help, version",
            ),
            (key, "unknown command: (not shown: what looks like an API key, 32 characters)", "commands: "),
        ] {
            let printed = parse(line).unwrap_err();
            assert!(printed.starts_with(&format!("{message}\n")), "{line}: {printed}");
            assert!(printed.contains("\n  hint: ") && printed.contains(hint), "{line}: {printed}");
            assert!(!printed.contains("hunter2"), "{line}: {printed}");
        }
    }
}

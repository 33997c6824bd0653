//! One event per line on standard error, as text or JSON. It is never given a secret; control characters are escaped, so
//! that a request cannot forge a line. An event that is neither printed nor kept as a problem costs a comparison, and no
//! request waits for a standard error that is not read.

mod digest;
mod line;
mod problems;
mod sink;
mod throttle;
mod value;

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

pub(crate) use digest::{Digest, Entry};
pub(crate) use line::{excerpt, rfc3339};
pub(crate) use problems::LoggedProblem;
use problems::Problems;
use sink::Sink;
pub(crate) use throttle::Throttle;
pub(crate) use value::{Millis, Seconds, Value};

use crate::clock::unix_now;
use crate::config::{LogFormat, LogLevel};

/// Names and values of an event.
pub(crate) type LogFields<'a> = &'a [(&'a str, &'a dyn Value)];

static SETTINGS: OnceLock<(LogLevel, Style)> = OnceLock::new();
static SINK: Mutex<Sink> = Mutex::new(Sink::new());
static PROBLEMS: Mutex<Problems> = Mutex::new(Problems::new());
static DROPPED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Text,
    Terminal,
    Json,
}

/// Sets level and format, once, at start; later calls change nothing. Until then: `info`, text.
pub fn init(level: LogLevel, format: LogFormat) {
    let style = match format {
        LogFormat::Json => Style::Json,
        LogFormat::Text if is_color_terminal() => Style::Terminal,
        LogFormat::Text => Style::Text,
    };
    let _ = SETTINGS.set((level, style));
}

/// Standard error is a terminal that shows colors (<https://no-color.org>).
fn is_color_terminal() -> bool {
    let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    std::io::stderr().is_terminal()
        && unset("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Whether an event of this level is printed or kept as a problem: to be checked before building an expensive one.
pub(crate) fn enabled(level: LogLevel) -> bool {
    is_problem(level) || level <= settings().0
}

/// What asks for attention is kept for the status page, printed or not.
fn is_problem(level: LogLevel) -> bool {
    level <= LogLevel::Warn
}

/// Writes one event: what happened, then named values.
pub(crate) fn event(level: LogLevel, message: &str, fields: LogFields<'_>) {
    keep_problem(level, message, fields);
    let (max_level, style) = settings();
    if level > max_level {
        return;
    }
    let line = render(style, level, message, fields);
    let dropped_notice = |lines: u64| {
        let message = "dropped log lines: stderr blocked";
        keep_problem(LogLevel::Warn, message, &[("lines", &lines)]);
        render(style, LogLevel::Warn, message, &[("lines", &lines)])
    };
    let mut sink = SINK.lock().unwrap_or_else(PoisonError::into_inner);
    if !sink.write(&mut std::io::stderr().lock(), &line, dropped_notice) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Keeps a warning or an error.
fn keep_problem(level: LogLevel, message: &str, fields: LogFields<'_>) {
    if is_problem(level) {
        let now = unix_now().as_secs();
        let problem = LoggedProblem::new(now, level, message, fields);
        PROBLEMS.lock().unwrap_or_else(PoisonError::into_inner).add(problem);
    }
}

/// The last warnings and errors, the newest first.
pub(crate) fn problems() -> Vec<LoggedProblem> {
    PROBLEMS.lock().unwrap_or_else(PoisonError::into_inner).newest_first()
}

/// Lines dropped because standard error was not read.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

fn render(style: Style, level: LogLevel, message: &str, fields: LogFields<'_>) -> String {
    let mut line = String::with_capacity(512);
    match style {
        Style::Text => line::text(&mut line, false, level, message, fields),
        Style::Terminal => line::text(&mut line, true, level, message, fields),
        Style::Json => line::json(&mut line, level, message, fields),
    }
    line.push('\n');
    line
}

/// An event of level `error`: something does not work.
pub(crate) fn error(message: &str, fields: LogFields<'_>) {
    event(LogLevel::Error, message, fields);
}

/// An event of level `warn`: it works, but needs attention.
pub(crate) fn warn(message: &str, fields: LogFields<'_>) {
    event(LogLevel::Warn, message, fields);
}

/// An event of level `info`: the life of the program and its requests.
pub(crate) fn info(message: &str, fields: LogFields<'_>) {
    event(LogLevel::Info, message, fields);
}

/// An event of level `debug`: decisions and header names.
pub(crate) fn debug(message: &str, fields: LogFields<'_>) {
    event(LogLevel::Debug, message, fields);
}

fn settings() -> (LogLevel, Style) {
    // Thousands of attempts in unit tests would log more than is worth reading.
    let unset = if cfg!(test) { LogLevel::Error } else { LogLevel::Info };
    SETTINGS.get().copied().unwrap_or((unset, Style::Text))
}

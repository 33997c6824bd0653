//! One event per line on standard error, as text or JSON. Nothing secret is ever handed to it; control characters
//! are escaped, so that a request cannot forge a line.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{LogFormat, LogLevel};

static SETTINGS: OnceLock<(LogLevel, LogFormat)> = OnceLock::new();

/// Sets level and format, once, at start; later calls change nothing. Until then: `info`, text.
pub fn init(level: LogLevel, format: LogFormat) {
    let _ = SETTINGS.set((level, format));
}

/// Whether an event of this level is printed: look before building an expensive one.
pub fn enabled(level: LogLevel) -> bool {
    level <= settings().0
}

/// Writes one event: what happened, then named values.
pub fn event(level: LogLevel, message: &str, fields: &[(&str, &dyn std::fmt::Display)]) {
    if !enabled(level) {
        return;
    }
    let mut line = String::with_capacity(160);
    match settings().1 {
        LogFormat::Text => text(&mut line, level, message, fields),
        LogFormat::Json => json(&mut line, level, message, fields),
    }
    line.push('\n');
    // A closed standard error must not end a request.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// An event of level `error`: something does not work.
pub fn error(message: &str, fields: &[(&str, &dyn std::fmt::Display)]) {
    event(LogLevel::Error, message, fields);
}

/// An event of level `warn`: it works, but somebody should look.
pub fn warn(message: &str, fields: &[(&str, &dyn std::fmt::Display)]) {
    event(LogLevel::Warn, message, fields);
}

/// An event of level `info`: the life of the program and its requests.
pub fn info(message: &str, fields: &[(&str, &dyn std::fmt::Display)]) {
    event(LogLevel::Info, message, fields);
}

/// An event of level `debug`: decisions and header names.
pub fn debug(message: &str, fields: &[(&str, &dyn std::fmt::Display)]) {
    event(LogLevel::Debug, message, fields);
}

fn settings() -> (LogLevel, LogFormat) {
    SETTINGS.get().copied().unwrap_or((LogLevel::Info, LogFormat::Text))
}

fn text(line: &mut String, level: LogLevel, message: &str, fields: &[(&str, &dyn std::fmt::Display)]) {
    timestamp(line);
    let _ = write!(line, " {:<5} ", level.name());
    escape(line, message);
    for (name, value) in fields {
        let value = value.to_string();
        let _ = write!(line, " {name}=");
        if value.is_empty() || value.contains([' ', '"', '=']) {
            line.push('"');
            escape(line, &value.replace('"', "\\\""));
            line.push('"');
        } else {
            escape(line, &value);
        }
    }
}

fn json(line: &mut String, level: LogLevel, message: &str, fields: &[(&str, &dyn std::fmt::Display)]) {
    let mut object = serde_json::Map::new();
    let mut time = String::new();
    timestamp(&mut time);
    object.insert("time".into(), time.into());
    object.insert("level".into(), level.name().into());
    object.insert("message".into(), message.into());
    for (name, value) in fields {
        object.insert((*name).into(), value.to_string().into());
    }
    line.push_str(&serde_json::Value::Object(object).to_string());
}

/// Control characters, line separators included, as `\xNN` or `\u{NNNN}`.
fn escape(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() || c == '\u{2028}' || c == '\u{2029}' {
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
}

/// Now, as RFC 3339 in UTC with milliseconds.
fn timestamp(out: &mut String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    out.push_str(&rfc3339(now.as_secs()));
    // The seconds end in `Z`, which moves behind the milliseconds.
    out.pop();
    let _ = write!(out, ".{:03}Z", now.subsec_millis());
}

/// Seconds since the Unix epoch as `YYYY-MM-DDTHH:MM:SSZ` (RFC 3339).
pub fn rfc3339(unix: u64) -> String {
    // Civil-from-days for the proleptic Gregorian calendar, counted in eras of 400 years from 0000-03-01.
    let days = unix / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (unix / 3600 % 24, unix / 60 % 60, unix % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(4_102_444_799), "2099-12-31T23:59:59Z");
    }

    #[test]
    fn a_value_cannot_forge_a_line() {
        let mut line = String::new();
        text(&mut line, LogLevel::Info, "request", &[("path", &"/a\nERROR forged"), ("empty", &"")]);
        assert!(line.ends_with(r#" info  request path="/a\nERROR forged" empty="""#), "{line}");
    }

    #[test]
    fn json_is_one_object() {
        let mut line = String::new();
        json(&mut line, LogLevel::Warn, "a \"b\"", &[("n", &3)]);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "a \"b\"");
        assert_eq!(value["n"], "3");
    }
}

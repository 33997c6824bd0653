//! One event as a line of text, plain or for a terminal, or of JSON. A value is escaped while it is formatted, so that it
//! cannot forge a line or control the terminal.

use std::fmt::{self, Write};

use super::LogFields;
use crate::clock::unix_now;
use crate::config::LogLevel;

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";
/// The largest value. Methods and paths are as long as a client likes.
const MAX_VALUE_BYTES: usize = 2048;
/// The date, which a terminal does not show.
const DATE_LEN: usize = "2026-11-23T".len();

/// `time level message name=value …`; on a terminal with a short time and colors.
pub(super) fn text(
    line: &mut String,
    for_terminal: bool,
    level: LogLevel,
    message: &str,
    fields: LogFields<'_>,
) {
    let (dim, color, reset) = if for_terminal { (DIM, color(level), RESET) } else { ("", "", "") };
    line.push_str(dim);
    now(line, if for_terminal { DATE_LEN } else { 0 });
    let _ = write!(line, "{reset} {color}{:<5}{reset} ", level.name());
    let _ = Plain(line).write_str(message);
    for (name, value) in fields {
        let _ = write!(line, " {dim}{name}={reset}");
        write_quoted(line, *value);
    }
}

/// One object; its members in the order given.
pub(super) fn json(line: &mut String, level: LogLevel, message: &str, fields: LogFields<'_>) {
    line.push_str("{\"time\":\"");
    now(line, 0);
    let _ = write!(line, "\",\"level\":\"{}\",\"message\":\"", level.name());
    let _ = Json(line).write_str(message);
    line.push('"');
    for (name, value) in fields {
        let _ = write!(line, ",\"{name}\":");
        if value.is_number() {
            let _ = value.write(line);
        } else {
            line.push('"');
            let _ = value.write(&mut Truncated::new(Json(line), MAX_VALUE_BYTES));
            line.push('"');
        }
    }
    line.push('}');
}

/// Now, as RFC 3339 in UTC with milliseconds; `from` characters of its beginning are left out.
fn now(out: &mut String, from: usize) {
    let now = unix_now();
    // The seconds end in `Z`, which comes after the milliseconds.
    out.push_str(rfc3339(now.as_secs())[from..].trim_end_matches('Z'));
    let _ = write!(out, ".{:03}Z", now.subsec_millis());
}

/// Seconds since the Unix epoch as `YYYY-MM-DDTHH:MM:SSZ` (RFC 3339).
pub(crate) fn rfc3339(unix: u64) -> String {
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
    // Digit by digit and not with `format!`, which costs more: each line of log has a time.
    let mut text = String::with_capacity("2026-11-23T00:00:00Z".len());
    for (value, width, end) in
        [(year, 4, '-'), (month, 2, '-'), (day, 2, 'T'), (hour, 2, ':'), (minute, 2, ':'), (second, 2, 'Z')]
    {
        for place in (0..width).rev() {
            text.push(char::from(b'0' + (value / 10_u64.pow(place) % 10) as u8));
        }
        text.push(end);
    }
    text
}

fn write_quoted(line: &mut String, value: &dyn super::Value) {
    let start = line.len();
    let _ = value.write(&mut Truncated::new(Plain(line), MAX_VALUE_BYTES));
    line.push_str(value.unit());
    let written = &line.as_bytes()[start..];
    // What has a backslash, too: whoever reads the line must know which of them end a quotation.
    if written.is_empty() || written.iter().any(|byte| matches!(byte, b' ' | b'"' | b'=' | b'\\')) {
        line.truncate(start);
        line.push('"');
        let _ = value.write(&mut Truncated::new(Quoted(line), MAX_VALUE_BYTES));
        line.push_str(value.unit());
        line.push('"');
    }
}

/// Text from elsewhere as a line shows it: escaped, and its beginning alone when it is long.
pub(crate) fn excerpt(text: &str) -> String {
    let mut shown = String::new();
    let _ = Truncated::new(Plain(&mut shown), MAX_VALUE_BYTES).write_str(text);
    shown
}

fn color(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "\x1b[1;31m",
        LogLevel::Warn => "\x1b[33m",
        LogLevel::Info => "\x1b[32m",
        LogLevel::Debug => "\x1b[36m",
    }
}

/// What ends a line somewhere, or moves a cursor.
fn is_dangerous(c: char) -> bool {
    c.is_control() || c == '\u{2028}' || c == '\u{2029}'
}

/// Printable ASCII that needs no escapes, as nearly every text is: then no character is checked again.
fn is_harmless(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}

/// Text up to a number of bytes, and dots for the rest.
pub(super) struct Truncated<W> {
    out: W,
    left: usize,
}

impl<W> Truncated<W> {
    pub(super) fn new(out: W, max_bytes: usize) -> Self {
        Self { out, left: max_bytes }
    }
}

impl<W: Write> Write for Truncated<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= self.left {
            self.left -= text.len();
            return self.out.write_str(text);
        }
        let end = text.floor_char_boundary(self.left);
        self.out.write_str(&text[..end])?;
        if self.left > 0 {
            self.out.write_str("...")?;
        }
        self.left = 0;
        Ok(())
    }
}

/// Text with control characters, line separators included, as `\xNN` or `\u{NNNN}`.
pub(super) struct Plain<'a>(pub(super) &'a mut String);

impl Write for Plain<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if is_harmless(text) {
            self.0.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            if is_dangerous(c) { write!(self.0, "{}", c.escape_default())? } else { self.0.push(c) }
        }
        Ok(())
    }
}

/// As [`Plain`], within quotation marks.
struct Quoted<'a>(&'a mut String);

impl Write for Quoted<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                c if is_dangerous(c) => write!(self.0, "{}", c.escape_default())?,
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// Text as it stands in a JSON string (RFC 8259 section 7).
struct Json<'a>(&'a mut String);

impl Write for Json<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if is_harmless(text) {
            self.0.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                // All of these have four hexadecimal digits.
                c if is_dangerous(c) => write!(self.0, "\\u{:04x}", u32::from(c))?,
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::{Millis, Seconds};

    const ODD: &str = "a \"b\" \\ \n\r\t\u{1b}[31m\u{85}\u{2028} ä\u{1f600}";

    fn plain(line: &mut String, level: LogLevel, message: &str, fields: LogFields<'_>) {
        text(line, false, level, message, fields);
    }

    fn terminal(line: &mut String, level: LogLevel, message: &str, fields: LogFields<'_>) {
        text(line, true, level, message, fields);
    }

    #[test]
    fn a_value_cannot_forge_a_line() {
        for show in [plain, terminal, json] {
            let mut line = String::new();
            show(&mut line, LogLevel::Info, ODD, &[("path", &ODD), ("empty", &"")]);
            let shown = line.replace(DIM, "").replace(RESET, "").replace("\x1b[32m", "");
            assert!(!shown.contains(is_dangerous), "{line:?}");
        }
        let mut line = String::new();
        plain(&mut line, LogLevel::Info, "request", &[("path", &"/a\nERROR forged"), ("empty", &"")]);
        assert!(line.ends_with(r#" info  request path="/a\nERROR forged" empty="""#), "{line}");
    }

    #[test]
    fn a_long_value_is_truncated() {
        for show in [plain, json] {
            let mut line = String::new();
            show(&mut line, LogLevel::Info, "request", &[("path", &"ä".repeat(60_000))]);
            assert!(line.contains("ää...") && line.len() < MAX_VALUE_BYTES + 200, "{}", line.len());
        }
    }

    #[test]
    fn json_is_one_object_with_numbers_as_numbers() {
        let mut line = String::new();
        let half = Duration::from_millis(500);
        let fields: LogFields<'_> = &[
            ("n", &3),
            ("s", &Seconds(half)),
            ("ms", &Millis(half)),
            ("c", &7_u16),
            ("text", &ODD),
            ("yes", &true),
        ];
        json(&mut line, LogLevel::Warn, ODD, fields);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((value["message"].as_str(), value["text"].as_str()), (Some(ODD), Some(ODD)));
        assert_eq!((value["n"].as_u64(), value["c"].as_u64()), (Some(3), Some(7)));
        assert_eq!((value["s"].as_f64(), value["ms"].as_f64()), (Some(0.5), Some(500.0)));
        assert_eq!((value["level"].as_str(), value["yes"].as_bool()), (Some("warn"), Some(true)));
        assert!(line.starts_with("{\"time\":\"20"), "{line}");
    }

    #[test]
    fn on_a_terminal_names_are_dim_and_there_is_no_date() {
        let shown = |for_terminal| {
            let mut line = String::new();
            let fields: LogFields<'_> = &[("a", &7), ("b", &Seconds(Duration::ZERO))];
            text(&mut line, for_terminal, LogLevel::Warn, "request", fields);
            line
        };
        let (plain, eyes) = (shown(false), shown(true));
        assert_eq!(plain.split_once("Z ").unwrap().1, "warn  request a=7 b=0s");
        let (time, rest) = eyes.split_once("Z").unwrap();
        assert_eq!(rest, format!("{RESET} \x1b[33mwarn {RESET} request {DIM}a={RESET}7 {DIM}b={RESET}0s"));
        assert_eq!(time.len(), DIM.len() + "12:00:00.000".len());
    }

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(4_102_444_799), "2099-12-31T23:59:59Z");
    }
}

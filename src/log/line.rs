//! One event as a line of text, plain or for a terminal, or of JSON. Written straight into the line: a value is
//! escaped while it is formatted, so that it cannot forge a line or speak to the terminal.

use std::fmt::{self, Write};

use super::{Fields, time};
use crate::config::LogLevel;

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";
/// Bytes of a value. Methods and paths are as long as a client likes.
const LONGEST: usize = 2048;
/// The date's part of a time, which a person at a terminal knows.
const DATE: usize = "2026-11-23T".len();

/// `time level message name=value …`.
pub(super) fn text(line: &mut String, level: LogLevel, message: &str, fields: Fields<'_>) {
    time::now(line, 0);
    let _ = write!(line, " {:<5} ", level.name());
    let _ = Plain(line).write_str(message);
    for (name, value) in fields {
        line.push(' ');
        line.push_str(name);
        line.push('=');
        quoted(line, *value);
    }
}

/// The same for a person's eyes: a short time, colours, columns.
pub(super) fn terminal(line: &mut String, level: LogLevel, message: &str, fields: Fields<'_>) {
    line.push_str(DIM);
    time::now(line, DATE);
    let _ = write!(line, "{RESET} {}{:<5}{RESET} ", colour(level), level.name());
    let _ = Plain(line).write_str(message);
    for (name, value) in fields {
        let _ = write!(line, " {DIM}{name}={RESET}");
        let start = line.len();
        quoted(line, *value);
        for _ in line[start..].chars().count()..value.width() {
            line.push(' ');
        }
    }
    line.truncate(line.trim_end().len());
}

/// One object; its members in the order given.
pub(super) fn json(line: &mut String, level: LogLevel, message: &str, fields: Fields<'_>) {
    line.push_str("{\"time\":\"");
    time::now(line, 0);
    let _ = write!(line, "\",\"level\":\"{}\",\"message\":\"", level.name());
    let _ = Json(line).write_str(message);
    line.push('"');
    for (name, value) in fields {
        let _ = write!(line, ",\"{name}\":");
        if value.is_number() {
            let _ = value.write(line);
        } else {
            line.push('"');
            let _ = value.write(&mut Cut::new(Json(line)));
            line.push('"');
        }
    }
    line.push('}');
}

fn quoted(line: &mut String, value: &dyn super::Value) {
    let start = line.len();
    let _ = value.write(&mut Cut::new(Plain(line)));
    line.push_str(value.unit());
    let value = &line.as_bytes()[start..];
    if value.is_empty() || value.iter().any(|byte| matches!(byte, b' ' | b'"' | b'=')) {
        let value = line.split_off(start).replace('"', "\\\"");
        let _ = write!(line, "\"{value}\"");
    }
}

fn colour(level: LogLevel) -> &'static str {
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

/// Printable ASCII that no string escapes, as nearly every text is: it needs no look at each character.
fn is_harmless(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}

/// The beginning of a value that is longer than [`LONGEST`], and dots.
struct Cut<W> {
    out: W,
    left: usize,
}

impl<W> Cut<W> {
    fn new(out: W) -> Self {
        Self { out, left: LONGEST }
    }
}

impl<W: Write> Write for Cut<W> {
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
struct Plain<'a>(&'a mut String);

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
    use crate::log::{Column, Millis, Seconds};

    const ODD: &str = "a \"b\" \\ \n\r\t\u{1b}[31m\u{85}\u{2028} ä\u{1f600}";

    #[test]
    fn a_value_cannot_forge_a_line() {
        for show in [text, terminal, json] {
            let mut line = String::new();
            show(&mut line, LogLevel::Info, ODD, &[("path", &ODD), ("empty", &"")]);
            let shown = line.replace(DIM, "").replace(RESET, "").replace("\x1b[32m", "");
            assert!(!shown.contains(is_dangerous), "{line:?}");
        }
        let mut line = String::new();
        text(&mut line, LogLevel::Info, "request", &[("path", &"/a\nERROR forged"), ("empty", &"")]);
        assert!(line.ends_with(r#" info  request path="/a\nERROR forged" empty="""#), "{line}");
    }

    #[test]
    fn a_long_value_is_cut() {
        for show in [text, json] {
            let mut line = String::new();
            show(&mut line, LogLevel::Info, "request", &[("path", &"ä".repeat(60_000))]);
            assert!(line.contains("ää...") && line.len() < LONGEST + 200, "{}", line.len());
        }
    }

    #[test]
    fn json_is_one_object_with_numbers_as_numbers() {
        let mut line = String::new();
        let (half, column) = (Duration::from_millis(500), Column(&7_u16, 5));
        let fields: Fields<'_> = &[
            ("n", &3),
            ("s", &Seconds(half)),
            ("ms", &Millis(half)),
            ("c", &column),
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
    fn on_a_terminal_columns_are_aligned() {
        let shown = |status: u16| {
            let mut line = String::new();
            terminal(
                &mut line,
                LogLevel::Info,
                "request",
                &[("a", &Column(&status, 5)), ("b", &Seconds(Duration::ZERO))],
            );
            line.split_off(line.find("request").unwrap())
        };
        assert_eq!(shown(7), format!("request {DIM}a={RESET}7     {DIM}b={RESET}0s"));
        assert_eq!(shown(65535).len(), shown(7).len());
    }
}

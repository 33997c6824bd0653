//! What went wrong, for a person: the fact, then hints on separate lines.

mod quote;

use std::fmt;
use std::path::Path;

pub(crate) use quote::{is_quotable, quote, quote_word, secret_kind, visible};

/// A problem that a person can fix: what failed, naming the operand (variable, file, host), and hints that say what to do.
/// No part ever holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What failed, one sentence without a full stop.
    pub message: String,
    /// What to do about it, one line each.
    pub hints: Vec<String>,
    /// What else is known: messages of other programs, ids for their support.
    pub notes: Vec<String>,
}

impl Problem {
    /// A problem without hints yet.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hints: Vec::new(), notes: Vec::new() }
    }

    /// Adds one line of what else is known.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The message and the hints, for where there is one line.
    pub(crate) fn on_one_line(&self) -> String {
        let parts = std::iter::once(&self.message).chain(&self.hints);
        parts.map(String::as_str).collect::<Vec<_>>().join("; ")
    }

    /// Adds one line that says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// The message, then each hint and note on a line of its own.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for hint in &self.hints {
            write!(f, "\n  hint: {hint}")?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// The beginning of another program's message, on one line, without words so long that they could be a token or an
/// assertion sent back to us.
pub(crate) fn excerpt(message: &str) -> String {
    let words = message.split_whitespace();
    let words = words.map(|word| if word.len() > 80 { "[long word withheld]" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(400).collect()
}

/// A path as a POSIX shell takes it, for a hint that is a command.
pub(crate) fn shell_quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !path.is_empty() && path.chars().all(plain) && !path.starts_with('-') {
        path.into_owned()
    } else {
        let dash = if path.starts_with('-') { "./" } else { "" };
        format!("'{dash}{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_stand_on_their_own_lines() {
        let problem = Problem::new("PORT is not a number").hint("use 1 to 65535").hint("or 0 for a free one");
        assert_eq!(
            problem.to_string(),
            "PORT is not a number\n  hint: use 1 to 65535\n  hint: or 0 for a free one"
        );
    }

    #[test]
    fn a_shell_takes_every_path_back() {
        for path in ["/plain/id.pem", "/with blank/id.pem", "it's", "$HOME", "-n", "ä", "a;b", "*"] {
            let command = format!("printf %s {}", shell_quoted(Path::new(path)));
            let out = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
            let back = String::from_utf8(out.stdout).unwrap();
            assert_eq!(back.strip_prefix("./").unwrap_or(&back), path);
        }
        assert_eq!(shell_quoted(Path::new("/plain/id.pem")), "/plain/id.pem");
    }
}

//! The last problems, for the status page: what the log's own warnings and errors said, whatever the level that is printed,
//! so that page and log cannot differ. Equal ones are counted, not repeated, and there is a bound on their bytes.

use std::fmt::Write as _;

use super::LogFields;
use super::line::{Plain, Truncated};
use super::value::Value;
use crate::config::LogLevel;

/// How many different problems are kept.
const MAX_PROBLEMS: usize = 10;
/// The largest part of one, before control characters in it are escaped. There are four.
const MAX_PART_BYTES: usize = 1024;

/// Fields whose value is a code to look up, in the order of preference.
const CODES: [&str; 6] = ["aadsts", "code", "kind", "outcome", "reason", "error"];
/// Fields that say in a sentence what happened, in the order of preference.
const MEANINGS: [&str; 4] = ["problem", "meaning", "why", "cause"];
const REMEDY: &str = "hint";
const COUNT: &str = "count";

/// A warning or an error that was logged. Its texts have no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedProblem {
    /// When it was first and last logged, in seconds since the Unix epoch.
    pub first_unix: u64,
    pub last_unix: u64,
    /// How often it happened.
    pub count: u64,
    pub is_error: bool,
    /// The event.
    pub message: String,
    /// Empty where there is none, like the others.
    pub code: String,
    /// What happened, in a sentence; of an event without one its other fields.
    pub meaning: String,
    /// What to do.
    pub remedy: String,
}

impl LoggedProblem {
    pub(super) fn new(now_unix: u64, level: LogLevel, message: &str, fields: LogFields<'_>) -> Self {
        let field = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let code = CODES.iter().find_map(|name| Some((*name, field(name)?)));
        let code = match code {
            Some(("aadsts", number)) => text(&[&"AADSTS", &number]),
            Some((_, value)) => text(&[&value]),
            None => String::new(),
        };
        let meaning = match MEANINGS.iter().find_map(|name| field(name)) {
            Some(value) => text(&[&value]),
            None => other_fields(fields),
        };
        // One line may stand for many.
        let count = field(COUNT).and_then(|value| text(&[&value]).parse().ok()).unwrap_or(1);
        let remedy = field(REMEDY).map(|value| text(&[&value])).unwrap_or_default();
        Self {
            first_unix: now_unix,
            last_unix: now_unix,
            count,
            is_error: level == LogLevel::Error,
            message: text(&[&message]),
            code,
            meaning,
            remedy,
        }
    }

    /// Whether it is the same for a person, numbers and names in its sentence apart: what has the same remedy is, whatever
    /// its code.
    fn is_same(&self, other: &Self) -> bool {
        let has_remedy = !self.remedy.is_empty();
        (&self.message, &self.remedy) == (&other.message, &other.remedy)
            && (has_remedy || self.code == other.code)
    }
}

/// These values one after the other, escaped, cut when long.
fn text(values: &[&dyn Value]) -> String {
    let mut text = String::new();
    let mut out = Truncated::new(Plain(&mut text), MAX_PART_BYTES);
    for value in values {
        let _ = value.write(&mut out);
    }
    text
}

/// What is neither code nor remedy, as in the log.
fn other_fields(fields: LogFields<'_>) -> String {
    let mut text = String::new();
    let mut out = Truncated::new(Plain(&mut text), MAX_PART_BYTES);
    let others = fields.iter().filter(|(name, _)| *name != REMEDY && !CODES.contains(name));
    for (number, (name, value)) in others.enumerate() {
        let _ = write!(out, "{}{name}=", if number == 0 { "" } else { " " });
        let _ = value.write(&mut out);
    }
    text
}

/// The last ones, the newest at the end.
#[derive(Debug)]
pub(super) struct Problems(Vec<LoggedProblem>);

impl Problems {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Counts a problem that is there already, or adds it and forgets the oldest.
    pub(super) fn add(&mut self, mut problem: LoggedProblem) {
        if let Some(known) = self.0.iter().position(|known| known.is_same(&problem)) {
            let known = self.0.remove(known);
            (problem.first_unix, problem.count) = (known.first_unix, known.count + problem.count);
        } else if self.0.len() == MAX_PROBLEMS {
            self.0.remove(0);
        }
        self.0.push(problem);
    }

    pub(super) fn newest_first(&self) -> Vec<LoggedProblem> {
        self.0.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(now: u64, message: &str, fields: LogFields<'_>) -> LoggedProblem {
        LoggedProblem::new(now, LogLevel::Warn, message, fields)
    }

    #[test]
    fn code_meaning_and_remedy_come_from_the_fields() {
        let rows: [(LogFields<'_>, [&str; 3]); 6] = [
            (
                &[("problem", &"not found"), ("error", &"x"), ("aadsts", &700_016), ("hint", &"check it")],
                ["AADSTS700016", "not found", "check it"],
            ),
            (&[("kind", &"dns"), ("path", &"/a"), ("cause", &"no such host")], ["dns", "no such host", ""]),
            (
                &[("code", &"overloaded"), ("reason", &"memory"), ("why", &"too little")],
                ["overloaded", "too little", ""],
            ),
            (
                &[("outcome", &"aborted_by_upstream"), ("cause", &"reset")],
                ["aborted_by_upstream", "reset", ""],
            ),
            (&[("within_days", &7), ("subject", &"CN=a b")], ["", "within_days=7 subject=CN=a b", ""]),
            (&[], ["", "", ""]),
        ];
        for (fields, expected) in rows {
            let found = problem(1, "event", fields);
            assert_eq!([&found.code, &found.meaning, &found.remedy].map(String::as_str), expected);
            assert_eq!((found.message.as_str(), found.is_error), ("event", false));
        }
        assert!(LoggedProblem::new(1, LogLevel::Error, "event", &[]).is_error);
    }

    #[test]
    fn equal_ones_are_counted_and_move_to_the_front() {
        let mut problems = Problems::new();
        for now in 1..=3 {
            problems.add(problem(now, "a", &[("cause", &now)]));
        }
        problems.add(problem(4, "b", &[]));
        problems.add(problem(5, "a", &[("cause", &5), ("count", &70)]));
        problems.add(problem(6, "a", &[("cause", &6), ("kind", &"dns")]));
        let found: Vec<_> = problems
            .newest_first()
            .into_iter()
            .map(|it| (it.message, it.code, it.meaning, it.count, it.first_unix, it.last_unix))
            .collect();
        let text = str::to_owned;
        assert_eq!(
            found,
            [
                (text("a"), text("dns"), text("6"), 1, 6, 6),
                (text("a"), text(""), text("5"), 73, 1, 5),
                (text("b"), text(""), text(""), 1, 4, 4),
            ]
        );
    }

    #[test]
    fn there_is_a_bound_and_the_oldest_is_forgotten() {
        let mut problems = Problems::new();
        let long = "ä".repeat(100_000);
        for number in 0..100 {
            problems.add(problem(
                number,
                &format!("{number} {long}"),
                &[("hint", &long), ("why", &long), ("code", &long)],
            ));
        }
        let found = problems.newest_first();
        assert_eq!((found.len(), found[0].last_unix, found[9].last_unix), (MAX_PROBLEMS, 99, 90));
        let bytes =
            |it: &LoggedProblem| it.message.len() + it.code.len() + it.meaning.len() + it.remedy.len();
        assert!(found.iter().map(bytes).sum::<usize>() <= MAX_PROBLEMS * 4 * (MAX_PART_BYTES + "...".len()));
    }

    #[test]
    fn control_characters_are_escaped() {
        let found = problem(1, "a\nb", &[("cause", &"\u{1b}[2J\u{2028}")]);
        assert_eq!((found.message.as_str(), found.meaning.as_str()), ("a\\nb", "\\u{1b}[2J\\u{2028}"));
    }
}

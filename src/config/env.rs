//! Reads variables and collects what is wrong with them, so that one run reports everything.

use super::SETTINGS;
use super::effective::{EffectiveSetting, SET, Shown, UNSET, ValueSource};
use super::value::{self, Parsed};
use crate::report::{Problem, secret_kind};
use crate::secret::Secret;

/// Where settings come from.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// The value of a variable; an empty one means unset.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
    /// The names of all variables, settings or not: a misspelled one is noted.
    pub names: &'a [String],
}

/// The environment being read.
///
/// Parsers return predicates (`is not a number`); the variable's name is prepended here, so that no message can omit it.
pub(super) struct Env<'a> {
    environment: Environment<'a>,
    missing: Vec<(&'static str, String)>,
    problems: Vec<Problem>,
    notes: Vec<Problem>,
    /// Notes on variables that are no settings.
    unknown_notes: Vec<Problem>,
    effective: Vec<EffectiveSetting>,
}

impl<'a> Env<'a> {
    pub(super) fn new(environment: Environment<'a>) -> Self {
        Self {
            environment,
            missing: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
            unknown_notes: Vec::new(),
            effective: Vec::new(),
        }
    }

    /// The names of all variables, settings or not.
    pub(super) fn names(&self) -> &'a [String] {
        self.environment.names
    }

    /// The value as it stands, or none when it is unset, empty or blank.
    pub(super) fn raw(&self, name: &str) -> Option<String> {
        (self.environment.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    /// A secret: not trimmed, because white space could be part of it. One that is blank is an error, not unset: what it
    /// should protect must not be left open.
    pub(super) fn secret(&mut self, name: &'static str) -> Option<Secret<String>> {
        let hint = "check the secret it comes from; unset it or leave it empty if it is not needed";
        let value = self.not_blank(name, hint).map(Secret::new)?;
        self.record(name, SET.to_owned(), ValueSource::Environment);
        Some(value)
    }

    /// The value as it stands, of a setting that must not open what it restricts only because it is blank.
    pub(super) fn not_blank(&mut self, name: &'static str, hint: &str) -> Option<String> {
        let value = (self.environment.lookup)(name).filter(|value| !value.is_empty())?;
        if value.trim().is_empty() {
            self.problem(Problem::new(format!("{name} holds nothing but white space")).hint(hint));
            return None;
        }
        Some(value)
    }

    /// The trimmed value, parsed; none when it is unset or bad.
    pub(super) fn optional<T: Shown>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Parsed<T>,
    ) -> Option<T> {
        let raw = self.raw(name)?;
        let value = self.parse(name, raw.trim(), parse)?;
        self.record(name, value.shown(), ValueSource::Environment);
        Some(value)
    }

    /// The trimmed value, parsed; the default when it is unset or bad.
    pub(super) fn or<T: Shown>(
        &mut self,
        name: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Parsed<T>,
    ) -> T {
        self.optional(name, parse).unwrap_or_else(|| {
            self.record(name, default.shown(), ValueSource::Default);
            default
        })
    }

    /// A switch that is off unless it is turned on.
    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        self.or(name, false, value::flag)
    }

    /// The trimmed value, parsed; when it is unset, `hint` says where to find it.
    pub(super) fn required<T: Shown>(
        &mut self,
        name: &'static str,
        hint: &str,
        parse: impl FnOnce(&str) -> Parsed<T>,
    ) -> Option<T> {
        if self.raw(name).is_none() {
            self.missing(name, hint);
        }
        self.optional(name, parse)
    }

    /// Reports a required variable as absent.
    pub(super) fn missing(&mut self, name: &'static str, hint: &str) {
        // Half of these come from a secret or a compose file that exists but has nothing in it.
        let empty = if (self.environment.lookup)(name).is_some() { " (set, but empty)" } else { "" };
        self.missing.push((name, format!("{name}{empty}: {hint}")));
    }

    /// Applies a parser to a value that was read by other means.
    pub(super) fn parse<T>(
        &mut self,
        name: &str,
        value: &str,
        parse: impl FnOnce(&str) -> Parsed<T>,
    ) -> Option<T> {
        // From an example that was copied, in every variable alike.
        if ["...", "\u{2026}"].contains(&value) {
            let problem = Problem::new(format!("{name} is the placeholder `...` of an example"));
            self.problems.push(problem.hint("replace it with the real value, or unset it"));
            return None;
        }
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(mut problem) => {
                problem.message = format!("{name} {}", problem.message);
                if value.len() > 1 && ['"', '\''].iter().any(|q| value.starts_with(*q) && value.ends_with(*q))
                {
                    problem = problem.hint(
                        "the quotes are part of the value: `docker --env-file` keeps them, remove them",
                    );
                }
                if let Some(kind) = secret_kind(value).filter(|kind| !problem.message.contains(kind)) {
                    problem = problem.hint(format!("it holds {kind}, which may belong to another variable"));
                }
                self.problems.push(problem);
                None
            }
        }
    }

    /// Adds a problem that names its variables itself.
    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Adds a remark that does not stop the start.
    pub(super) fn note(&mut self, note: Problem) {
        self.notes.push(note);
    }

    /// Adds a remark on a variable that is no setting. It may say why something is missing.
    pub(super) fn note_unknown(&mut self, note: Problem) {
        self.unknown_notes.push(note);
    }

    /// Keeps what `/config` shows of a setting. Readers of variables do it; a value that follows from other settings or is
    /// read by other means is recorded by whoever knows it.
    pub(super) fn record(&mut self, name: &'static str, value: String, source: ValueSource) {
        self.effective.retain(|known| known.name != name);
        self.effective.push(EffectiveSetting { name, value, source, is_used: true });
    }

    /// These mean nothing beside the others: `/config` says only whether they are set.
    pub(super) fn mark_unused(&mut self, names: &[&str]) {
        let unused = |setting: &&mut EffectiveSetting| {
            names.contains(&setting.name) && setting.source == ValueSource::Environment
        };
        for setting in self.effective.iter_mut().filter(unused) {
            (setting.value, setting.is_used) = (SET.to_owned(), false);
        }
    }

    /// Every setting as it is in force, in the order of the table.
    pub(super) fn effective(&self) -> Vec<EffectiveSetting> {
        let in_force = |name: &'static str| {
            let known = self.effective.iter().find(|known| known.name == name).cloned();
            known.unwrap_or_else(|| {
                let is_set = self.raw(name).is_some();
                let (value, source) =
                    if is_set { (SET, ValueSource::Environment) } else { (UNSET, ValueSource::Default) };
                EffectiveSetting { name, value: value.to_owned(), source, is_used: !is_set }
            })
        };
        SETTINGS.iter().map(|setting| in_force(setting.name)).collect()
    }

    /// The notes, or all problems: first what is missing, then what is wrong, in the order of reading.
    pub(super) fn finish(self) -> Result<Vec<Problem>, Vec<Problem>> {
        let mut problems = self.problems;
        if !self.missing.is_empty() {
            let names: Vec<_> = self.missing.iter().map(|(name, _)| *name).collect();
            let message = format!("Missing required Azure AD configuration: {}", names.join(", "));
            let hints = self.missing.into_iter().map(|(_, hint)| hint).collect();
            problems.insert(0, Problem { hints, ..Problem::new(message) });
        }
        if let Some(first) = problems.first_mut() {
            first.notes.extend(self.unknown_notes.iter().map(Problem::on_one_line));
            return Err(problems);
        }
        let mut notes = self.notes;
        notes.extend(self.unknown_notes);
        Ok(notes)
    }
}

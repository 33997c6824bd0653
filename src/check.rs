//! Commands that answer questions: would it work (`check`), does it work (`healthcheck`), does it work yet (`wait`).
//!
//! `check` takes the steps of a start, with the functions of a start, one after another:
//!
//! ```text
//! settings -> certificate -> authority -> sign-in -> destination
//! ```

mod answers;
mod claims;
mod running;
mod show;
mod steps;

pub(crate) use running::{healthcheck, wait};
use serde_json::Value;
pub(crate) use show::{json, text};

use crate::clock::Clock;
use crate::config::Environment;
use crate::report::Problem;

/// A step, and what its failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The environment, and the files it names for TLS.
    Settings,
    /// Certificate and key, or the token file.
    Certificate,
    /// The way to Entra ID.
    Authority,
    /// One token.
    SignIn,
    /// The way to the destination, and what it answers to the token.
    Destination,
}

impl Kind {
    /// As it is shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Certificate => "certificate",
            Self::Authority => "authority",
            Self::SignIn => "sign-in",
            Self::Destination => "destination",
        }
    }
}

/// What was found, by name. Nothing in it is secret.
pub(crate) type Details = Vec<(&'static str, Value)>;

/// How a step went.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It works.
    Ok(Details),
    /// It does not; never empty.
    Failed(Vec<Problem>),
    /// It could not be tried, and why.
    Skipped(&'static str),
}

/// A step that is over.
#[derive(Debug)]
pub(crate) struct Step {
    /// Which.
    pub kind: Kind,
    /// How it went.
    pub outcome: Outcome,
}

/// Takes every step that can be taken, and tells each when it is over.
pub(crate) fn run(environment: Environment<'_>, tell: &mut dyn FnMut(&Step)) -> Vec<Step> {
    let clock = Clock::system();
    let mut walk = Walk { steps: Vec::new(), tell };
    let Some((config, upstream)) = walk.step(Kind::Settings, steps::settings(environment)) else {
        for kind in [Kind::Certificate, Kind::Authority, Kind::SignIn, Kind::Destination] {
            walk.skip::<()>(kind, "the settings are wrong");
        }
        return walk.steps;
    };
    let identity = walk.step(Kind::Certificate, steps::certificate(&config, &clock));
    let authority = walk.step(Kind::Authority, steps::authority(&config, &upstream, &clock));
    let grant = match (identity, authority) {
        (Some(identity), Some(())) => {
            walk.step(Kind::SignIn, steps::sign_in(&config, &upstream, &clock, identity))
        }
        (None, _) => walk.skip(Kind::SignIn, "there is nothing to sign in with"),
        (_, None) => walk.skip(Kind::SignIn, "the authority cannot be reached"),
    };
    match grant {
        Some(grant) => {
            walk.step(Kind::Destination, steps::destination(&config, &upstream, &grant));
        }
        None => {
            walk.skip::<()>(Kind::Destination, "there is no token to ask it with");
        }
    }
    walk.steps
}

/// The first step that failed.
pub(crate) fn failed(steps: &[Step]) -> Option<Kind> {
    steps.iter().find(|step| matches!(step.outcome, Outcome::Failed(_))).map(|step| step.kind)
}

struct Walk<'a> {
    steps: Vec<Step>,
    tell: &'a mut dyn FnMut(&Step),
}

impl Walk<'_> {
    /// Notes how a step went; what it gave, if it went well.
    fn step<T>(&mut self, kind: Kind, result: Result<(T, Details), Vec<Problem>>) -> Option<T> {
        let (gave, outcome) = match result {
            Ok((gave, details)) => (Some(gave), Outcome::Ok(details)),
            Err(problems) => (None, Outcome::Failed(problems)),
        };
        self.note(kind, outcome);
        gave
    }

    /// Notes that a step could not be taken; it gives nothing.
    fn skip<T>(&mut self, kind: Kind, why: &'static str) -> Option<T> {
        self.note(kind, Outcome::Skipped(why));
        None
    }

    fn note(&mut self, kind: Kind, outcome: Outcome) {
        let step = Step { kind, outcome };
        (self.tell)(&step);
        self.steps.push(step);
    }
}

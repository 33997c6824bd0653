//! Commands that test a configuration or a running proxy: would it work (`check`), does it work (`healthcheck`), does it
//! work yet (`wait`).
//!
//! `check` runs the steps of a start, with the functions of a start, one after another:
//!
//! ```text
//! settings -> certificate -> authority -> sign-in -> upstream
//! ```

mod claims;
mod diagnosis;
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
pub(crate) enum StepKind {
    /// The environment, and the files it names for TLS and callers.
    Settings,
    /// Certificate and key, or the token file.
    Certificate,
    /// The connection to Entra ID.
    Authority,
    /// One token.
    SignIn,
    /// The connection to the upstream, and its response to the token.
    Upstream,
}

impl StepKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Certificate => "certificate",
            Self::Authority => "authority",
            Self::SignIn => "sign-in",
            Self::Upstream => "upstream",
        }
    }
}

/// What was found, by name. Nothing in it is secret.
pub(crate) type Details = Vec<(&'static str, Value)>;

/// The result of a step.
#[derive(Debug)]
pub(crate) enum StepOutcome {
    /// It works.
    Ok(Details),
    /// It does not; never empty.
    Failed(Vec<Problem>),
    /// It could not be tried, and why.
    Skipped(&'static str),
}

#[derive(Debug)]
pub(crate) struct Step {
    pub kind: StepKind,
    pub outcome: StepOutcome,
}

/// Runs every step that can be run, and reports each when it is over.
pub(crate) fn run(environment: Environment<'_>, on_step: &mut dyn FnMut(&Step)) -> Vec<Step> {
    let clock = Clock::system();
    let mut runner = StepRunner { steps: Vec::new(), on_step };
    let Some((config, upstream)) = runner.step(StepKind::Settings, steps::settings(environment)) else {
        for kind in [StepKind::Certificate, StepKind::Authority, StepKind::SignIn, StepKind::Upstream] {
            runner.skip::<()>(kind, "the settings are wrong");
        }
        return runner.steps;
    };
    let opened = runner.step(StepKind::Certificate, steps::certificate(&config, &upstream, &clock));
    let authority = match config.application() {
        Some(_) if config.token_proxy().is_some() => {
            runner.skip::<()>(StepKind::Authority, "tokens come from AZURE_KUBERNETES_TOKEN_PROXY");
            Some(())
        }
        Some(application) => {
            runner.step(StepKind::Authority, steps::authority(application, &config, &upstream, &clock))
        }
        None => {
            runner.skip::<()>(StepKind::Authority, "a managed identity needs none");
            Some(())
        }
    };
    let grant = match (opened, authority) {
        (Some(opened), Some(())) => runner.step(StepKind::SignIn, steps::sign_in(opened)),
        (None, _) => runner.skip(StepKind::SignIn, "there is no credential to sign in with"),
        (_, None) => runner.skip(StepKind::SignIn, "the authority cannot be reached"),
    };
    match grant {
        Some(grant) => {
            runner.step(StepKind::Upstream, steps::upstream(&config, &upstream, &grant));
        }
        None => {
            runner.skip::<()>(StepKind::Upstream, "there is no token to send");
        }
    }
    runner.steps
}

/// The first step that failed.
pub(crate) fn failed(steps: &[Step]) -> Option<StepKind> {
    steps.iter().find(|step| matches!(step.outcome, StepOutcome::Failed(_))).map(|step| step.kind)
}

struct StepRunner<'a> {
    steps: Vec<Step>,
    on_step: &'a mut dyn FnMut(&Step),
}

impl StepRunner<'_> {
    /// Records the result of a step; what it produced, if it succeeded.
    fn step<T>(&mut self, kind: StepKind, result: Result<(T, Details), Vec<Problem>>) -> Option<T> {
        let (gave, outcome) = match result {
            Ok((gave, details)) => (Some(gave), StepOutcome::Ok(details)),
            Err(problems) => (None, StepOutcome::Failed(problems)),
        };
        self.note(kind, outcome);
        gave
    }

    /// Records that a step could not be run; it produces nothing.
    fn skip<T>(&mut self, kind: StepKind, why: &'static str) -> Option<T> {
        self.note(kind, StepOutcome::Skipped(why));
        None
    }

    fn note(&mut self, kind: StepKind, outcome: StepOutcome) {
        let step = Step { kind, outcome };
        (self.on_step)(&step);
        self.steps.push(step);
    }
}

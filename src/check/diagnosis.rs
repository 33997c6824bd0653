//! What the upstream's response to `check` means, and what to do.

use http::Uri;
use http::header::LOCATION;

use crate::config::Config;
use crate::report::{Problem, excerpt};
use crate::upstream::diagnosis::{Diagnosis, Suspect, UpstreamError, diagnose};
use crate::upstream::probe::ProbeResponse;

/// A response that is not what clients should get.
pub(super) struct Rejection {
    pub problem: Problem,
    /// What it means, in a few words.
    pub meaning: &'static str,
    /// What is worth another attempt.
    pub suspect: Option<Suspect>,
}

/// The problem that it shows, or a remark if it shows none.
pub(super) fn explain(
    response: &ProbeResponse,
    uri: &Uri,
    config: &Config,
) -> Result<Option<&'static str>, Rejection> {
    let error = UpstreamError::read(&response.body);
    // The other scope is not suggested but tried.
    match (response.status, diagnose(response.status, &error, None)) {
        (429, _) => Ok(Some("it accepts the token but limits the request rate")),
        (300..=399, _) => Err(redirected(response, uri)),
        (_, None) => Ok(None),
        (_, Some(diagnosis)) => Err(rejected(response, uri, diagnosis, &error, config)),
    }
}

fn rejected(
    response: &ProbeResponse,
    uri: &Uri,
    diagnosis: Diagnosis,
    error: &UpstreamError,
    config: &Config,
) -> Rejection {
    let Diagnosis { meaning, hints, suspect } = diagnosis;
    let message = format!("GET {uri} returned {}: {meaning}", response.status);
    let mut problem = Problem { hints, ..Problem::new(message) };
    if response.status == 401 {
        problem = problem.note(format!("AZURE_SCOPE is {}", config.scope));
    }
    if let Some(message) = &error.message {
        problem = problem.note(format!("the upstream's message: {message}"));
    }
    let id = ["apim-request-id", "x-ms-request-id", "x-request-id"];
    if let Some(id) = id.iter().find_map(|name| response.headers.get(*name)?.to_str().ok()) {
        problem = problem.note(format!("for Azure's support: request id {}", excerpt(id)));
    }
    Rejection { problem, meaning, suspect }
}

/// Not followed: the token would go where it does not belong.
fn redirected(response: &ProbeResponse, uri: &Uri) -> Rejection {
    let location = response.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let host = location.and_then(|location| location.parse::<Uri>().ok()?.host().map(str::to_owned));
    let to = host.map(|host| format!(" to {host}")).unwrap_or_default();
    let meaning = "a redirect, which is not followed";
    let message = format!("GET {uri} returned {}: a redirect{to}, which is not followed", response.status);
    let hint = "API_BASE_URL must be the API itself, not a portal or sign-in page";
    Rejection { problem: Problem::new(message).hint(hint), meaning, suspect: None }
}

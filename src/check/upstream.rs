//! The last step: how the upstream responds to our token at a path that every Azure OpenAI resource has. When it rejects the
//! token or the path, the usual alternatives are tried, each once: a remedy that was seen to work is worth more than three
//! that may.

use http::{HeaderValue, Uri};

use super::diagnosis::{Rejection, explain};
use super::steps::{Result, STEP_TIMEOUT, describe_route, milliseconds};
use super::{Details, base_path};
use crate::clock::Clock;
use crate::config::{BaseUrl, Config};
use crate::proxy::target;
use crate::report::Problem;
use crate::token::{self, Grant};
use crate::upstream::Upstream;
use crate::upstream::diagnosis::Suspect;
use crate::upstream::probe::{self, ProbeResponse};

pub(super) fn step(config: &Config, upstream: &Upstream, grant: &Grant, clock: &Clock) -> Result<()> {
    let base = &config.base_url.base_path;
    let path = base_path::models(base);
    let attempt = Attempt { config, upstream, bearer: grant.bearer() };
    let (uri, response) = attempt.get(base, path).map_err(|problem| vec![problem])?;
    let note = match explain(&response, &uri, config) {
        Ok(note) => note,
        Err(rejection) => {
            let problem = match rejection.suspect {
                Some(Suspect::Scope) => try_other_scope(&attempt, path, rejection.problem, clock),
                Some(Suspect::Path) => try_other_paths(&attempt, rejection.problem),
                Some(Suspect::Role) | None => rejection.problem,
            };
            return Err(vec![problem]);
        }
    };
    let mut details: Details = vec![
        ("asked", uri.to_string().into()),
        ("way", describe_route(config, &uri)),
        ("status", response.status.into()),
        ("milliseconds", milliseconds(response.took)),
    ];
    details.extend(note.map(|note| ("note", note.into())));
    details.extend(try_usual_path(&attempt, path).map(|note| ("note", note.into())));
    Ok(((), details))
}

/// What every request of this step has in common.
struct Attempt<'a> {
    config: &'a Config,
    upstream: &'a Upstream,
    bearer: &'a HeaderValue,
}

impl Attempt<'_> {
    /// Requests a path below this base path, at the origin of `API_BASE_URL`.
    fn get(&self, base_path: &str, path: &str) -> std::result::Result<(Uri, ProbeResponse), Problem> {
        let base_url = BaseUrl { base_path: base_path.to_owned(), ..self.config.base_url.clone() };
        let uri = target::join(&base_url, path)
            .ok_or_else(|| Problem::new(format!("API_BASE_URL and {path} do not make a URL")))?;
        let response = probe::get(&self.upstream.api, &uri, Some(self.bearer), STEP_TIMEOUT)?;
        Ok((uri, response))
    }
}

/// Signs in once more, for the other of the two usual scopes, and asks again.
fn try_other_scope(refused: &Attempt<'_>, path: &str, problem: Problem, clock: &Clock) -> Problem {
    let config = refused.config;
    let Some(scope) = config.other_scope() else { return problem };
    let grant = token::open(config, scope, refused.upstream, clock)
        .and_then(|mut opened| opened.credential.sign_in().map_err(|error| Problem::new(error.summary)));
    let grant = match grant {
        Ok(grant) => grant,
        Err(why) => return problem.note(format!("tried {scope}, too: {}", why.message)),
    };
    let attempt = Attempt { bearer: grant.bearer(), ..*refused };
    let (uri, response) = match attempt.get(&config.base_url.base_path, path) {
        Ok(exchanged) => exchanged,
        Err(why) => return problem.note(format!("tried a token for {scope}, too: {}", why.message)),
    };
    let works = format!("set AZURE_SCOPE={scope} (tried: the upstream accepts a token for it)");
    match explain(&response, &uri, config) {
        Ok(_) => Problem { hints: vec![works], ..problem },
        Err(Rejection { suspect: Some(Suspect::Role), problem: unauthorized, .. }) => {
            Problem { hints: [vec![works], unauthorized.hints].concat(), ..problem }
        }
        Err(Rejection { meaning, .. }) => problem
            .note(format!("tried a token for {scope}, too: it returned {}: {meaning}", response.status)),
    }
}

/// Requests the models where they may be instead.
fn try_other_paths(attempt: &Attempt<'_>, problem: Problem) -> Problem {
    let base_url = &attempt.config.base_url;
    let mut tried = Vec::new();
    for (base, path) in base_path::likely(&base_url.base_path) {
        // Without a response to one there will hardly be one to the next.
        let Ok((uri, response)) = attempt.get(base, path) else { break };
        if is_list(&response) {
            let remedy = if base == base_url.base_path {
                format!("clients must request {path} and its like, without /openai")
            } else {
                format!("set API_BASE_URL to {}{base}", base_url.origin())
            };
            return Problem { hints: vec![format!("GET {uri} works: {remedy}")], ..problem };
        }
        tried.push(format!("{} ({})", uri.path(), response.status));
    }
    if tried.is_empty() { problem } else { problem.note(format!("tried, too: {}", tried.join(", "))) }
}

/// JSON, and not the page that some servers have for every path. A list of models is long: its end is not looked for.
fn is_list(response: &ProbeResponse) -> bool {
    response.status == 200 && response.body.trim_ascii_start().starts_with(b"{")
}

/// A remark for those whose clients send the whole path, of which `API_BASE_URL` already has the beginning.
fn try_usual_path(attempt: &Attempt<'_>, path: &str) -> Option<String> {
    let base_url = &attempt.config.base_url;
    let doubled = base_path::USUAL.strip_suffix(path).filter(|doubled| !doubled.is_empty())?;
    let (uri, response) = attempt.get(&base_url.base_path, base_path::USUAL).ok()?;
    if response.status != 404 {
        return None;
    }
    let note = format!("GET {uri} returned 404: clients must leave out {doubled}");
    Some(match base_url.base_path.strip_suffix(doubled) {
        // What was just requested is the usual path below it.
        Some(before) => format!("{note}, or set API_BASE_URL to {}{before}", base_url.origin()),
        None => note,
    })
}

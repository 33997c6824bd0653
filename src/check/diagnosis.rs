//! What the upstream's response to `check` means, and what to do.

use http::Uri;
use http::header::LOCATION;
use serde_json::Value;

use crate::config::Config;
use crate::report::{Problem, excerpt};
use crate::upstream::probe::ProbeResponse;

const ROLE: &str = "assign the role Cognitive Services OpenAI User on the resource to this application; it takes up \
    to five minutes to work";

const SCOPE: &str = "check AZURE_SCOPE: its host must be the audience that the upstream expects";
const TENANT: &str = "check that the resource belongs to the tenant AZURE_TENANT_ID";

/// The problem that it shows, or a remark if it shows none.
pub(super) fn explain(
    response: &ProbeResponse,
    uri: &Uri,
    config: &Config,
) -> Result<Option<&'static str>, Problem> {
    let error_message = error_message(&response.body).unwrap_or_default();
    let says = |words: &[&str]| {
        let lower = error_message.to_ascii_lowercase();
        words.iter().any(|word| lower.contains(word))
    };
    let other = config.other_scope().map(|scope| format!("set AZURE_SCOPE={scope}"));
    let other = [other.as_deref().unwrap_or(SCOPE), TENANT];
    let (meaning, hints): (&str, &[&str]) = match response.status {
        200..=299 => return Ok(None),
        429 => return Ok(Some("it accepts the token but limits the request rate")),
        300..=399 => return Err(redirected(response, uri)),
        400 if says(&["subdomain"]) => (
            "this endpoint accepts keys only, no tokens",
            &["set API_BASE_URL to the resource's own name, https://NAME.openai.azure.com"],
        ),
        401 if says(&["data action", "permission"]) => ("signed in, but not authorized", &[ROLE]),
        401 if says(&["subscription key", "api endpoint"]) => (
            "it requires a key instead of the token",
            &[
                "set API_BASE_URL to the resource's own name, https://NAME.openai.azure.com",
                "with API Management, turn off its subscription requirement",
            ],
        ),
        401 if says(&["audience"]) => {
            ("it does not accept the token; the token's audience may be wrong", &other)
        }
        401 => (
            "it does not accept the token",
            &[SCOPE, "check that the resource belongs to the tenant AZURE_TENANT_ID", ROLE],
        ),
        403 if says(&[
            "firewall",
            "virtual network",
            "public access",
            "public network",
            "private endpoint",
        ]) =>
        {
            (
                "its network rules block this machine",
                &[
                    "allow this machine's outgoing address under Networking, or use the private endpoint's name and DNS",
                    "if only an egress proxy is allowed, set HTTPS_PROXY",
                ],
            )
        }
        403 => {
            ("signed in, but not allowed to do this", &[ROLE, "check whether a gateway or policy forbids it"])
        }
        404 => (
            "there is no such path",
            &[
                "the path of API_BASE_URL precedes every request's path: clients must send /openai/v1/..., or /v1/... if it ends in /openai",
                "a gateway may have no list of models; then this is not an error: call a model to be sure",
            ],
        ),
        407 => ("a proxy in between asks for credentials", &["check HTTPS_PROXY"]),
        500..=599 => {
            ("it, or a gateway before it, has failed", &["retry; see https://azure.status.microsoft"])
        }
        _ => ("an unexpected response", &["check API_BASE_URL"]),
    };
    Err(problem(response, uri, meaning, &error_message, hints, config))
}

fn problem(
    response: &ProbeResponse,
    uri: &Uri,
    meaning: &str,
    error_message: &str,
    hints: &[&str],
    config: &Config,
) -> Problem {
    let mut problem = Problem::new(format!("GET {uri} returned {}: {meaning}", response.status));
    for hint in hints {
        problem = problem.hint(*hint);
    }
    if response.status == 401 {
        problem = problem.note(format!("AZURE_SCOPE is {}", config.scope));
    }
    if !error_message.is_empty() {
        problem = problem.note(format!("the upstream's message: {error_message}"));
    }
    let id = ["apim-request-id", "x-ms-request-id", "x-request-id"];
    if let Some(id) = id.iter().find_map(|name| response.headers.get(*name)?.to_str().ok()) {
        problem = problem.note(format!("for Azure's support: request id {}", excerpt(id)));
    }
    problem
}

/// Not followed: the token would go where it does not belong.
fn redirected(response: &ProbeResponse, uri: &Uri) -> Problem {
    let location = response.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let host = location.and_then(|location| location.parse::<Uri>().ok()?.host().map(str::to_owned));
    let to = host.map(|host| format!(" to {host}")).unwrap_or_default();
    Problem::new(format!("GET {uri} returned {}: a redirect{to}, which is not followed", response.status))
        .hint("API_BASE_URL must be the API itself, not a portal or sign-in page")
}

/// The message in an error's body, as Azure OpenAI and its gateways put it.
fn error_message(body: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let error = json.get("error").unwrap_or(&json);
    let message = error.get("message").or_else(|| json.get("message")).or(Some(error))?;
    Some(excerpt(message.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_every_shape() {
        for (body, expected) in [
            (r#"{"error":{"code":"401","message":"one"}}"#, Some("one")),
            (r#"{"statusCode":401,"message":"two"}"#, Some("two")),
            (r#"{"error":"three"}"#, Some("three")),
            ("<html>", None),
            ("[]", None),
        ] {
            assert_eq!(error_message(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}

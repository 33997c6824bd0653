//! What the upstream's response to `check` means, and what to do.

use http::Uri;
use http::header::LOCATION;
use serde_json::Value;

use crate::config::Config;
use crate::report::{Problem, excerpt};
use crate::upstream::probe::Answer;

const ROLE: &str = "assign the role Cognitive Services OpenAI User on the resource to this application; it takes up \
    to five minutes to work";

const SCOPE: &str = "check AZURE_SCOPE: its host is the audience that the destination asks for";
const TENANT: &str = "check that the resource belongs to the tenant AZURE_TENANT_ID";

/// The problem that it shows, or a remark if it shows none.
pub(super) fn explain(
    response: &Answer,
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
        429 => return Ok(Some("it accepts the token and asks for fewer requests")),
        300..=399 => return Err(redirected(response, uri)),
        400 if says(&["subdomain"]) => (
            "this endpoint takes keys but no tokens",
            &["set API_BASE_URL to the resource's own name, https://NAME.openai.azure.com"],
        ),
        401 if says(&["data action", "permission"]) => {
            ("we are signed in, but without the right to it", &[ROLE])
        }
        401 if says(&["subscription key", "api endpoint"]) => (
            "it asks for a key instead of the token",
            &[
                "set API_BASE_URL to the resource's own name, https://NAME.openai.azure.com",
                "in front of API Management, remove its subscription requirement",
            ],
        ),
        401 if says(&["audience"]) => {
            ("it does not accept the token, whose audience may be another one's", &other)
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
                "its network rules keep us out",
                &[
                    "allow this machine's outgoing address under Networking, or use the private endpoint's name and DNS",
                    "if only an egress proxy is allowed, set HTTPS_PROXY",
                ],
            )
        }
        403 => {
            ("we are signed in, but may not do this", &[ROLE, "see whether a gateway or policy forbids it"])
        }
        404 => (
            "there is no such path",
            &[
                "API_BASE_URL is put in front of every request's path: /openai/v1/... must follow it, or /v1/... if it ends in /openai",
                "a gateway without a list of models is no fault: the token was sent, ask for a model to be sure",
            ],
        ),
        407 => ("a proxy in between asks for credentials", &["check HTTPS_PROXY"]),
        500..=599 => (
            "it, or a gateway in front of it, is in trouble",
            &["try again; see https://azure.status.microsoft"],
        ),
        _ => ("an answer that nobody expected", &["check API_BASE_URL"]),
    };
    Err(problem(response, uri, meaning, &error_message, hints, config))
}

fn problem(
    response: &Answer,
    uri: &Uri,
    meaning: &str,
    error_message: &str,
    hints: &[&str],
    config: &Config,
) -> Problem {
    let mut problem = Problem::new(format!("GET {uri} was answered {}: {meaning}", response.status));
    for hint in hints {
        problem = problem.hint(*hint);
    }
    if response.status == 401 {
        problem = problem.note(format!("AZURE_SCOPE is {}", config.scope));
    }
    if !error_message.is_empty() {
        problem = problem.note(format!("in its words: {error_message}"));
    }
    let id = ["apim-request-id", "x-ms-request-id", "x-request-id"];
    if let Some(id) = id.iter().find_map(|name| response.headers.get(*name)?.to_str().ok()) {
        problem = problem.note(format!("for Azure's support: request id {}", excerpt(id)));
    }
    problem
}

/// Not followed: the token would go where it does not belong.
fn redirected(response: &Answer, uri: &Uri) -> Problem {
    let location = response.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let host = location.and_then(|location| location.parse::<Uri>().ok()?.host().map(str::to_owned));
    let to = host.map(|host| format!(" to {host}")).unwrap_or_default();
    Problem::new(format!("GET {uri} was answered {}: a redirect{to}, which is not followed", response.status))
        .hint("API_BASE_URL must be the API itself, not a portal or a sign-in page in front of it")
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

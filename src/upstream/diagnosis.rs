//! What an error response of the upstream means, and what to do: for `check`, and for the log while the program runs.

use serde_json::Value;

use crate::report::{excerpt, is_quotable};

const ROLE: &str = "assign the role Cognitive Services OpenAI User on the resource to this application; it takes up \
    to five minutes to work";
const SCOPE: &str = "check AZURE_SCOPE: its host must be the audience that the upstream expects";
const TENANT: &str = "check that the resource belongs to the tenant AZURE_TENANT_ID";
const OWN_NAME: &str = "set API_BASE_URL to the resource's own name, https://NAME.openai.azure.com";
/// No code of Azure's is longer.
const MAX_CODE: usize = 64;

/// An error of the upstream, as far as it is known what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) meaning: &'static str,
    /// What to do, one line each.
    pub(crate) hints: Vec<String>,
    pub(crate) suspect: Option<Suspect>,
}

/// What is probably wrong, where something else can be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspect {
    /// `AZURE_SCOPE`: the token is not accepted.
    Scope,
    /// The path of `API_BASE_URL`, or the one that was requested.
    Path,
    /// The role assignment: the token is accepted.
    Role,
}

/// What a response of this status means, whose body says this. None when it is no error. `other_scope` is the one of the
/// two usual scopes that is not asked for.
pub(crate) fn diagnose(status: u16, error: &UpstreamError, other_scope: Option<&str>) -> Option<Diagnosis> {
    let lower = error.message.as_deref().unwrap_or_default().to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let is = |code: &str| error.code.as_deref().is_some_and(|named| named.eq_ignore_ascii_case(code));
    let other = other_scope.map(|scope| format!("set AZURE_SCOPE={scope}"));
    let other = [other.as_deref().unwrap_or(SCOPE), TENANT];
    let (meaning, hints, suspect): (&str, &[&str], _) = match status {
        ..=399 => return None,
        400 if says(&["subdomain"]) => ("this endpoint accepts keys only, no tokens", &[OWN_NAME], None),
        401 if says(&["data action", "permission"]) => {
            ("signed in, but not authorized", &[ROLE], Some(Suspect::Role))
        }
        401 if says(&["subscription key", "api endpoint"]) => (
            "it requires a key instead of the token",
            &[OWN_NAME, "with API Management, turn off its subscription requirement"],
            None,
        ),
        401 if says(&["audience"]) => {
            ("it does not accept the token; the token's audience may be wrong", &other, Some(Suspect::Scope))
        }
        401 => ("it does not accept the token", &[SCOPE, TENANT, ROLE], Some(Suspect::Scope)),
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
                None,
            )
        }
        403 => (
            "signed in, but not allowed to do this",
            &[ROLE, "check whether a gateway or policy forbids it"],
            Some(Suspect::Role),
        ),
        404 if is("DeploymentNotFound") || says(&["deployment"]) => (
            "there is no deployment of this name",
            &[
                "the model that a client names, or the name in its path, must be that of a deployment of this resource; a new one takes up to five minutes to work",
            ],
            None,
        ),
        404 => (
            "there is no such path",
            &[
                "the path of API_BASE_URL precedes every request's path: clients must send /openai/v1/..., or /v1/... if it ends in /openai",
                "a gateway may have no list of models; then this is not an error: call a model to be sure",
            ],
            Some(Suspect::Path),
        ),
        407 => ("a proxy in between asks for credentials", &["check HTTPS_PROXY"], None),
        408 => ("it took too long for the upstream", &["retry; send less at a time"], None),
        429 => (
            "the deployment's rate limit is reached",
            &[
                "raise its quota, spread the load over more deployments, or send less; clients should wait as retry-after says",
            ],
            None,
        ),
        500..=599 => {
            ("it, or a gateway before it, has failed", &["retry; see https://azure.status.microsoft"], None)
        }
        _ => ("an unexpected response", &["check API_BASE_URL"], None),
    };
    Some(Diagnosis { meaning, hints: hints.iter().map(|hint| (*hint).to_owned()).collect(), suspect })
}

/// What an error's body says, as Azure OpenAI and its gateways put it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UpstreamError {
    /// Azure's code, such as `DeploymentNotFound`.
    pub(crate) code: Option<String>,
    /// Its message, shortened. It may quote the request: not for the log.
    pub(crate) message: Option<String>,
}

impl UpstreamError {
    /// Reads the whole body, or finds nothing in it.
    pub(crate) fn read(body: &[u8]) -> Self {
        let Ok(json) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let error = json.get("error").unwrap_or(&json);
        let code = error.get("code").or_else(|| json.get("statusCode"));
        let message = error.get("message").or_else(|| json.get("message")).or(Some(error));
        Self { code: code.and_then(plain_code), message: message.and_then(Value::as_str).map(excerpt) }
    }
}

/// A code as Azure writes them, and nothing else: what is no code is not shown.
fn plain_code(code: &Value) -> Option<String> {
    let code = match code {
        Value::String(code) => code.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    // Keys and tokens have digits; a name of Azure's may be long.
    let is_name = code.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_') || is_quotable(&code);
    let is_code = (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(is_plain) && is_name;
    is_code.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_message_are_found_in_every_shape() {
        for (body, code, message) in [
            (r#"{"error":{"code":"401","message":"one"}}"#, Some("401"), Some("one")),
            (
                r#"{"error":{"code":"DeploymentNotFound","message":"x"}}"#,
                Some("DeploymentNotFound"),
                Some("x"),
            ),
            (r#"{"statusCode":401,"message":"two"}"#, Some("401"), Some("two")),
            (r#"{"error":"three"}"#, None, Some("three")),
            (r#"{"error":{"code":null,"message":null}}"#, None, None),
            (r#"{"error":{"code":"with a space"}}"#, None, None),
            (r#"{"error":{"code":["x"]}}"#, None, None),
            ("<html>", None, None),
            (r#"{"error":{"code":"401","mess"#, None, None),
            ("[]", None, None),
        ] {
            let error = UpstreamError::read(body.as_bytes());
            assert_eq!((error.code.as_deref(), error.message.as_deref()), (code, message), "{body}");
        }
        let long = format!(r#"{{"error":{{"code":"{}"}}}}"#, "a".repeat(MAX_CODE + 1));
        assert_eq!(UpstreamError::read(long.as_bytes()).code, None);
    }

    #[test]
    fn codes_of_azure_are_shown_and_what_may_be_a_secret_is_not() {
        for code in [
            "401",
            "429",
            "AccessDenied",
            "AuthenticationFailed",
            "DeploymentNotFound",
            "InternalServerError",
            "InvalidAuthenticationTokenTenant",
            "OperationNotSupported",
            "PermissionDenied",
            "ResponsibleAIPolicyViolation",
            "SubscriptionNotFound",
            "Throttled",
            "TooManyRequests",
            "content_filter",
            "context_length_exceeded",
            "insufficient_quota",
            "invalid_api_key",
            "invalid_request_error",
            "model_not_found",
            "rate_limit_exceeded",
            "unsupported_api_for_model",
        ] {
            assert_eq!(plain_code(&code.into()).as_deref(), Some(code));
        }
        for secret in [
            "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
            "0123456789abcdef0123456789abcdef",
            "sk-4xT9qZ7kLm2Wv8Rb3Yc6Nd1Pf5",
        ] {
            assert_eq!(plain_code(&secret.into()), None, "{secret}");
        }
    }

    #[test]
    fn statuses_and_what_they_mean() {
        let error = |code: &str, message: &str| UpstreamError {
            code: Some(code.to_owned()).filter(|code| !code.is_empty()),
            message: Some(message.to_owned()),
        };
        let other = Some("https://ai.azure.com/.default");
        for (status, code, message, meaning) in [
            (401, "PermissionDenied", "lacks the required data action", "not authorized"),
            (401, "401", "The audience is incorrect", "audience may be wrong"),
            (401, "401", "invalid subscription key", "requires a key"),
            (401, "", "", "does not accept the token"),
            (403, "AccessDenied", "Public access is disabled", "network rules"),
            (403, "", "", "not allowed"),
            (404, "DeploymentNotFound", "", "no deployment"),
            (404, "404", "Resource not found", "no such path"),
            (429, "429", "", "rate limit"),
            (500, "", "", "has failed"),
            (503, "", "", "has failed"),
        ] {
            let diagnosis = diagnose(status, &error(code, message), other).unwrap();
            assert!(diagnosis.meaning.contains(meaning), "{status} {code}: {diagnosis:?}");
            assert!(!diagnosis.hints.is_empty(), "{status} {code}");
        }
        let audience = diagnose(401, &error("401", "audience is incorrect"), other).unwrap();
        assert_eq!(audience.hints[0], "set AZURE_SCOPE=https://ai.azure.com/.default");
        assert_eq!(audience.suspect, Some(Suspect::Scope));
        assert_eq!(diagnose(200, &UpstreamError::default(), other), None);
        assert_eq!(diagnose(302, &UpstreamError::default(), other), None);
    }
}

//! A response of an identity endpoint with status 200: the token and how long it lives. All its values are strings, numbers, or
//! either; App Service sends no `expires_in`.

use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroizing;

use super::{IdentityService, refusal};
use crate::log;
use crate::token::http::TokenResponse;
use crate::token::response::{seconds, whole_seconds};
use crate::token::{Class, Grant, TokenError};

/// No token lives for longer: a time further ahead says that a clock is wrong.
const MAX_LIFETIME_SECONDS: f64 = 25.0 * 3600.0;

/// The grant in a response that came at `now`, in seconds since the Unix epoch.
pub(super) fn grant(
    service: IdentityService,
    response: &TokenResponse,
    user_assigned: Option<&(&'static str, String)>,
    now: Duration,
) -> Result<Grant, TokenError> {
    let useless = |fault: &str| TokenError {
        status: Some(response.status),
        hints: vec![refusal::describe_sender(service, response)],
        ..TokenError::transient(format!("{}'s response cannot be used: {fault}", service.name()))
    };
    if response.body.is_empty() {
        return Err(useless("it is empty"));
    }
    let mut json: Value = serde_json::from_slice(&response.body).map_err(|_| useless("it is not JSON"))?;
    if json.get("token_type").and_then(Value::as_str).is_some_and(|kind| !kind.eq_ignore_ascii_case("Bearer"))
    {
        return Err(useless("token_type is not Bearer"));
    }
    if service == IdentityService::Arc
        && let Some((name, id)) = user_assigned
        && !json.get(*name).and_then(Value::as_str).is_some_and(|echo| echo.eq_ignore_ascii_case(id))
    {
        // Older agents give the system-assigned identity's token, whatever was asked for.
        return Err(TokenError {
            hints: vec![
                "update the agent, or unset the variable with the identity's id to use the system-assigned identity"
                    .to_owned(),
            ],
            ..TokenError::new(
                Class::Permanent,
                "the Azure Arc agent does not know user-assigned identities: it gave the token of another identity",
            )
        });
    }
    let expires_in = lifetime(&json, now).map_err(|fault| useless(&fault))?;
    if expires_in < 1.0 {
        return Err(useless("the token has expired on arrival; is this machine's clock right?"));
    }
    let refresh_in = seconds(json.get("refresh_in")).filter(|seconds| *seconds >= 1.0).map(whole_seconds);
    let Some(Value::String(token)) = json.get_mut("access_token").map(Value::take) else {
        return Err(useless("access_token is missing"));
    };
    let token = Zeroizing::new(token);
    Grant::new(&token, whole_seconds(expires_in), refresh_in)
        .ok_or_else(|| useless("access_token has characters that no header may have"))
}

/// `expires_in`, or `expires_on` less the time that it is.
fn lifetime(json: &Value, now: Duration) -> Result<f64, String> {
    if let Some(expires_in) = seconds(json.get("expires_in")) {
        return Ok(expires_in);
    }
    let expires_on = json.get("expires_on").ok_or("expires_in and expires_on are missing")?;
    let Some(expires_on) = seconds(Some(expires_on)) else {
        return Err(format!("expires_on is not a number of seconds but {}", shape(expires_on)));
    };
    let left = expires_on - now.as_secs_f64();
    if left > MAX_LIFETIME_SECONDS {
        log::warn(
            "the token's expires_on is more than 25 h ahead; this machine's clock may be slow",
            &[("hint", &"set the clock (NTP)")],
        );
    }
    Ok(left)
}

/// A value without what it says: digits and letters are replaced.
fn shape(value: &Value) -> String {
    let Value::String(text) = value else { return "neither text nor a number".to_owned() };
    let letter = |c: char| match c {
        '0'..='9' => '0',
        c if c.is_alphabetic() => 'a',
        c if c.is_ascii() => c,
        _ => '?',
    };
    format!("text like {}", text.chars().take(40).map(letter).collect::<String>())
}

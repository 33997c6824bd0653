//! Parses Entra ID's response into a grant or an error; pure.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, RETRY_AFTER, SERVER};
use serde_json::Value;
use zeroize::Zeroizing;

use super::error::{TokenError, classify, is_token_endpoint_error};
use super::{Grant, remedies};
use crate::report::excerpt;

/// A longer `expires_in` counts as this: the token is replaced after half a day all the same.
const MAX_LIFETIME_SECONDS: f64 = 86_400.0;
/// No `Retry-After` can stop us for longer.
const MAX_RETRY_AFTER_SECONDS: u64 = 3600;
/// After a throttling error without `Retry-After`. Short enough for requests that wait for a token.
const DEFAULT_THROTTLE_WAIT: Duration = Duration::from_secs(2);
/// AADSTS700024: the one error whose usual cause is our clock.
pub(super) const OUTSIDE_TIME_RANGE: u32 = 700_024;
/// The certificate of the assertion is not one of the application's.
pub(super) const UNKNOWN_CERTIFICATE: u32 = 700_027;
const NOT_JSON: &str = "it is not JSON";

/// Parses a response received at `now`, in seconds since the Unix epoch.
///
/// # Errors
///
/// It grants no token: the error that it reports, or what is wrong with it.
pub fn read(status: u16, headers: &HeaderMap, body: &[u8], now: Duration) -> Result<Grant, TokenError> {
    let clock_ahead = date(headers).map(|date| seconds_ahead(now, date));
    match read_body(status, headers, body, now) {
        Ok(mut grant) => {
            grant.clock_ahead = clock_ahead;
            Ok(grant)
        }
        Err(error) => Err(TokenError { clock_ahead, ..error }),
    }
}

/// How many seconds `now` is ahead of the responder's `date`.
fn seconds_ahead(now: Duration, date: i64) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX) - date
}

fn read_body(status: u16, headers: &HeaderMap, body: &[u8], now: Duration) -> Result<Grant, TokenError> {
    if status != 200 {
        return Err(token_error(status, headers, body, now));
    }
    grant(body).map_err(|fault| {
        // Some gateways send 200 whatever they relay.
        let token_error = token_error(status, headers, body, now);
        if token_error.error.is_some() || token_error.code.is_some() {
            return token_error;
        }
        let compressed = fault == NOT_JSON && headers.contains_key(CONTENT_ENCODING);
        let fault = if compressed { "it is compressed, which was not requested" } else { fault };
        TokenError {
            status: Some(status),
            hints: vec![describe_sender(status, headers)],
            ..TokenError::transient(format!("the token endpoint's response cannot be used: {fault}"))
        }
    })
}

/// The successful response of RFC 6749 section 5.1.
fn grant(body: &[u8]) -> Result<Grant, &'static str> {
    if body.is_empty() {
        return Err("it is empty");
    }
    let mut json: Value = serde_json::from_slice(body).map_err(|_| NOT_JSON)?;
    let token_type = json.get("token_type").and_then(Value::as_str).unwrap_or_default();
    if !token_type.eq_ignore_ascii_case("Bearer") {
        return Err("token_type is not Bearer");
    }
    let expires_in = seconds(json.get("expires_in")).ok_or("expires_in is not a number")?;
    if expires_in < 1.0 {
        return Err("the token has expired on arrival");
    }
    // A refresh time of no use is no reason to throw the token away.
    let refresh_in = seconds(json.get("refresh_in")).filter(|seconds| *seconds >= 1.0).map(whole_seconds);
    let Some(Value::String(token)) = json.get_mut("access_token").map(Value::take) else {
        return Err("access_token is missing");
    };
    let token = Zeroizing::new(token);
    Grant::new(&token, whole_seconds(expires_in), refresh_in)
        .ok_or("access_token has characters that no header may have")
}

/// A number of seconds: an integer, a float, or a string of either.
pub(super) fn seconds(value: Option<&Value>) -> Option<f64> {
    let number = match value? {
        Value::String(text) => text.trim().parse().ok()?,
        value => value.as_f64()?,
    };
    Some(number).filter(|number: &f64| number.is_finite())
}

pub(super) fn whole_seconds(seconds: f64) -> Duration {
    Duration::from_secs(seconds.min(MAX_LIFETIME_SECONDS) as u64)
}

/// The error response of RFC 6749 section 5.2 with Entra ID's additions, or what a gateway sent in its place.
fn token_error(status: u16, headers: &HeaderMap, body: &[u8], now: Duration) -> TokenError {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name| json.get(name).and_then(Value::as_str);
    let description = text("error_description").unwrap_or_default();
    let error = text("error").filter(|error| is_short_and_plain(error));
    let listed = json.pointer("/error_codes/0").and_then(Value::as_u64);
    let code = listed.and_then(|code| u32::try_from(code).ok()).or_else(|| aadsts_number(description));
    let id = |field, label| text(field).or_else(|| after(description, label)).and_then(id_prefix);

    let date = date(headers);
    let throttled = status == 429 || code.is_some_and(remedies::is_throttling);
    // `Retry-After` of a filter or a gateway must not stop us for long: it is not Entra ID that is overloaded.
    let believed = status == 429 || code.is_some() || error.is_some_and(is_token_endpoint_error);
    let requested = header(headers, RETRY_AFTER.as_str()).filter(|_| believed);
    let requested = requested.and_then(|text| {
        parse_retry_after(text, date.unwrap_or_else(|| i64::try_from(now.as_secs()).unwrap_or(i64::MAX)))
    });
    let retry_after = requested.or_else(|| throttled.then_some(DEFAULT_THROTTLE_WAIT));
    let date_skew = date.filter(|_| code == Some(OUTSIDE_TIME_RANGE)).map(|date| seconds_ahead(now, date));

    TokenError {
        status: Some(status),
        code,
        error: error.map(Into::into),
        hints: match (code, error) {
            (Some(code), _) => hints(code, date_skew),
            (None, Some(error)) if is_token_endpoint_error(error) => Vec::new(),
            _ if status == 429 => vec![remedies::SLOW.into()],
            _ => vec![describe_sender(status, headers)],
        },
        detail: (!description.is_empty()).then(|| excerpt(description)),
        trace_id: id("trace_id", "Trace ID:"),
        correlation_id: id("correlation_id", "Correlation ID:"),
        retry_after,
        date_skew,
        ..TokenError::new(classify(status, error, code), summary(status, error, code))
    }
}

fn summary(status: u16, error: Option<&str>, code: Option<u32>) -> String {
    match (code, error) {
        (Some(code), _) => match remedies::lookup(code) {
            Some(remedy) => format!("Entra ID gave no token: AADSTS{code}, {}", remedy.meaning),
            None => format!("Entra ID gave no token: AADSTS{code}"),
        },
        (None, Some(error)) => format!("the token endpoint responded {status}, {error}"),
        (None, None) => format!("the token endpoint responded {status}"),
    }
}

fn hints(code: u32, date_skew: Option<i64>) -> Vec<String> {
    let action = match remedies::lookup(code) {
        Some(remedy) => remedy.action.into(),
        None => format!("see https://login.microsoftonline.com/error?code={code}"),
    };
    let skew = date_skew.map(|ahead| match ahead {
        // The Date header has whole seconds, and the response took some time to arrive.
        -5..=5 => "this machine's clock agrees with Entra ID's: check whether it was set a moment ago".into(),
        6.. => format!("this machine's clock is {ahead} s ahead of Entra ID's"),
        _ => format!("this machine's clock is {} s behind Entra ID's", -ahead),
    });
    skew.into_iter().chain([action]).collect()
}

/// What was received instead of Entra ID's JSON, from which server if it says so, and what to do about it.
pub(super) fn describe_sender(status: u16, headers: &HeaderMap) -> String {
    let action = match status {
        // Its own front end sends pages, too.
        500.. => "Entra ID, or a gateway before it, has failed; auth-proxy retries",
        _ => "check whether a proxy, a filter or a sign-in page responds in place of Entra ID",
    };
    format!("the response {}, not one of Entra ID's token endpoint: {action}", describe_content(headers))
}

/// Content type and server of a response, as `is text/html from server nginx`.
pub(super) fn describe_content(headers: &HeaderMap) -> String {
    let content_type = header(headers, CONTENT_TYPE.as_str()).and_then(|value| value.split(';').next());
    let content_type = content_type.and_then(plain).map(|value| format!("is {value}"));
    let server =
        header(headers, SERVER.as_str()).and_then(plain).map(|value| format!(" from server {value}"));
    format!("{}{}", content_type.as_deref().unwrap_or("has no content type"), server.unwrap_or_default())
}

/// A header's value, if it looks like a server's name: anything else is not shown.
fn plain(value: &str) -> Option<&str> {
    let value = value.trim();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b" ./-_+()".contains(&byte);
    ((1..=40).contains(&value.len()) && value.bytes().all(is_plain)).then_some(value)
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date on the same clock as `Date`.
pub(super) fn parse_retry_after(text: &str, date: i64) -> Option<Duration> {
    let text = text.trim();
    let seconds = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        text.parse().unwrap_or(MAX_RETRY_AFTER_SECONDS)
    } else {
        u64::try_from(unix_seconds(text)?.saturating_sub(date)).unwrap_or(0)
    };
    Some(Duration::from_secs(seconds.min(MAX_RETRY_AFTER_SECONDS)))
}

/// When the response was sent, in seconds since the Unix epoch, by its sender's clock.
pub(crate) fn date(headers: &HeaderMap) -> Option<i64> {
    unix_seconds(header(headers, DATE.as_str())?)
}

/// Seconds since the Unix epoch from an HTTP date (RFC 9110 section 5.6.7).
fn unix_seconds(date: &str) -> Option<i64> {
    let date = httpdate::parse_http_date(date.trim()).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The digits after the first `AADSTS`.
pub(super) fn aadsts_number(description: &str) -> Option<u32> {
    let rest = after(description, "AADSTS")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    Some(text.split_once(label)?.1.trim_start())
}

/// Ids end at a line break or a space, depending on the version of the server.
pub(super) fn id_prefix(text: &str) -> Option<String> {
    let id = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-').next()?;
    (!id.is_empty() && id.len() <= 64).then(|| id.to_ascii_lowercase())
}

/// `error` as RFC 6749 section 5.2 allows it, and no longer than any that exists.
pub(super) fn is_short_and_plain(error: &str) -> bool {
    (1..=64).contains(&error.len())
        && error.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
}

#[cfg(test)]
mod tests;

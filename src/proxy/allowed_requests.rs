//! `ALLOWED_REQUESTS`: which requests may be forwarded. Pure: a method and a path are compared with patterns.

use http::{Method, StatusCode};

use super::failure::{Failure, REFUSED};
use crate::config::{AllowedRequests, RequestPattern, TargetPattern};
use crate::http1::path;
use crate::log;
use crate::server::{ErrorResponse, Head};

/// Checks whether a request may be forwarded. Its path is judged as it will be sent, after the base path.
///
/// # Errors
///
/// A 403 response in OpenAI's form.
pub(super) fn check(allowed: &AllowedRequests, base_path: &str, head: &Head) -> Result<(), Failure> {
    verdict(&allowed.0, base_path, &head.method, head.path()).map_err(|hint| {
        let (method, path) = (log::excerpt(head.method.as_str()), log::excerpt(head.path()));
        let message = format!("ALLOWED_REQUESTS of auth-proxy does not allow {method} {path}");
        let mut response =
            ErrorResponse::new(StatusCode::FORBIDDEN, "permission_error", "request_not_allowed", message);
        response.should_retry = Some(false);
        let cause = "ALLOWED_REQUESTS does not allow it".to_owned();
        Failure::Refused { response: Box::new(response), kind: REFUSED, cause, hint: Some(hint) }
    })
}

/// Whether it is allowed however a server reads the path; else the hint for the log.
fn verdict(patterns: &[RequestPattern], base_path: &str, method: &Method, path: &str) -> Result<(), String> {
    let of_method =
        || patterns.iter().filter(|pattern| pattern.method.as_ref().is_none_or(|it| it == method));
    let is_allowed = if path == "*" {
        of_method().any(|pattern| matches!(pattern.target, TargetPattern::Asterisk))
    } else {
        let readings = path::readings(&format!("{base_path}{path}"));
        let readings =
            readings.map_err(|why| format!("servers read this path in different ways: it has {why}"))?;
        readings.iter().all(|reading| {
            of_method()
                .any(|pattern| matches!(&pattern.target, TargetPattern::Path(it) if matches(it, reading)))
        })
    };
    if is_allowed { Ok(()) } else { Err("add it to ALLOWED_REQUESTS if clients need it".into()) }
}

/// Segment by segment. A `*` at the end of the pattern stands for any rest, slashes included; elsewhere for any characters
/// of one segment.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((segment_pattern, patterns)) = pattern.split_once('/') else {
        return match pattern.strip_suffix('*') {
            Some(start) => rest_after(start, path.split('/').next().unwrap_or_default()).is_some(),
            None => !path.contains('/') && matches_segment(pattern, path),
        };
    };
    path.split_once('/').is_some_and(|(segment, segments)| {
        matches_segment(segment_pattern, segment) && matches(patterns, segments)
    })
}

fn matches_segment(pattern: &str, segment: &str) -> bool {
    match pattern.rsplit_once('*') {
        Some((start, end)) => rest_after(start, segment).is_some_and(|rest| rest.ends_with(end)),
        None => pattern == segment,
    }
}

/// What follows the shortest beginning of the text that the pattern matches: of all it leaves the most for what comes next.
fn rest_after<'a>(pattern: &str, text: &'a str) -> Option<&'a str> {
    let mut pieces = pattern.split('*');
    let mut rest = text.strip_prefix(pieces.next()?)?;
    for piece in pieces {
        rest = &rest[rest.find(piece)? + piece.len()..];
    }
    Some(rest)
}

#[cfg(test)]
mod tests;

//! The token endpoint's response: a grant is one that can be used, an error holds nothing secret.

use std::time::Duration;

use auth_proxy::testing::{Class, Grant, TokenError, token_response};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::reference::{is_token, trim};

/// 2023-11-14T22:13:20Z.
const NOW: Duration = Duration::from_secs(1_700_000_000);

/// `data` is a status, header fields, one per line, and after an empty line the body.
pub fn check(data: &[u8]) {
    let mut rest = data;
    let mut line = || {
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let line = trim(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        line
    };
    let status = std::str::from_utf8(line()).ok().and_then(|digits| digits.parse().ok()).unwrap_or(200);
    let mut headers = HeaderMap::new();
    loop {
        let field = line();
        let colon = field.iter().position(|b| *b == b':').unwrap_or(field.len());
        if !is_token(&field[..colon]) {
            break;
        }
        let value = HeaderValue::from_bytes(trim(field.get(colon + 1..).unwrap_or_default()));
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&field[..colon]), value) {
            headers.append(name, value);
        }
    }
    let body = rest;
    let secret = secret(body);
    match token_response::read(status, &headers, body, NOW) {
        Ok(grant) => {
            assert_eq!(status, 200);
            check_grant(&grant, &secret.expect("a token from nowhere"));
        }
        Err(error) => {
            check_error(&error);
            // What a refusal describes is for the log; a token has no business there.
            if let Some(secret) = secret.filter(|secret| status == 200 && secret.len() >= 12) {
                assert!(!format!("{error:?}").contains(&secret), "a token in an error: {error:?}");
            }
        }
    }
}

fn check_grant(grant: &Grant, secret: &str) {
    assert_eq!(grant.bearer().as_bytes(), format!("Bearer {secret}").as_bytes());
    assert!(!secret.is_empty() && secret.bytes().all(|b| b.is_ascii_graphic()), "illegal: {secret:?}");
    assert!(grant.bearer().is_sensitive());
    let day = Duration::from_secs(86_400);
    assert!((Duration::from_secs(1)..=day).contains(&grant.expires_in), "{:?}", grant.expires_in);
    assert!(grant.refresh_in.is_none_or(|refresh_in| (Duration::from_secs(1)..=day).contains(&refresh_in)));
    let shown = format!("{grant:?}{:?}", grant.bearer());
    assert!(secret.len() < 12 || !shown.contains(secret), "{shown}");
}

fn check_error(error: &TokenError) {
    let shown = [vec![error.summary.clone()], error.hints.clone()].concat();
    for line in &shown {
        assert!(!line.is_empty() && line.len() < 300 && !line.contains(char::is_control), "{line:?}");
    }
    assert!(
        error
            .error
            .as_ref()
            .is_none_or(|error| error.len() <= 64 && error.bytes().all(|b| b.is_ascii_graphic()))
    );
    for id in [&error.trace_id, &error.correlation_id].into_iter().flatten() {
        assert!(
            !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'),
            "{id}"
        );
    }
    if let Some(detail) = &error.detail {
        assert!(
            detail.chars().count() <= 400 && detail.split(' ').all(|word| word.len() <= 80),
            "{detail:?}"
        );
    }
    assert!(error.retry_after.is_none_or(|pause| pause <= Duration::from_secs(3600)));
    let asked_to_wait = matches!(error.status, Some(429));
    assert!(!asked_to_wait || error.retry_after.is_some() && error.class == Class::Transient);
}

/// The token in a body, if there is one.
fn secret(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(json.get("access_token")?.as_str()?.to_owned())
}

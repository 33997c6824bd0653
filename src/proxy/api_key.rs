//! `PROXY_API_KEY`: which clients may call.

use http::StatusCode;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use super::headers::{CREDENTIALS, KEY_SUBPROTOCOL};
use super::target;
use crate::fields::{self, Fields};
use crate::server::{ErrorResponse, Head};

/// Checks whether the request has the key in any place where a client of Azure or OpenAI puts one.
///
/// # Errors
///
/// A 401 response in OpenAI's form.
pub(super) fn check(key: &str, head: &Head) -> Result<(), ErrorResponse> {
    // Digests of equal length are compared in constant time, so that the duration reveals nothing about the key.
    let wanted = Sha256::digest(key.as_bytes());
    let mut found = false;
    let mut presented_any = false;
    for presented in presented(&head.headers, &head.target) {
        presented_any = true;
        found |= bool::from(Sha256::digest(&presented).ct_eq(&wanted));
    }
    if found {
        return Ok(());
    }
    let message = if presented_any {
        "the API key sent to auth-proxy does not match PROXY_API_KEY"
    } else {
        "auth-proxy requires an API key (PROXY_API_KEY): send it as api-key or as a bearer token"
    };
    let mut response = ErrorResponse::request(StatusCode::UNAUTHORIZED, "invalid_api_key", message);
    response.should_retry = Some(false);
    Err(response)
}

fn presented(headers: &Fields, target: &str) -> Vec<Vec<u8>> {
    let mut presented = Vec::new();
    for name in CREDENTIALS {
        for value in headers.get_all(name) {
            let bearer = strip_prefix_ignore_case(value, "bearer ").filter(|_| name == "authorization");
            presented.push(bearer.unwrap_or(value).trim_ascii().to_vec());
        }
    }
    for protocol in headers.get_all("sec-websocket-protocol").flat_map(fields::elements) {
        presented.extend(strip_prefix_ignore_case(protocol, KEY_SUBPROTOCOL).map(<[u8]>::to_vec));
    }
    for value in target::credentials(target) {
        // Browsers write a space in a query as `+`.
        let bearer = strip_prefix_ignore_case(&value, "bearer ")
            .or_else(|| strip_prefix_ignore_case(&value, "bearer+"));
        presented.push(bearer.unwrap_or(&value).to_vec());
    }
    presented
}

fn strip_prefix_ignore_case<'a>(value: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix.as_bytes()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::*;
    use crate::server::Length;

    fn status(target: &str, fields: &[(&str, &str)]) -> u16 {
        let mut headers = Fields::default();
        fields.iter().for_each(|(name, value)| headers.push(name, value.as_bytes()));
        let (method, version) = (Method::GET, Version::HTTP_11);
        let head = Head { method, target: target.into(), version, headers, length: Length::Empty };
        check("the-key", &head).map_or_else(|response| response.status.as_u16(), |()| 200)
    }

    #[test]
    fn the_key_is_accepted_in_every_place_and_nothing_else_is() {
        for (expected, target, fields) in [
            (200, "/", &[("api-key", "the-key")][..]),
            (200, "/", &[("authorization", "Bearer the-key")]),
            (200, "/", &[("authorization", "bearer the-key")]),
            (200, "/", &[("x-api-key", "the-key")]),
            (200, "/", &[("ocp-apim-subscription-key", "the-key")]),
            (200, "/", &[("api-key", "wrong"), ("authorization", "Bearer the-key")]),
            (200, "/", &[("sec-websocket-protocol", "realtime, openai-insecure-api-key.the-key")]),
            (200, "/?api-key=the%2Dkey", &[]),
            (200, "/?Authorization=Bearer%20the-key", &[]),
            (200, "/?Authorization=Bearer+the-key", &[]),
            (200, "/", &[("sec-websocket-protocol", "OpenAI-Insecure-API-Key.the-key")]),
            (401, "/", &[]),
            (401, "/", &[("api-key", "")]),
            (401, "/", &[("api-key", "the-key2")]),
            (401, "/", &[("api-key", "the-ke")]),
            (401, "/?key=the-key", &[("x-key", "the-key")]),
        ] {
            assert_eq!(status(target, fields), expected, "{target} {fields:?}");
        }
    }
}

//! Where a client of Azure or OpenAI puts its API key.

use super::headers::{CREDENTIALS, KEY_SUBPROTOCOL};
use super::target;
use crate::fields::{self, Fields};

/// A request has one key, and perhaps a placeholder beside it. More are not looked at: each is compared with every key there
/// is, and a head has room for thousands.
const MAX_PRESENTED: usize = 16;

/// What the request has in places of a key.
pub(super) fn presented(headers: &Fields, target: &str) -> Vec<Vec<u8>> {
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
    presented.truncate(MAX_PRESENTED);
    presented
}

fn strip_prefix_ignore_case<'a>(value: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix.as_bytes()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_every_place_and_nowhere_else() {
        let many = "api-key=wrong&".repeat(MAX_PRESENTED);
        let (last, too_late) =
            (format!("/?{}api-key=the-key", &many[14..]), format!("/?{many}api-key=the-key"));
        for (expected, target, fields) in [
            (true, "/", &[("api-key", "the-key")][..]),
            (true, "/", &[("authorization", "Bearer the-key")]),
            (true, "/", &[("authorization", "bearer the-key")]),
            (true, "/", &[("x-api-key", "the-key")]),
            (true, "/", &[("ocp-apim-subscription-key", "the-key")]),
            (true, "/", &[("api-key", "wrong"), ("authorization", "Bearer the-key")]),
            (true, "/", &[("sec-websocket-protocol", "realtime, openai-insecure-api-key.the-key")]),
            (true, "/?api-key=the%2Dkey", &[]),
            (true, "/?Authorization=Bearer%20the-key", &[]),
            (true, "/?Authorization=Bearer+the-key", &[]),
            (true, "/", &[("sec-websocket-protocol", "OpenAI-Insecure-API-Key.the-key")]),
            (true, &last, &[]),
            (false, &too_late, &[]),
            (false, "/", &[]),
            (false, "/", &[("api-key", "")]),
            (false, "/", &[("api-key", "the-key2")]),
            (false, "/", &[("api-key", "the-ke")]),
            (false, "/?key=the-key", &[("x-key", "the-key")]),
        ] {
            let mut headers = Fields::default();
            fields.iter().for_each(|(name, value)| headers.push(name, value.as_bytes()));
            let found = presented(&headers, target).iter().any(|key| key == b"the-key");
            assert_eq!(found, expected, "{target} {fields:?}");
        }
    }
}

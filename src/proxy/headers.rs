//! Which header fields pass. Pure: it knows no tokens and no settings.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
    SEC_WEBSOCKET_PROTOCOL, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Version};

use crate::server::{Head, Length};

/// Fields that carry a credential in a request to Azure; what a client puts there never leaves.
pub const CREDENTIALS: [HeaderName; 5] = [
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("ocp-apim-subscription-key"),
];

/// A WebSocket subprotocol of this prefix carries a key (OpenAI's browser clients).
pub const KEY_SUBPROTOCOL: &str = "openai-insecure-api-key.";

/// Fields about one connection, which end with it (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    UPGRADE,
];

/// Removes from a request what the destination must not see: credentials, fields about the client's connection,
/// and those that `Connection` names. Framing fields stay, whatever `Connection` says; `Host` is the
/// destination's own.
pub fn strip_request(headers: &mut HeaderMap) {
    remove_named_by_connection(headers);
    for name in CREDENTIALS.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    remove_misspelled_credentials(headers);
    headers.remove(HOST);
    // The server has answered it: 100 is about this hop.
    headers.remove(EXPECT);
    strip_key_subprotocols(headers);
}

/// States the body's framing in our own words: a length without leading zeros, a coding in the spelling that ureq
/// knows (to `Chunked` it would add a second one).
pub fn frame_request(headers: &mut HeaderMap, method: &Method, length: Length) {
    match length {
        // Of these ureq expects a body: without a length it would announce chunks.
        Length::Empty if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Length::Empty => {}
        Length::Known(n) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(n));
        }
        Length::Unknown => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// Removes from an answer the fields about the destination's connection, framing included.
pub fn strip_response(headers: &mut HeaderMap) {
    remove_named_by_connection(headers);
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(TRANSFER_ENCODING);
}

/// Whether a request asks for a WebSocket (RFC 6455 section 4.1). Other upgrades are ignored, as RFC 9110 section
/// 7.8 allows.
pub fn asks_for_websocket(head: &Head) -> bool {
    head.method == Method::GET
        && head.version == Version::HTTP_11
        && options(&head.headers).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        && names_websocket(&head.headers)
}

/// Adds the fields that ask for a WebSocket or grant it.
pub fn insert_websocket_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Whether `Upgrade` says what WebSockets ask for and grant, and nothing else.
pub fn names_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The connection options, as sent.
fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(CONNECTION).iter();
    values.flat_map(|value| value.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii)
}

fn remove_named_by_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> =
        options(headers).filter_map(|option| HeaderName::from_bytes(option).ok()).collect();
    for name in named {
        // Naming these would change what the message means.
        if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) {
            headers.remove(name);
        }
    }
}

/// Servers that hand fields over in variables take `api_key` for `api-key`, and so do people.
fn remove_misspelled_credentials(headers: &mut HeaderMap) {
    let is_credential = |name: &&HeaderName| {
        let name = name.as_str();
        name.contains('_')
            && CREDENTIALS.iter().any(|credential| credential.as_str() == name.replace('_', "-"))
    };
    let misspelled: Vec<HeaderName> = headers.keys().filter(is_credential).cloned().collect();
    for name in misspelled {
        headers.remove(name);
    }
}

fn strip_key_subprotocols(headers: &mut HeaderMap) {
    let carries_key = |protocol: &[u8]| {
        let start = protocol.get(..KEY_SUBPROTOCOL.len());
        start.is_some_and(|s| s.eq_ignore_ascii_case(KEY_SUBPROTOCOL.as_bytes()))
    };
    let protocols = |value: &HeaderValue| -> Vec<Vec<u8>> {
        value.as_bytes().split(|b| *b == b',').map(|p| p.trim_ascii().to_vec()).collect()
    };
    let offered: Vec<Vec<u8>> = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().flat_map(protocols).collect();
    if !offered.iter().any(|protocol| carries_key(protocol)) {
        return;
    }
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    let kept: Vec<Vec<u8>> = offered.into_iter().filter(|protocol| !carries_key(protocol)).collect();
    if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::from_bytes(&kept.join(&b", "[..]))) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn credentials_never_pass() {
        let mut headers = map(&[
            ("Authorization", "Bearer K"),
            ("authorization", "Basic K"),
            ("API-KEY", "K"),
            ("X-Api-Key", "K"),
            ("Ocp-Apim-Subscription-Key", "K"),
            ("Proxy-Authorization", "K"),
            ("API_Key", "K"),
            ("ocp_apim-Subscription_key", "K"),
            ("api_keys", "no key"),
            ("openai-organization", "o"),
        ]);
        strip_request(&mut headers);
        assert_eq!(names(&headers), ["api_keys", "openai-organization"]);
    }

    #[test]
    fn connection_fields_end_here_and_framing_stays() {
        let mut headers = map(&[
            ("Connection", "close, X-Hop , content-length,host"),
            ("Connection", "transfer-encoding"),
            ("X-Hop", "1"),
            ("Keep-Alive", "300"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "trailers"),
            ("Trailer", "X"),
            ("Upgrade", "h2c"),
            ("Expect", "100-continue"),
            ("Host", "localhost:8080"),
            ("Content-Length", "5"),
            ("Accept-Encoding", "gzip"),
        ]);
        strip_request(&mut headers);
        assert_eq!(names(&headers), ["accept-encoding", "content-length"]);
    }

    #[test]
    fn keys_in_subprotocols_are_cut_out_and_the_rest_stays() {
        let mut headers = map(&[
            ("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.K"),
            ("Sec-WebSocket-Protocol", "OpenAI-Insecure-API-Key.K2,openai-beta.realtime-v1"),
        ]);
        strip_request(&mut headers);
        assert_eq!(headers[SEC_WEBSOCKET_PROTOCOL], "realtime, openai-beta.realtime-v1");
        assert_eq!(headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().count(), 1);

        let mut only_key = map(&[("Sec-WebSocket-Protocol", "openai-insecure-api-key.K")]);
        strip_request(&mut only_key);
        assert!(only_key.is_empty());
    }

    #[test]
    fn an_answer_keeps_everything_but_its_connection() {
        let mut headers = map(&[
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("Connection", "keep-alive, x-private"),
            ("X-Private", "1"),
            ("Transfer-Encoding", "chunked"),
            ("WWW-Authenticate", "Bearer"),
            ("retry-after-ms", "20"),
        ]);
        strip_response(&mut headers);
        assert_eq!(names(&headers), ["retry-after-ms", "set-cookie", "www-authenticate"]);
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    }
}

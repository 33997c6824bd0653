//! Which header fields are forwarded. Pure: it knows no tokens and no settings.

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Version};

use crate::fields::{Fields, elements, is};
use crate::server::{Head, Length};

/// Fields that carry a credential in a request to Azure; what a client puts there never leaves.
pub const CREDENTIALS: [&str; 5] =
    ["authorization", "proxy-authorization", "api-key", "x-api-key", "ocp-apim-subscription-key"];

/// A WebSocket subprotocol of this prefix carries a key (OpenAI's browser clients).
pub const KEY_SUBPROTOCOL: &str = "openai-insecure-api-key.";

/// Fields about one connection, which end with it (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [&str; 6] = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"];

/// Fields that say where a message goes and where it ends. `Connection` cannot make them its own: that would change what
/// the message means.
const FRAMING: [&str; 3] = ["host", "content-length", "transfer-encoding"];

/// Removes from a request what the upstream must not see: credentials, fields about the client's connection, and those that
/// `Connection` names; and what is generated for the upstream: `Host` and the framing.
pub fn strip_request(headers: &mut Fields) {
    let named = named_by_connection(headers);
    headers.retain(|name, _| {
        !is_connection_field(name)
            && !is_credential(name)
            && !named.iter().any(|other| name.eq_ignore_ascii_case(other))
    });
    strip_key_subprotocols(headers);
}

/// Generates a request body's framing: a length without leading zeros, a coding in the spelling that ureq knows (to
/// `Chunked` it would add a second one).
pub fn framing(method: &Method, length: Length) -> Option<(HeaderName, HeaderValue)> {
    match length {
        // Of these ureq expects a body: without a length it would announce chunks.
        Length::Empty if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
            Some((CONTENT_LENGTH, HeaderValue::from_static("0")))
        }
        Length::Empty => None,
        Length::Known(n) => Some((CONTENT_LENGTH, number(n))),
        Length::Unknown => Some((TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
    }
}

/// `HeaderValue::from` allocates twice.
fn number(n: u64) -> HeaderValue {
    HeaderValue::try_from(n.to_string()).unwrap_or_else(|_| n.into())
}

/// Removes from a response the fields about the upstream's connection, framing included; with `length` also
/// `Content-Length`.
pub fn strip_response(headers: &mut Fields, length: bool) {
    let named = named_by_connection(headers);
    headers.retain(|name, _| {
        let is_dropped = is_any(name, &HOP_BY_HOP)
            || is(name, "transfer-encoding")
            || length && is(name, "content-length")
            || named.iter().any(|other| name.eq_ignore_ascii_case(other));
        !is_dropped
    });
}

/// Whether a request asks for a WebSocket (RFC 6455 section 4.1). Other upgrades are ignored, as RFC 9110 section
/// 7.8 allows.
pub fn asks_for_websocket(head: &Head) -> bool {
    head.method == Method::GET
        && head.version == Version::HTTP_11
        && options(&head.headers).any(|option| is(option, "upgrade"))
        && names_websocket(&head.headers)
}

/// Adds the fields that ask for a WebSocket or grant it.
pub fn insert_websocket_upgrade(headers: &mut Fields) {
    headers.push("connection", b"Upgrade");
    headers.push("upgrade", b"websocket");
}

/// Whether `Upgrade` says what WebSockets ask for and grant, and nothing else.
pub fn names_websocket(headers: &Fields) -> bool {
    headers.get("upgrade").is_some_and(|upgrade| is(upgrade, "websocket"))
}

/// The connection options, as sent.
fn options(headers: &Fields) -> impl Iterator<Item = &[u8]> {
    headers.get_all("connection").flat_map(elements)
}

/// The field names in `Connection`, except those that are dropped or kept anyway.
fn named_by_connection(headers: &Fields) -> Vec<Vec<u8>> {
    let known = |option: &[u8]| is_any(option, &HOP_BY_HOP) || is_any(option, &FRAMING);
    options(headers).filter(|option| !known(option)).map(<[u8]>::to_vec).collect()
}

fn is_any(name: &[u8], wanted: &[&str]) -> bool {
    wanted.iter().any(|wanted| is(name, wanted))
}

fn is_credential(name: &[u8]) -> bool {
    CREDENTIALS.iter().any(|credential| is_spelled_like(name, credential))
}

/// Whether a request field is about the client's connection or the message's framing. `Expect` was handled by the server:
/// 100 is about this hop.
fn is_connection_field(name: &[u8]) -> bool {
    HOP_BY_HOP.iter().chain(&FRAMING).chain(&["expect"]).any(|known| is_spelled_like(name, known))
}

/// Servers that pass fields in environment variables (CGI) take `api_key` for `api-key` and `Content_Length` for
/// `Content-Length`, and so do people.
fn is_spelled_like(name: &[u8], known: &str) -> bool {
    let alike = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*a, *b) == (b'_', b'-');
    name.len() == known.len() && name.iter().zip(known.as_bytes()).all(alike)
}

fn strip_key_subprotocols(headers: &mut Fields) {
    const PROTOCOL: &str = "sec-websocket-protocol";
    let carries_key = |protocol: &&[u8]| {
        let start = protocol.get(..KEY_SUBPROTOCOL.len());
        start.is_some_and(|start| is(start, KEY_SUBPROTOCOL))
    };
    let offered = || headers.get_all(PROTOCOL).flat_map(elements);
    if !offered().any(|protocol| carries_key(&protocol)) {
        return;
    }
    let kept: Vec<&[u8]> = offered().filter(|protocol| !carries_key(protocol)).collect();
    let value = (!kept.is_empty()).then(|| kept.join(&b", "[..]));
    headers.retain(|name, _| !is(name, PROTOCOL));
    if let Some(value) = value {
        headers.push(PROTOCOL, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(headers: &Fields) -> Vec<&str> {
        headers.iter().map(|(name, _)| crate::fields::readable(name)).collect()
    }

    #[test]
    fn credentials_never_pass() {
        let mut headers = Fields::from([
            ("Authorization", "Bearer K"),
            ("authorization", "Basic K"),
            ("API-KEY", "K"),
            ("X-Api-Key", "K"),
            ("Ocp-Apim-Subscription-Key", "K"),
            ("Proxy-Authorization", "K"),
            ("API_Key", "K"),
            ("ocp_apim-Subscription_key", "K"),
            ("api_keys", "no key"),
            ("api+key", "no key"),
            ("OpenAI-Organization", "o"),
        ]);
        strip_request(&mut headers);
        assert_eq!(names(&headers), ["api_keys", "api+key", "OpenAI-Organization"]);
    }

    #[test]
    fn connection_fields_are_dropped_and_framing_is_generated() {
        let mut headers = Fields::from([
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
            ("Content-Length", "05"),
            ("Transfer_Encoding", "chunked"),
            ("CONTENT_LENGTH", "7"),
            ("Keep_Alive", "timeout=5"),
            ("Accept-Encoding", "gzip"),
        ]);
        strip_request(&mut headers);
        assert_eq!(names(&headers), ["Accept-Encoding"]);

        let framed = |method, length| {
            framing(&method, length).map(|(name, value)| (name, value.to_str().unwrap().to_owned()))
        };
        assert_eq!(framed(Method::POST, Length::Known(5)), Some((CONTENT_LENGTH, "5".into())));
        assert_eq!(framed(Method::GET, Length::Unknown), Some((TRANSFER_ENCODING, "chunked".into())));
        assert_eq!(framed(Method::PUT, Length::Empty), Some((CONTENT_LENGTH, "0".into())));
        assert_eq!(framed(Method::GET, Length::Empty), None);
    }

    #[test]
    fn keys_in_subprotocols_are_removed_and_the_rest_stays() {
        let mut headers = Fields::from([
            ("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.K"),
            ("Sec-WebSocket-Protocol", "OpenAI-Insecure-API-Key.K2,openai-beta.realtime-v1"),
        ]);
        strip_request(&mut headers);
        let protocols: Vec<_> = headers.get_all("Sec-WebSocket-Protocol").collect();
        assert_eq!(protocols, [b"realtime, openai-beta.realtime-v1"]);

        let mut only_key = Fields::from([("Sec-WebSocket-Protocol", "openai-insecure-api-key.K")]);
        strip_request(&mut only_key);
        assert_eq!(only_key, Fields::default());
    }

    #[test]
    fn a_response_keeps_everything_but_its_connection() {
        let came = Fields::from([
            ("Set-Cookie", "a=1"),
            ("Connection", "keep-alive, x-private, content-length"),
            ("Content-Length", "3"),
            ("set-cookie", "b=2"),
            ("X-Private", "1"),
            ("Transfer-Encoding", "chunked"),
            ("WWW-Authenticate", "Bearer"),
        ]);
        let mut headers = came.clone();
        strip_response(&mut headers, false);
        assert_eq!(names(&headers), ["Set-Cookie", "Content-Length", "set-cookie", "WWW-Authenticate"]);
        let mut headers = came;
        strip_response(&mut headers, true);
        assert_eq!(names(&headers), ["Set-Cookie", "set-cookie", "WWW-Authenticate"]);
    }
}

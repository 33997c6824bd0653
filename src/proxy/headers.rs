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
const SUBPROTOCOLS: &str = "sec-websocket-protocol";

/// How an ephemeral key of the Realtime API begins. It stands for one session, and its endpoints may insist on it.
const EPHEMERAL_KEY: &[u8] = b"ek_";

/// Fields about one connection, which end with it (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [&str; 6] = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"];

/// Fields that say where a message goes and where it ends. `Connection` cannot make them its own: that would change what
/// the message means.
const FRAMING: [&str; 3] = ["host", "content-length", "transfer-encoding"];

/// Removes from a request what the upstream must not see: credentials, fields about the client's connection, and those that
/// `Connection` names; and what is generated for the upstream: `Host` and the framing.
pub fn strip_request(headers: &mut Fields) {
    strip_connection_fields(headers);
    headers.retain(|name, _| !is_credential(name));
    strip_subprotocols(headers, carries_key);
}

/// As [`strip_request`], but ephemeral keys stay in their places. Returns how many there are.
pub fn strip_request_but_ephemeral_keys(headers: &mut Fields) -> usize {
    strip_connection_fields(headers);
    headers.retain(|name, value| !is_credential(name) || is_ephemeral_bearer(name, value));
    strip_subprotocols(headers, |protocol| carries_key(protocol) && !carries_ephemeral_key(protocol));
    let bearers = headers.iter().filter(|(name, value)| is_ephemeral_bearer(name, value)).count();
    bearers + subprotocols(headers).filter(|protocol| carries_ephemeral_key(protocol)).count()
}

/// Whether a request brings an ephemeral key where the Realtime API takes one: as a bearer token, or in a subprotocol of a
/// WebSocket.
pub fn has_ephemeral_key(headers: &Fields, websocket: bool) -> bool {
    headers.iter().any(|(name, value)| is_ephemeral_bearer(name, value))
        || websocket && subprotocols(headers).any(carries_ephemeral_key)
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

/// Removes what ends with the client's connection: fields about it, those that it names, and the framing.
fn strip_connection_fields(headers: &mut Fields) {
    let named = named_by_connection(headers);
    headers.retain(|name, _| {
        !is_connection_field(name) && !named.iter().any(|other| name.eq_ignore_ascii_case(other))
    });
}

fn strip_subprotocols(headers: &mut Fields, is_dropped: impl Fn(&[u8]) -> bool) {
    if !subprotocols(headers).any(&is_dropped) {
        return;
    }
    let kept: Vec<&[u8]> = subprotocols(headers).filter(|protocol| !is_dropped(protocol)).collect();
    let value = (!kept.is_empty()).then(|| kept.join(&b", "[..]));
    headers.retain(|name, _| !is(name, SUBPROTOCOLS));
    if let Some(value) = value {
        headers.push(SUBPROTOCOLS, &value);
    }
}

fn subprotocols(headers: &Fields) -> impl Iterator<Item = &[u8]> {
    headers.get_all(SUBPROTOCOLS).flat_map(elements)
}

fn carries_key(protocol: &[u8]) -> bool {
    strip_prefix(protocol, KEY_SUBPROTOCOL).is_some()
}

fn carries_ephemeral_key(protocol: &[u8]) -> bool {
    strip_prefix(protocol, KEY_SUBPROTOCOL).is_some_and(is_ephemeral_key)
}

fn is_ephemeral_bearer(name: &[u8], value: &[u8]) -> bool {
    let token = strip_prefix(value, "bearer ").map(<[u8]>::trim_ascii);
    is(name, "authorization") && token.is_some_and(is_ephemeral_key)
}

/// One token and nothing beside it (`b64token` of RFC 6750 section 2.1).
fn is_ephemeral_key(token: &[u8]) -> bool {
    let rest = token.strip_prefix(EPHEMERAL_KEY);
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(b))
    })
}

/// What follows a prefix in any case.
fn strip_prefix<'a>(text: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    is(start, prefix).then_some(rest)
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

    /// Each row: fields; those that are left, and how many of them are ephemeral keys.
    #[test]
    fn ephemeral_keys_stay_where_they_are_and_nothing_else_does() {
        const KEY: &str = "openai-insecure-api-key.";
        let protocols = |text: &str| ("Sec-WebSocket-Protocol", text.replace('@', KEY));
        let field = |name: &'static str, value: &str| (name, value.to_owned());
        let rows = [
            (vec![field("Authorization", "Bearer ek_1")], vec![field("Authorization", "Bearer ek_1")], 1),
            (
                vec![field("AUTHORIZATION", "bearer  ek_a-b.c~d+/=")],
                vec![field("AUTHORIZATION", "bearer  ek_a-b.c~d+/=")],
                1,
            ),
            (
                vec![
                    field("Authorization", "Bearer K"),
                    field("authorization", "Bearer ek_1"),
                    field("api-key", "K"),
                ],
                vec![field("authorization", "Bearer ek_1")],
                1,
            ),
            (vec![protocols("realtime, @ek_1, x")], vec![protocols("realtime, @ek_1, x")], 1),
            (
                vec![protocols("realtime,@K,@ek_1 ,x")],
                vec![("sec-websocket-protocol", format!("realtime, {KEY}ek_1, x"))],
                1,
            ),
            (vec![protocols("@ek_1"), protocols("@ek_2")], vec![protocols("@ek_1"), protocols("@ek_2")], 2),
            (
                vec![field("Authorization", "Bearer ek_1"), protocols("@ek_1")],
                vec![field("Authorization", "Bearer ek_1"), protocols("@ek_1")],
                2,
            ),
            // Neither this scheme, nor this beginning, nor one token alone.
            (vec![field("Authorization", "Basic ek_1")], vec![], 0),
            (vec![field("Authorization", "ek_1")], vec![], 0),
            (vec![field("Authorization", "Bearer EK_1")], vec![], 0),
            (vec![field("Authorization", "Bearer ek_")], vec![], 0),
            (vec![field("Authorization", "Bearer xek_1")], vec![], 0),
            (vec![field("Authorization", "Bearer ek_1, Bearer K")], vec![], 0),
            (vec![field("Authorization", "Bearer ek_1 K")], vec![], 0),
            (vec![protocols("@EK_1"), protocols("@xek_1, @")], vec![], 0),
            // Other places.
            (
                vec![
                    field("api-key", "ek_1"),
                    field("x-api-key", "ek_1"),
                    field("Proxy-Authorization", "Bearer ek_1"),
                ],
                vec![],
                0,
            ),
            // Of this connection alone.
            (vec![field("Connection", "authorization"), field("Authorization", "Bearer ek_1")], vec![], 0),
        ];
        for (fields, left, keys) in rows {
            let build = |fields: &[(&str, String)]| {
                let mut built = Fields::default();
                fields.iter().for_each(|(name, value)| built.push(name, value.as_bytes()));
                built
            };
            let mut headers = build(&fields);
            assert!(keys == 0 || has_ephemeral_key(&headers, true), "{fields:?}");
            assert_eq!(strip_request_but_ephemeral_keys(&mut headers), keys, "{fields:?}");
            assert_eq!(headers, build(&left), "{fields:?}");
            let mut headers = build(&fields);
            strip_request(&mut headers);
            assert!(!has_ephemeral_key(&headers, true), "{fields:?}");
        }
        let offer = Fields::from([("Sec-WebSocket-Protocol", "openai-insecure-api-key.ek_1")]);
        assert!(has_ephemeral_key(&offer, true) && !has_ephemeral_key(&offer, false));
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

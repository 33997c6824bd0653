//! What passes from a request and from a response, and where a request goes.

use auth_proxy::testing::{BaseUrl, fields, headers, target};
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue};

use super::reference::{self, Fields, split, trim};

const CREDENTIALS: [&str; 5] =
    ["authorization", "proxy-authorization", "api-key", "x-api-key", "ocp-apim-subscription-key"];
const HOP_BY_HOP: [&str; 6] = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"];
const FRAMING: [&str; 3] = ["host", "content-length", "transfer-encoding"];
const PARAMETERS: [&[u8]; 4] = [b"access_token", b"api-key", b"authorization", b"subscription-key"];
const PROTOCOLS: &[u8] = b"sec-websocket-protocol";

/// `data` is a request target, then header fields, one per line.
pub fn check(data: &[u8]) {
    let mut lines = split(data, b"\n").into_iter();
    if let Ok(target) = std::str::from_utf8(lines.next().unwrap_or_default()) {
        for base_url in base_urls() {
            check_target(&base_url, target);
        }
    }
    let mut headers = fields::Fields::default();
    for line in lines {
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let value = trim(line.get(colon + 1..).unwrap_or_default());
        let name = std::str::from_utf8(&line[..colon]).unwrap_or_default();
        if HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_bytes(value).is_ok() {
            headers.push(name, value);
        }
    }
    check_request(headers.clone());
    check_response(headers);
}

/// With and without a base path, a port and TLS.
pub(crate) fn base_urls() -> [BaseUrl; 3] {
    [
        (Scheme::HTTPS, "name.openai.azure.com", ""),
        (Scheme::HTTPS, "apim.test:8443", "/openai"),
        (Scheme::HTTP, "[::1]:81", "/a/b%2Fc"),
    ]
    .map(|(scheme, authority, base_path)| BaseUrl {
        scheme,
        authority: Authority::from_static(authority),
        base_path: base_path.into(),
    })
}

fn check_target(base_url: &BaseUrl, target: &str) {
    let Ok(sent) = target::forwarded(base_url, target) else {
        let plain = |b: u8| b.is_ascii_graphic() && b != b'#' || b >= 0x80;
        let has_dots = [".", "%2e", "%2E", "%25"].iter().any(|dot| target.contains(dot));
        let is_bounded = !base_url.base_path.is_empty() && (has_dots || target == "*");
        assert!(is_bounded || !target.starts_with('/') || !target.bytes().all(plain), "refused: {target}");
        return;
    };
    let sent = sent.as_str();
    if target == "*" {
        return assert_eq!((sent, base_url.base_path.as_str()), ("*", ""));
    }
    assert!(sent.starts_with('/') && sent.bytes().all(|b| b > b' ' && b != 0x7f), "no target: {sent:?}");
    if let Some(uri) = target::join(base_url, target) {
        assert_eq!((uri.scheme(), uri.authority()), (Some(&base_url.scheme), Some(&base_url.authority)));
    }
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let parameters = query.map_or(Vec::new(), |query| split(query.as_bytes(), b"&"));
    let (keys, kept): (Vec<_>, Vec<_>) = parameters.into_iter().partition(|one| is_credential(one));
    let mut expected = [base_url.base_path.as_bytes(), path.as_bytes()].concat();
    if query.is_some() && (keys.is_empty() || !kept.is_empty()) {
        expected.push(b'?');
        expected.extend_from_slice(&kept.join(&b'&'));
    }
    assert_eq!(sent.as_bytes(), expected, "{sent} instead of {}", String::from_utf8_lossy(&expected));
    assert_eq!(target::credentials(target).count(), keys.len());
    assert_eq!(target::credentials(sent).count(), 0, "a credential is left");
}

fn is_credential(parameter: &[u8]) -> bool {
    let name = split(parameter, b"=")[0];
    PARAMETERS.contains(&decoded(name).to_ascii_lowercase().as_slice())
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let escaped =
        text.get(..3).filter(|three| three[0] == b'%' && three[1..].iter().all(u8::is_ascii_hexdigit));
    let digits = escaped.and_then(|three| std::str::from_utf8(&three[1..]).ok());
    let (byte, length) = match digits.map(|digits| u8::from_str_radix(digits, 16)) {
        Some(Ok(byte)) => (byte, 3),
        _ if text.is_empty() => return Vec::new(),
        _ => (text[0], 1),
    };
    [vec![byte], decoded(&text[length..])].concat()
}

fn check_request(mut headers: fields::Fields) {
    let before = reference::fields(&headers);
    let mut with_keys = headers.clone();
    let keys = headers::strip_request_but_ephemeral_keys(&mut with_keys);
    headers::strip_request(&mut headers);
    let after = reference::fields(&headers);
    // Whatever ephemeral keys stay, nothing else does.
    assert!(keys > 0 || reference::fields(&with_keys) == after, "something else than ephemeral keys is left");
    headers::strip_request(&mut with_keys);
    let stripped = reference::fields(&with_keys);
    assert_eq!((others(&stripped), protocols(&stripped)), (others(&after), protocols(&after)));
    let dropped = [&CREDENTIALS[..], &HOP_BY_HOP, &FRAMING, &["expect"]].concat();
    let misspelled = |name: &[u8]| {
        let name = String::from_utf8_lossy(name).replace('_', "-");
        dropped.contains(&name.as_str())
    };
    let mut kept = without(&before, &dropped);
    kept.retain(|(name, _)| !misspelled(name));
    assert_eq!(others(&after), others(&kept), "fields were lost, left over or changed");
    let (before, after) = (protocols(&kept), protocols(&after));
    let is_key = |protocol: &&Vec<u8>| protocol.to_ascii_lowercase().starts_with(b"openai-insecure-api-key.");
    assert!(!after.iter().any(|protocol| is_key(&protocol)), "a key is left: {after:?}");
    let expected: Vec<_> = before.iter().filter(|protocol| !is_key(protocol)).collect();
    assert_eq!(after.iter().collect::<Vec<_>>(), expected);
}

fn check_response(headers: fields::Fields) {
    let before = reference::fields(&headers);
    for (length, also) in [(false, &[][..]), (true, &["content-length"])] {
        let mut headers = headers.clone();
        headers::strip_response(&mut headers, length);
        let dropped = [&HOP_BY_HOP[..], &["transfer-encoding"], also].concat();
        assert_eq!(reference::fields(&headers), without(&before, &dropped));
    }
}

/// Without these, and without what `Connection` names.
fn without(fields: &Fields, dropped: &[&str]) -> Fields {
    let connection = fields.iter().filter(|(name, _)| name == b"connection");
    let options: Vec<Vec<u8>> = connection
        .flat_map(|(_, value)| split(value, b","))
        .map(|option| trim(option).to_ascii_lowercase())
        .filter(|option| !FRAMING.iter().any(|name| name.as_bytes() == option))
        .collect();
    let is_dropped =
        |name: &Vec<u8>| dropped.iter().any(|one| one.as_bytes() == name) || options.contains(name);
    fields.iter().filter(|(name, _)| !is_dropped(name)).cloned().collect()
}

fn others(fields: &Fields) -> Fields {
    fields.iter().filter(|(name, _)| name != PROTOCOLS).cloned().collect()
}

/// The WebSocket subprotocols offered, empty ones apart.
fn protocols(fields: &Fields) -> Vec<Vec<u8>> {
    let values = fields.iter().filter(|(name, _)| name == PROTOCOLS);
    let protocols = values.flat_map(|(_, value)| split(value, b",")).map(|protocol| trim(protocol).to_vec());
    protocols.filter(|protocol| !protocol.is_empty()).collect()
}

//! The request target for the upstream: the base path before it, credentials removed from the query, and no way to another
//! origin.

use std::borrow::Cow;

use http::Uri;
use http::uri::{Parts, PathAndQuery};
use percent_encoding::{percent_decode, percent_decode_str};

use crate::config::BaseUrl;
use crate::fields::Fields;
use crate::http1::path;

/// Query parameters that carry a credential: `access_token` (RFC 6750 section 2.3), `api-key` of realtime clients, APIM's
/// `subscription-key`.
pub const CREDENTIAL_PARAMETERS: [&str; 4] = ["access_token", "api-key", "authorization", "subscription-key"];

/// Bytes that no target may have: they would end it on the wire, or a reader would cut it off there.
const ILLEGAL_CHARACTERS: &str = "the request target has characters that no request target may have";

/// The target that the upstream gets for a request target in origin form: the base path first, then everything as it came
/// but credentials in the query. It cannot lead to another origin: it is never parsed with an authority before it.
///
/// # Errors
///
/// What is wrong with it.
pub fn forwarded(base_url: &BaseUrl, target: &str) -> Result<String, &'static str> {
    let base = &base_url.base_path;
    if target == "*" {
        // RFC 9112 section 3.2.4: it is about the server as a whole, of which a base path is a part.
        return if base.is_empty() {
            Ok("*".into())
        } else {
            Err("OPTIONS * concerns the whole server, but API_BASE_URL has a path")
        };
    }
    // A fragment is no part of a target; a reader might cut it off.
    if !target.starts_with('/') || target.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'#') {
        return Err(ILLEGAL_CHARACTERS);
    }
    let path = target.split('?').next().unwrap_or_default();
    if !base.is_empty() && leaves_base_path(path) {
        return Err("the request target leaves the path of API_BASE_URL through dot segments");
    }
    let mut forwarded = String::with_capacity(base.len() + target.len());
    forwarded.push_str(base);
    push_without_credentials(&mut forwarded, target);
    Ok(forwarded)
}

/// The URI of a target at the upstream: see [`forwarded`]. None when it is not a valid one.
pub fn join(base_url: &BaseUrl, target: &str) -> Option<Uri> {
    if !target.starts_with('/') {
        return None;
    }
    let mut parts = Parts::default();
    parts.scheme = Some(base_url.scheme.clone());
    parts.authority = Some(base_url.authority.clone());
    parts.path_and_query = Some(PathAndQuery::try_from(forwarded(base_url, target).ok()?).ok()?);
    Uri::from_parts(parts).ok()
}

/// Whether some reader of this path would end above where it begins. Servers differ in what they take for a separator (`/`,
/// `\`, and either escaped), whether they decode twice, merge slashes, or drop what follows a `;`: every reading counts.
fn leaves_base_path(path: &str) -> bool {
    let mut readings = vec![path.as_bytes().to_vec()];
    // Each pass undoes one layer of escapes.
    while readings.len() < 4
        && let Some(last) = readings.last().filter(|last| last.contains(&b'%'))
    {
        let decoded: Vec<u8> = percent_decode(last).collect();
        if decoded == *last {
            break;
        }
        readings.push(decoded);
    }
    readings.iter().any(|path| rises_above_root(path, b"/") || rises_above_root(path, b"/\\"))
}

/// Whether the dot segments of a path lead above its beginning. Empty segments count for nothing: they may be merged.
fn rises_above_root(path: &[u8], separators: &[u8]) -> bool {
    let mut depth = 0;
    for segment in path.split(|byte| separators.contains(byte)) {
        let dots: Cow<'_, [u8]> = percent_decode(segment).into();
        match dots.split(|byte| *byte == b';').next().unwrap_or_default() {
            b"" | b"." => {}
            b".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

/// The Realtime API.
const REALTIME: &str = "/openai/v1/realtime";

/// Whether a target, as it is sent, is of the Realtime API, however a server reads its path.
pub(super) fn is_realtime(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let is_below = |path: &String| {
        path.strip_prefix(REALTIME).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    path::readings(path).is_ok_and(|readings| readings.iter().all(is_below))
}

/// The values of credential parameters in a target's query, percent-decoded.
pub fn credentials(target: &str) -> impl Iterator<Item = Vec<u8>> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter(|p| is_credential(p)).map(|parameter| {
        let value = parameter.split_once('=').map_or("", |(_, value)| value);
        percent_decode_str(value).collect()
    })
}

/// The origin that the client used, from its `Host`.
pub fn public_origin(scheme: &str, headers: &Fields) -> Option<String> {
    let host = std::str::from_utf8(headers.get("host")?).ok().filter(|host| !host.is_empty())?;
    Some(format!("{scheme}://{host}"))
}

/// Rewrites `Location` and `Operation-Location` that point at the upstream's own origin and base path so that they lead
/// through the proxy; others stay as they are.
pub fn rewrite_locations(headers: &mut Fields, base_url: &BaseUrl, public_origin: Option<&str>) {
    // In the second Azure says where the state of a long-running operation can be polled.
    for name in ["location", "operation-location"] {
        let location = headers.get(name).and_then(|value| std::str::from_utf8(value).ok());
        if let Some(ours) = location.and_then(|location| rewrite(location, base_url, public_origin?)) {
            headers.set(name, ours.as_bytes());
        }
    }
}

fn rewrite(location: &str, base_url: &BaseUrl, public_origin: &str) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    // As the upstream writes its own origin, with its port or without; a parsed port would be none for `:x` and `:99999`.
    let with_port = format!("{}:{}", base_url.authority.host(), base_url.port());
    let authority = uri.authority()?.as_str();
    let same_origin = uri.scheme() == Some(&base_url.scheme)
        && [base_url.authority.as_str(), &with_port].iter().any(|ours| ours.eq_ignore_ascii_case(authority));
    let rest = uri.path_and_query()?.as_str().strip_prefix(&base_url.base_path)?;
    let below_base = rest.is_empty() || rest.starts_with(['/', '?']);
    // A fragment is not part of the parsed URI.
    let fragment = location.find('#').map_or("", |i| &location[i..]);
    (same_origin && below_base).then(|| format!("{public_origin}{rest}{fragment}"))
}

/// Everything but the credential parameters stays byte for byte.
fn push_without_credentials(out: &mut String, target: &str) {
    let Some((path, query)) = target.split_once('?') else {
        return out.push_str(target);
    };
    if !query.split('&').any(is_credential) {
        return out.push_str(target);
    }
    out.push_str(path);
    let mut separator = '?';
    for parameter in query.split('&').filter(|parameter| !is_credential(parameter)) {
        out.push(separator);
        out.push_str(parameter);
        separator = '&';
    }
}

/// Names are compared as a server would read them: percent-decoded, in any case.
fn is_credential(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default();
    let longest = CREDENTIAL_PARAMETERS.iter().map(|p| p.len()).max().unwrap_or_default();
    // Every byte may be written as three.
    if name.len() > longest * 3 {
        return false;
    }
    let is = |name: &[u8]| CREDENTIAL_PARAMETERS.iter().any(|c| name.eq_ignore_ascii_case(c.as_bytes()));
    is(&Cow::from(percent_decode_str(name)))
}

#[cfg(test)]
mod tests {
    use http::uri::{Authority, Scheme};

    use super::*;

    fn base_url(base_path: &str) -> BaseUrl {
        BaseUrl {
            scheme: Scheme::HTTPS,
            authority: Authority::from_static("name.openai.azure.com"),
            base_path: base_path.into(),
        }
    }

    #[test]
    fn the_base_path_comes_first() {
        for (base, target, expected) in [
            ("", "/", "/"),
            ("", "/openai/v1/models", "/openai/v1/models"),
            ("/openai", "/v1/models?x=1", "/openai/v1/models?x=1"),
            ("/openai", "/?x", "/openai/?x"),
            ("", "/a//b/../c/%2F%zz?q=a%20b&&=&x", "/a//b/../c/%2F%zz?q=a%20b&&=&x"),
            ("", "/caf\u{e9}?\u{e9}", "/caf\u{e9}?\u{e9}"),
        ] {
            let uri = join(&base_url(base), target).unwrap();
            assert_eq!(uri.path_and_query().unwrap().as_str(), expected);
            assert_eq!(uri.authority().unwrap(), "name.openai.azure.com");
        }
    }

    #[test]
    fn no_target_leaves_the_origin() {
        for target in
            ["//evil.test/x", "/@evil.test/x", "/:81/x", "/.evil", "/\\evil.test", "/http://evil.test/"]
        {
            let uri = join(&base_url(""), target).unwrap();
            assert_eq!(uri.authority().unwrap(), "name.openai.azure.com", "{target}");
            assert_eq!(uri.path_and_query().unwrap().as_str(), target);
        }
        for target in ["@evil.test/x", ".evil", ":81", "*", "", "http://evil.test/", "/a#b", "/a b", "?x"] {
            assert_eq!(join(&base_url(""), target), None, "{target}");
        }
    }

    #[test]
    fn what_is_visible_passes_and_what_ends_a_target_does_not() {
        for target in ["/<a>?\"b\"", "/\\|^`{}[]", "/caf\u{e9}?\u{20ac}", "/%zz%"] {
            assert_eq!(forwarded(&base_url(""), target).as_deref(), Ok(target));
        }
        for target in ["/a b", "/a\tb", "/a\r\nb", "/a\u{7f}", "/a\0", "/a#b", "", "a", "?a"] {
            assert!(forwarded(&base_url(""), target).is_err(), "{target:?}");
        }
        assert_eq!(forwarded(&base_url(""), "*").as_deref(), Ok("*"));
        assert!(forwarded(&base_url("/openai"), "*").is_err());
    }

    #[test]
    fn a_base_path_is_a_boundary_however_dot_segments_are_written() {
        for target in [
            "/../v1/x",
            "/..",
            "/a/../../x",
            "/a/..//../x",
            "/%2e%2e/x",
            "/.%2E/x",
            "/..%2fx",
            "/..%2Fx",
            "/..%5cx",
            "/..\\x",
            "/a\\..\\..\\x",
            "/%252e%252e/x",
            "/..%252fx",
            "/a%2fb/../../..",
            "/a%2fb/../..",
            "/..;a=b/x",
            "/./../x",
        ] {
            assert_eq!(forwarded(&base_url(""), target).as_deref(), Ok(target), "without one it passes");
            assert!(forwarded(&base_url("/openai"), target).is_err(), "{target}");
        }
        for target in
            ["/a/../b", "/a/./b", "/a..b/..c", "/...", "/a?/../..", "/a/b/../../c", "//a//", "/a/%2e%2e/b"]
        {
            let expected = format!("/openai{target}");
            assert_eq!(forwarded(&base_url("/openai"), target).as_deref(), Ok(expected.as_str()));
        }
    }

    #[test]
    fn the_realtime_api_is_where_every_server_finds_it() {
        for target in [
            "/openai/v1/realtime",
            "/openai/v1/realtime?model=m",
            "/openai/v1/realtime/",
            "/openai/v1/realtime/calls",
            "/openai/v1/realtime/calls/rtc_1/hangup",
            "/openai/v1/%72ealtime/%63alls",
            "/openai/v1/x/../realtime",
            "/openai/v1/realtime/calls;x",
        ] {
            assert!(is_realtime(target), "{target}");
        }
        for target in [
            "*",
            "/openai/realtime",
            "/openai/v1/realtimes",
            "/openai/v1/Realtime",
            "/openai/v1/models?/openai/v1/realtime",
            "/x/openai/v1/realtime",
            "/openai/v1/realtime/../models",
            "/openai/v1/realtime/%2e%2e/models",
            "/openai/v1/realtime/..%2fmodels",
            "/openai/v1/realtime/..;/models",
            "/openai/v1//realtime",
            "/openai/v1;/realtime",
            "/openai/v1/realtime%2fcalls",
            "/openai/v1/%2572ealtime",
        ] {
            assert!(!is_realtime(target), "{target}");
        }
    }

    #[test]
    fn locations_at_the_upstream_become_ours() {
        for (location, expected) in [
            ("https://name.openai.azure.com/openai/x?y#z", "http://me:1/x?y#z"),
            ("https://NAME.openai.azure.com:443/openai/x", "http://me:1/x"),
            ("https://name.openai.azure.com/openai", "http://me:1"),
            ("https://name.openai.azure.com/openaix", "https://name.openai.azure.com/openaix"),
            ("https://name.openai.azure.com/other", "https://name.openai.azure.com/other"),
            ("http://name.openai.azure.com/openai/x", "http://name.openai.azure.com/openai/x"),
            ("https://evil.test/openai/x", "https://evil.test/openai/x"),
            ("https://name.openai.azure.com:x/openai/x", "https://name.openai.azure.com:x/openai/x"),
            ("https://name.openai.azure.com:99999/openai/x", "https://name.openai.azure.com:99999/openai/x"),
            ("/openai/x", "/openai/x"),
        ] {
            let mut headers = Fields::from([("Operation-Location", location)]);
            rewrite_locations(&mut headers, &base_url("/openai"), Some("http://me:1"));
            assert_eq!(headers.get("operation-location"), Some(expected.as_bytes()), "{location}");
        }
    }

    #[test]
    fn credentials_leave_the_query_and_the_rest_stays() {
        for (target, expected) in [
            ("/r?api-key=K", "/r"),
            ("/r?api-key=K&model=m", "/r?model=m"),
            ("/r?a=%41&API-KEY=K&b=&&c", "/r?a=%41&b=&&c"),
            ("/r?%61pi%2Dkey=K&x=1", "/r?x=1"),
            ("/r?Authorization=Bearer%20K", "/r"),
            ("/r?subscription-key=K&api-key", "/r"),
            ("/r?access_token=K&x=1", "/r?x=1"),
            ("/r?x-api-key=1&api-key2=2", "/r?x-api-key=1&api-key2=2"),
        ] {
            let uri = join(&base_url(""), target).unwrap();
            assert_eq!(uri.path_and_query().unwrap().as_str(), expected, "{target}");
        }
        assert_eq!(credentials("/r?a=1&api-key=%4B%").collect::<Vec<_>>(), [b"K%".to_vec()]);
    }
}

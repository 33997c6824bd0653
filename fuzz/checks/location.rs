//! `Location` rewritten: only one at the upstream's origin and base path, and nothing of it but the origin and
//! the base path.

use auth_proxy::testing::{BaseUrl, Fields, target};
use http::HeaderValue;

use super::filter::base_urls;
use super::reference::split;

/// `data` is a location, then the `Host` of the caller on the next line.
pub fn check(data: &[u8]) {
    let lines = split(data, b"\n");
    let value = |i: usize| lines.get(i).and_then(|line| HeaderValue::from_bytes(line).ok());
    let Some(location) = value(0) else { return };
    let mut headers = Fields::default();
    if let Some(host) = value(1) {
        headers.push("host", host.as_bytes());
    }
    let public_origin = target::public_origin("http", &headers);
    for base_url in base_urls() {
        let mut headers = Fields::default();
        headers.push("location", location.as_bytes());
        target::rewrite_locations(&mut headers, &base_url, public_origin.as_deref());
        let (before, after) = (location.as_bytes(), headers.get("location").expect("it is still there"));
        let plain = public_origin.is_some() && is_plain(before, &base_url);
        assert!(!plain || after != before, "not rewritten: {location:?}");
        if after != before {
            let public_origin = public_origin.as_ref().expect("there is nothing to rewrite it to");
            let tail = after.strip_prefix(public_origin.as_bytes()).expect("rewritten to somewhere else");
            check_rewritten(before, tail, &base_url);
        }
    }
}

fn check_rewritten(before: &[u8], tail: &[u8], base_url: &BaseUrl) {
    let start = before.strip_suffix(tail).or_else(|| {
        // An empty path is written as a slash.
        before.strip_suffix(tail.strip_prefix(b"/")?)
    });
    let start = std::str::from_utf8(start.expect("the rest was changed")).expect("it is ASCII");
    assert!(tail.is_empty() || b"/?#".contains(&tail[0]), "the path was cut: {start} | {tail:?}");
    let origin = start.strip_suffix(&base_url.base_path).expect("not below the base path");
    let (scheme, authority) = origin.split_once("://").expect("not an absolute URI");
    assert!(scheme.eq_ignore_ascii_case(base_url.scheme.as_str()), "another scheme");
    let with_port = format!("{}:{}", base_url.authority.host(), base_url.port());
    let ours = [base_url.authority.as_str(), &with_port];
    assert!(ours.iter().any(|ours| authority.eq_ignore_ascii_case(ours)), "another authority: {authority}");
}

/// As the upstream itself writes it.
fn is_plain(location: &[u8], base_url: &BaseUrl) -> bool {
    let start = format!("{}{}/", base_url.origin(), base_url.base_path);
    let rest = location.strip_prefix(start.as_bytes());
    rest.is_some_and(|rest| rest.iter().all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(b)))
}

//! `ALLOWED_ORIGINS` and `ALLOWED_HOSTS`.

use super::{bad, good, refused};

const KEY: (&str, &str) = ("PROXY_API_KEY", "0123456789abcdef");

#[test]
fn an_origin_is_compared_as_browsers_send_it() {
    for (value, origin, allowed) in [
        ("http://localhost:3000", "http://localhost:3000", true),
        ("HTTP://LocalHost:3000", "http://localhost:3000", true),
        ("http://localhost:3000", "http://localhost", false),
        ("http://localhost:3000", "http://localhost:30000", false),
        ("http://localhost:3000", "https://localhost:3000", false),
        ("http://localhost:3000", "http://localhost:3000/", false),
        ("http://app.example:80", "http://app.example", true),
        ("https://app.example:443", "https://app.example", true),
        ("https://app.example:80", "https://app.example:80", true),
        ("https://app.example", "https://sub.app.example", false),
        ("https://app.example", "https://app.example.evil.test", false),
        ("https://app.example", "null", false),
        ("https://app.example", "", false),
        (" https://a.example ,https://b.example, ", "https://a.example", true),
        ("https://a.example,https://b.example", "https://b.example", true),
        ("https://a.example,https://b.example", "https://a.example,https://b.example", false),
        ("http://[0:0::1]:3000", "http://[::1]:3000", true),
        (
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            true,
        ),
        ("tauri://localhost", "tauri://localhost", true),
    ] {
        let config = good(&[("ALLOWED_ORIGINS", value)]);
        assert_eq!(config.allowed_origins.allow(origin.as_bytes()), allowed, "{value} {origin}");
    }
    assert!(good(&[]).allowed_origins.is_empty());
    assert!(!good(&[]).allowed_origins.allow(b""));
}

#[test]
fn every_origin_may_be_allowed_where_a_key_is_required() {
    for value in ["*", "https://app.example, *"] {
        let config = good(&[("ALLOWED_ORIGINS", value), KEY]);
        assert!(config.allowed_origins.allow(b"https://evil.test") && config.allowed_origins.allow(b"null"));
        let printed = bad(&[("ALLOWED_ORIGINS", value)]);
        assert!(printed.starts_with("ALLOWED_ORIGINS is `*` without PROXY_API_KEY: "), "{printed}");
        assert!(printed.contains("hint: list the origins"), "{printed}");
    }
}

#[test]
fn what_is_no_origin() {
    let rows = [
        ("null", "null", "`null` is the origin of every sandboxed page"),
        ("a host alone", "app.example", "`app.example` has no scheme"),
        ("a host and a port", "localhost:3000", "`localhost:3000` has no scheme"),
        ("a path", "https://app.example/app", "`https://app.example/app` has more than a scheme"),
        ("a slash", "https://app.example/", "no path, not even a slash"),
        ("a query", "https://app.example?hunter2", "has more than a scheme"),
        ("a fragment", "https://app.example#hunter2", "has more than a scheme"),
        ("a password", "https://user:hunter2@app.example", "has user information"),
        ("no host", "https://", "has no host"),
        ("no host of an extension", "chrome-extension://", "has a host with characters other than"),
        ("a file", "file:///x", "has more than a scheme"),
        ("a wildcard within", "https://*.app.example", "has a host name with characters other than"),
        ("a port that is none", "https://app.example:x", "has a port that is not a number"),
        ("spaces in place of commas", "https://a.example https://b.example", "has more than a scheme"),
        ("one bad among good ones", "https://a.example,b.example", "`b.example` has no scheme"),
        ("no element", ",", "it has no element"),
        ("a key", "3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f", "what looks like an API key"),
    ];
    refused("ALLOWED_ORIGINS", &rows);
}

#[test]
fn a_host_is_a_name_an_address_or_every_name_below_one() {
    for (value, host, allowed) in [
        ("proxy.example", "proxy.example", true),
        ("Proxy.Example.", "proxy.example", true),
        ("proxy.example", "a.proxy.example", false),
        ("proxy.example", "aproxy.example", false),
        ("*.proxy.example", "a.proxy.example", true),
        (".proxy.example", "a.b.proxy.example", true),
        ("*.proxy.example", "proxy.example", false),
        ("*.proxy.example", "aproxy.example", false),
        ("llm", "llm", true),
        ("a, b", "b", true),
        ("192.0.2.1", "192.0.2.1", true),
        ("[2001:db8:0::1]", "2001:db8::1", true),
        ("2001:db8::1", "2001:db8::1", true),
    ] {
        let config = good(&[("ALLOWED_HOSTS", value)]);
        assert_eq!(config.allowed_hosts.allow(host), allowed, "{value} {host}");
    }
    assert!(good(&[]).allowed_hosts.is_empty());
}

#[test]
fn what_is_no_host() {
    let rows = [
        ("everything", "*", "by DNS rebinding"),
        ("a scheme", "http://proxy.example", "`http://proxy.example` has a scheme"),
        ("a port", "proxy.example:8080", "`proxy.example:8080` has a port"),
        ("a path", "proxy.example/x", "has a path"),
        ("a password", "user:hunter2@proxy.example", "has a port"),
        ("a dot alone", ".", "has no host"),
        ("no name below", "*.", "has no host"),
        ("a wildcard within", "a.*.example", "has a host name with characters other than"),
        ("no element", " , ", "it has no element"),
        ("spaces in place of commas", "a b", "has a host name with characters other than"),
        ("beyond ASCII", "\u{e9}.example", "write its xn-- form"),
    ];
    refused("ALLOWED_HOSTS", &rows);
}

//! Who may call:
//!
//! - a request without a key, with a wrong one or with a revoked one gets 401 and nothing is forwarded, not even its body is
//!   waited for, whatever its method, path and place of the key ([`matrix`]);
//! - the key is accepted in every usual header field and query parameter, and is not forwarded or logged;
//! - the file of keys is read again when it changes, a bad one changes nothing, and keys rotate without a failure ([`file`]);
//! - the log and the metrics say who called ([`audit`]); `hash-key` makes the file's lines ([`hash_key`]).

mod audit;
mod file;
mod hash_key;
mod matrix;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ring::digest;

use crate::sim::{Options, Sim, latin1};
use crate::support::client::Response;
use crate::support::program::Proxy;

use crate::support::api::{CHAT, MODELS};

/// A file of keys.
struct Keys(PathBuf);

impl Keys {
    fn new(sim: &Sim, text: &str) -> Self {
        let keys = Self(sim.dir.join("keys"));
        keys.replace(text);
        keys
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// As it should be done: written beside, then moved over the old one in one step.
    fn replace(&self, text: &str) {
        let beside = self.0.with_extension("new");
        put(&beside, text.as_bytes(), 0o640);
        fs::rename(beside, &self.0).unwrap();
    }
}

fn put(path: &Path, content: &[u8], mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The line of a key.
fn line(name: &str, key: &str) -> String {
    let sum = digest::digest(&digest::SHA256, key.as_bytes());
    let hex: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {hex}\n")
}

/// The status of a request with this key.
fn status(proxy: &Proxy, key: &str) -> u16 {
    proxy.client().request("GET", MODELS, &[("api-key", key)], b"").status
}

const KEY: &str = "0123456789abcdef+/0123456789abcdef";

fn started(sim: &Sim) -> Proxy {
    Proxy::start_with(sim, &[("PROXY_API_KEY", KEY)])
}

#[track_caller]
fn refused(response: &Response) {
    let body = response.json();
    assert_eq!(
        (response.status, response.header("x-should-retry").as_deref()),
        (401, Some("false")),
        "{body}"
    );
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(
        (&body["error"]["type"], &body["error"]["code"]),
        (&"invalid_request_error".into(), &"invalid_api_key".into())
    );
    assert!(!response.text().contains(KEY));
}

#[test]
fn without_the_key_nothing_is_forwarded() {
    let sim = Sim::start(Options::default());
    let proxy = started(&sim);
    let bearer = format!("Bearer {KEY}x");
    let shorter = &KEY[..KEY.len() - 1];
    let rows: [&[(&str, &str)]; 7] = [
        &[],
        &[("api-key", "wrong")],
        &[("api-key", "")],
        &[("api-key", shorter)],
        &[("Authorization", &bearer)],
        &[("x-key", KEY)],
        &[("Cookie", KEY)],
    ];
    for headers in rows {
        refused(&proxy.client().request("GET", MODELS, headers, b""));
        refused(&proxy.client().request("POST", CHAT, headers, b"{}"));
    }
    assert!(sim.azure.requests().is_empty());
    assert_eq!(proxy.health().status, 200, "/health needs no key");
}

/// tiny_http reads a body before it responds.
#[test]
fn a_401_does_not_wait_for_the_body() {
    let sim = Sim::start(Options::default());
    let proxy = started(&sim);
    let mut client = proxy.client();
    client
        .raw
        .send(format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"))
        .unwrap();
    refused(&client.response("POST").unwrap());
    assert!(sim.azure.requests().is_empty());
}

#[test]
fn the_key_is_accepted_in_every_usual_place_and_not_forwarded() {
    let sim = Sim::start(Options::default());
    let proxy = started(&sim);
    let encoded = KEY.replace('+', "%2B").replace('/', "%2F");
    let bearer = format!("Bearer {KEY}");
    let rows: [(&str, &[(&str, &str)]); 9] = [
        ("", &[("api-key", KEY)]),
        ("", &[("Authorization", &bearer)]),
        ("", &[("authorization", &bearer), ("API-Key", "a dummy")]),
        ("", &[("x-api-key", KEY)]),
        ("", &[("Ocp-Apim-Subscription-Key", KEY)]),
        (&format!("?api-key={encoded}"), &[]),
        (&format!("?x=1&subscription-key={encoded}"), &[]),
        (&format!("?Authorization=Bearer%20{encoded}"), &[]),
        (&format!("?Authorization=Bearer+{encoded}&y=2"), &[]),
    ];
    for (query, headers) in rows {
        let response = proxy.client().request("GET", &format!("{MODELS}{query}"), headers, b"");
        assert_eq!(response.status, 200, "{query} {headers:?}");
    }
    let requests = sim.azure.requests();
    assert_eq!(requests.len(), rows.len());
    for request in requests {
        let head = latin1(&request.raw_head);
        assert!(!head.contains(KEY) && !head.contains(&encoded), "{head}");
        assert_eq!(head.to_lowercase().matches("authorization").count(), 1, "{head}");
    }
    let log = proxy.log().join("\n");
    assert!(!log.contains(KEY) && !log.contains(&encoded), "{log}");
}

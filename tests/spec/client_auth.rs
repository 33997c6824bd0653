//! `PROXY_API_KEY`:
//!
//! - a request without the key, or with another one, gets 401 and nothing is forwarded, not even its body is waited for;
//! - the key is accepted in every usual header field and query parameter, and is not forwarded or logged.

use crate::sim::{Options, Sim, latin1};
use crate::support::client::Response;
use crate::support::program::Proxy;

use crate::support::api::{CHAT, MODELS};

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

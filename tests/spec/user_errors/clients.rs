//! Mistakes in how an application calls the proxy. Its user sees the response's message, or the log.

use super::{Diagnosis, diagnosis};
use crate::sim::{Options, Sim, latin1, timeout, wait_for};
use crate::support::client::Raw;
use crate::support::program::Proxy;

/// A name for the mistake, the bytes that the client sends, and the diagnosis.
const MISTAKES: &[(&str, &str, Diagnosis)] = &[
    (
        "no key where PROXY_API_KEY is set",
        "GET /openai/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
        diagnosis(
            "auth-proxy requires an API key (PROXY_API_KEY)",
            "send it as api-key or as a bearer token",
        ),
    ),
    (
        "another key than that",
        "GET /openai/v1/models HTTP/1.1\r\nHost: localhost\r\napi-key: dummy\r\n\r\n",
        diagnosis("the API key sent to auth-proxy does not match", "PROXY_API_KEY"),
    ),
    (
        "https:// in the client's base URL",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        diagnosis("the client speaks TLS to a port of plain HTTP", "its base URL must begin with http://"),
    ),
    (
        "the proxy's address in HTTPS_PROXY",
        "CONNECT name.openai.azure.com:443 HTTP/1.1\r\nHost: name.openai.azure.com:443\r\n\r\n",
        diagnosis(
            "CONNECT is not supported",
            "auth-proxy is a base URL for API clients, not their HTTPS_PROXY",
        ),
    ),
    (
        "HTTP/2 without a negotiation",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        diagnosis("only HTTP/1.1 and HTTP/1.0 are supported", "let the client speak HTTP/1.1"),
    ),
];

#[test]
fn mistakes_of_applications() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start_with(&sim, &[("PROXY_API_KEY", "a-key-of-16-characters")]);
    for (mistake, bytes, expected) in MISTAKES {
        let mut client = Raw::connect(proxy.address());
        // Every character is one byte.
        client.send(bytes.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<_>>()).unwrap();
        let response = latin1(&client.read_some(timeout()).unwrap());
        expected.assert_in(&response, mistake);
        expected.assert_in(&proxy.wait_log(expected.cause), mistake);
    }
    assert!(sim.azure.requests().is_empty());
}

#[test]
fn more_connections_than_allowed() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start_with(&sim, &[("MAX_CONNECTIONS", "1")]);
    // The connection that asked for its health may not have ended yet.
    let mut busy = proxy.client();
    wait_for("a connection that is served", || {
        busy = proxy.client();
        busy.send("GET", "/sim/sse?events=1000&pause_ms=20", &[], b"").unwrap();
        busy.raw.read_some(timeout()).unwrap().starts_with(b"HTTP/1.1 200 ")
    });
    let response = proxy.client().get("/openai/v1/models");
    assert_eq!((response.status, response.header("retry-after").as_deref()), (503, Some("1")));
    diagnosis("too many connections", "raise MAX_CONNECTIONS")
        .assert_in(&response.text(), "too many connections");
}

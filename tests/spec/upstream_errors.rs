//! What the client and the log get when the upstream takes too long, or breaks the rules in the middle of a response.
//!
//! Other failures are in the tables where their cause is: `user_errors::upstream` (names, ports, egress proxies),
//! `network_faults` (resets, silence, certificates), `responses` (malformed, truncated), `retry` (closed connections).

use crate::sim::{Options, ScriptedResponse, Sim, Step};
use crate::support::client::Response;
use crate::support::faults::BlackHole;
use crate::support::fixture::error_code;
use crate::support::program::Proxy;

/// A simulator whose Entra ID speaks plain HTTP, so that TLS settings concern the upstream alone.
fn sim(azure_tls: bool) -> Sim {
    Sim::start(Options { entra_tls: false, azure_tls, ..Options::default() })
}

/// Checks an error of ours: status and code, whether SDKs shall try again, and what the log says.
#[track_caller]
fn check(proxy: &Proxy, status: u16, code: &str, retry: Option<&str>, log: &[&str]) -> Response {
    let response = proxy
        .client()
        .post_json("/openai/v1/chat/completions?key=SECRET-1", &serde_json::json!({"a": "SECRET-2"}));
    assert_eq!((response.status, error_code(&response).as_str()), (status, code));
    assert_eq!(response.header("x-should-retry").as_deref(), retry);
    let line = proxy.wait_log("request failed");
    for text in log {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    assert!(!proxy.log().join("\n").contains("SECRET"));
    assert_eq!(proxy.health().status, 200, "an upstream that fails is no reason to be unhealthy");
    response
}

#[test]
fn an_upstream_that_cannot_be_connected_in_time_is_a_504() {
    let sim = sim(true);
    let hole = BlackHole::new();
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &hole.url()), ("CONNECT_TIMEOUT", "300ms")]);
    let host = hole.url().replace("http://", "");
    check(&proxy, 504, "upstream_connect_timeout", None, &[&host, "300 ms"]);
}

#[test]
fn a_response_that_does_not_come_in_time_is_a_504() {
    for tls in [false, true] {
        let sim = sim(tls);
        let proxy = Proxy::start_with(&sim, &[("READ_IDLE_TIMEOUT", "300ms")]);
        sim.azure.script([ScriptedResponse::silence()]);
        check(&proxy, 504, "upstream_timeout", None, &["localhost:", "kind=timeout"]);
    }
}

#[test]
fn a_response_that_pauses_for_too_long_is_aborted() {
    for tls in [false, true] {
        let sim = sim(tls);
        let proxy = Proxy::start_with(&sim, &[("READ_IDLE_TIMEOUT", "300ms")]);
        let begin = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec();
        sim.azure.script([ScriptedResponse::steps([Step::Write(begin), Step::WaitForPeerClose])]);
        let response = proxy.client().get("/openai/v1/x");
        assert_eq!((response.status, response.body.as_slice()), (200, &b"hello"[..]));
        assert!(response.fault.is_some(), "it ends as an aborted transfer");
        let line = proxy.wait_log("aborted_by=");
        assert!(line.contains("aborted_by=upstream cause=\"no data within READ_IDLE_TIMEOUT\""), "{line}");
    }
}

/// What ended the body is named, not that the connection cannot be used any more.
#[test]
fn the_log_names_what_is_wrong_after_much_data() {
    let sim = sim(false);
    for size in [10, 15_000, 100_000, 1_000_000] {
        let mut begin =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n").into_bytes();
        begin.resize(begin.len() + size, b'x');
        begin.extend_from_slice(b"XX");
        let proxy = Proxy::start(&sim);
        sim.azure.script([ScriptedResponse::steps([Step::Write(begin), Step::WaitForPeerClose])]);
        let response = proxy.client().get("/openai/v1/x");
        assert!(response.fault.is_some(), "{size}");
        let line = proxy.wait_log("aborted_by=");
        assert!(line.contains("a chunk is longer than its size"), "{size}: {line}");
    }
}

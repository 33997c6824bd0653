//! `/metrics` counts what happened, in a form that a scraper reads.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::exposition::Page;
use crate::sim::{Options, ScriptedResponse, Sim, timeout, wait_for};
use crate::support::client::{Client, Raw};
use crate::support::program::Proxy;

fn plain() -> Sim {
    Sim::start(Options { azure_tls: false, ..Options::default() })
}

fn start(sim: &Sim) -> Proxy {
    Proxy::start_with(sim, &[("ADMIN_PORT", "0")])
}

fn scrape(proxy: &Proxy) -> Page {
    let response = proxy.admin("/metrics");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type").unwrap(), "text/plain; version=0.0.4; charset=utf-8");
    Page::parse(&response.text())
}

/// Waits for a value: a response is there before it is counted.
#[track_caller]
fn counts(proxy: &Proxy, key: &str, expected: f64) {
    wait_for(&format!("{key} to be {expected}"), || (scrape(proxy).value(key) - expected).abs() < 1e-9);
}

#[test]
fn requests_are_counted_by_method_status_time_and_bytes() {
    let sim = plain();
    let proxy = start(&sim);
    let mut client = proxy.client();
    assert_eq!(client.request("POST", "/sim/echo", &[], &[b'x'; 5000]).status, 200);
    let down = client.get("/sim/slow?ms=300").body.len();
    assert!(client.get("/sim/sse?events=3").fault.is_none());
    sim.azure.script([
        ScriptedResponse::status(429),
        ScriptedResponse::status(503),
        ScriptedResponse::status(403),
    ]);
    for status in [429, 503, 403] {
        assert_eq!(client.request("DELETE", "/openai/files/x", &[], b"").status, status);
    }
    assert_eq!(client.request("PROPFIND", "/sim/echo", &[], b"").status, 200);
    assert_eq!(client.get("/health").status, 200);

    let requests = |method: &str, status: &str| {
        format!("auth_proxy_requests_total{{method=\"{method}\",status=\"{status}\"}}")
    };
    counts(&proxy, &requests("other", "2xx"), 1.0);
    let page = scrape(&proxy);
    assert_eq!(page.value(&requests("POST", "2xx")), 1.0);
    assert_eq!(page.value(&requests("GET", "2xx")), 2.0, "health is none of them");
    assert_eq!(page.value(&requests("DELETE", "4xx")), 2.0);
    assert_eq!(page.value(&requests("DELETE", "5xx")), 1.0);
    assert_eq!(page.sum("auth_proxy_requests_total"), 7.0);
    assert_eq!(page.value("auth_proxy_upstream_denials_total{status=\"429\"}"), 1.0);
    assert_eq!(page.value("auth_proxy_upstream_denials_total{status=\"403\"}"), 1.0);
    assert_eq!(page.sum("auth_proxy_upstream_denials_total"), 2.0);
    let responses =
        |status: u16| page.value(&format!("auth_proxy_upstream_responses_total{{status=\"{status}\"}}"));
    assert_eq!([200, 403, 429, 503].map(responses), [4.0, 1.0, 1.0, 1.0]);
    assert_eq!(page.family("auth_proxy_upstream_responses_total"), 4, "only those that came");
    assert_eq!(page.value("auth_proxy_transferred_bytes_total{direction=\"up\"}"), 5000.0);
    assert!(page.value("auth_proxy_transferred_bytes_total{direction=\"down\"}") > down as f64);

    for family in ["auth_proxy_time_to_first_byte_seconds", "auth_proxy_request_duration_seconds"] {
        assert_eq!(page.value(&format!("{family}_count")), 7.0);
        let sum = page.value(&format!("{family}_sum"));
        assert!((0.3..timeout().as_secs_f64()).contains(&sum), "{sum}");
        assert!(page.value(&format!("{family}_bucket{{le=\"0.25\"}}")) <= 6.0, "one took longer");
    }
    assert_eq!(page.sum("auth_proxy_refusals_total") + page.sum("auth_proxy_upstream_errors_total"), 0.0);
    assert_eq!(page.value("auth_proxy_requests_in_flight"), 0.0);
    assert_eq!(page.value("auth_proxy_panics_total"), 0.0);
}

#[test]
fn open_requests_streams_and_websockets_are_shown_while_they_are_open() {
    let sim = plain();
    let proxy = start(&sim);
    let mut stream = Raw::connect(proxy.address());
    stream.send("GET /sim/sse?events=1000&pause_ms=20 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut socket = Raw::connect(proxy.address());
    socket
        .send(
            "GET /openai/v1/realtime?model=x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    assert!(socket.read_some(timeout()).unwrap().starts_with(b"HTTP/1.1 101"));
    counts(&proxy, "auth_proxy_streams_open", 1.0);
    counts(&proxy, "auth_proxy_websockets_open", 1.0);
    counts(&proxy, "auth_proxy_requests_in_flight", 2.0);
    counts(&proxy, "auth_proxy_connections", 2.0);
    assert_eq!(scrape(&proxy).value("auth_proxy_connections_limit"), 1024.0);
    drop((stream, socket));
    counts(&proxy, "auth_proxy_requests_in_flight", 0.0);
    counts(&proxy, "auth_proxy_connections", 0.0);
    let page = scrape(&proxy);
    assert_eq!(page.value("auth_proxy_streams_open") + page.value("auth_proxy_websockets_open"), 0.0);
    assert_eq!(page.value("auth_proxy_requests_total{method=\"GET\",status=\"1xx\"}"), 1.0);
    assert_eq!(page.value("auth_proxy_request_duration_seconds_count"), 1.0, "WebSockets apart");
    assert_eq!(page.value("auth_proxy_client_disconnects_total"), 1.0, "leaving is how a WebSocket ends");
}

#[test]
fn failures_are_counted_by_kind_and_labels_stay_few() {
    let sim = plain();
    let key = "a-key-of-16-characters";
    let variables = [("ADMIN_PORT", "0"), ("PROXY_API_KEY", key), ("CONNECT_TIMEOUT", "2s")];
    let proxy = Proxy::start_with(&sim, &variables);
    // Those of the upstream's statuses apart: there are as many as statuses that came, 500 at most.
    let samples = || {
        let page = scrape(&proxy);
        page.samples() - page.family("auth_proxy_upstream_responses_total")
    };
    let authorized = [("api-key", key)];
    let mut client = proxy.client();
    // Of each caller there are samples from its first request on.
    assert_eq!(client.request("GET", "/openai/v1/models", &authorized, b"").status, 200);
    counts(&proxy, "auth_proxy_caller_requests_total{caller=\"default\",status=\"2xx\"}", 1.0);
    let samples_at_start = samples();
    assert_eq!(client.get("/openai/v1/models").status, 401);
    let mut raw = Raw::connect(proxy.address());
    raw.send("GET / HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n").unwrap();
    assert!(raw.read_some(timeout()).unwrap().starts_with(b"HTTP/1.1 400"));

    sim.azure.script([
        ScriptedResponse::steps([]),
        ScriptedResponse::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
    ]);
    assert_eq!(client.request("POST", "/x", &authorized, b"").status, 502);
    assert!(client.request("POST", "/x", &authorized, b"").fault.is_some());
    sim.azure.stop();
    let status = Client::connect(proxy.address()).request("GET", "/x", &authorized, b"").status;
    assert_eq!(status, 502);

    counts(&proxy, "auth_proxy_upstream_errors_total{kind=\"connect\"}", 1.0);
    counts(&proxy, "auth_proxy_refusals_total{kind=\"invalid_api_key\"}", 1.0);
    counts(&proxy, "auth_proxy_refusals_total{kind=\"bad_request\"}", 1.0);
    let page = scrape(&proxy);
    assert_eq!(page.sum("auth_proxy_refusals_total"), 2.0);
    assert_eq!(page.sum("auth_proxy_upstream_responses_total"), 2.0, "our own are none of the upstream's");
    assert_eq!(page.sum("auth_proxy_upstream_errors_total"), 2.0, "connect, and one of closed or truncated");
    assert_eq!(page.value("auth_proxy_upstream_responses_aborted_total"), 1.0);
    for method in ["A", "LONGER-METHOD", "get"] {
        Client::connect(proxy.address()).request(method, "/many/paths", &authorized, b"");
    }
    assert_eq!(samples(), samples_at_start, "no request makes a new time series");
}

#[test]
fn token_certificate_build_and_process_have_metrics() {
    let sim = plain();
    sim.entra.script([ScriptedResponse::aadsts(90_033)]);
    let proxy = start(&sim);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let page = scrape(&proxy);
    assert_eq!(page.value("auth_proxy_ready"), 1.0);
    assert_eq!(page.value("auth_proxy_token_refreshes_total{result=\"success\"}"), 1.0);
    assert_eq!(page.value("auth_proxy_token_refreshes_total{result=\"failure\"}"), 1.0);
    assert_eq!(page.value("auth_proxy_token_refresh_failing"), 0.0);
    let expiry = page.value("auth_proxy_token_expiry_timestamp_seconds") - now;
    assert!((3500.0..=3601.0).contains(&expiry), "{expiry}");
    assert!(page.value("auth_proxy_token_age_seconds") < timeout().as_secs_f64());
    let days = (page.value("auth_proxy_certificate_expiry_timestamp_seconds") - now) / 86_400.0;
    assert!(days > 1.0, "{days}");
    assert_eq!(page.sum("auth_proxy_build_info"), 1.0);
    assert!((now - page.value("process_start_time_seconds")).abs() < timeout().as_secs_f64());
    assert!(page.value("process_resident_memory_bytes") > 1e6);
    assert!(page.value("process_open_fds") < page.value("process_max_fds"));
    assert!(page.value("process_cpu_seconds_total") > 0.0);
}

#[test]
fn before_the_first_token_there_is_no_expiry() {
    let sim = plain();
    sim.entra.stop();
    let proxy = Proxy::start_listening(&sim, &[("ADMIN_PORT", "0")]);
    proxy.wait_log("token refresh failed");
    let page = scrape(&proxy);
    assert_eq!((page.value("auth_proxy_ready"), page.value("auth_proxy_token_refresh_failing")), (0.0, 1.0));
    assert!(!page.has("auth_proxy_token_expiry_timestamp_seconds"));
    assert!(!page.has("auth_proxy_token_age_seconds"));
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(proxy.client().get("/x").status, 503);
    counts(&proxy, "auth_proxy_refusals_total{kind=\"token_unavailable\"}", 1.0);
}

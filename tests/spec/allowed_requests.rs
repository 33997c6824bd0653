//! `ALLOWED_REQUESTS`:
//!
//! - what is not allowed gets 403 before a connection is made, and before a token or the body is waited for;
//! - a path counts as it is sent, after the path of `API_BASE_URL`, and is forwarded byte for byte;
//! - `/health` gets its response as ever; the log and the metrics show what was refused.

use crate::sim::{Options, Sim};
use crate::support::api::{CHAT, MODELS, chat};
use crate::support::client::Response;
use crate::support::fixture::Fixture;
use crate::support::program::{Proxy, environment, run_to_end};

const PATTERNS: &str =
    "POST /openai/v1/chat/*,\nGET /openai/v1/models, GET /sim/*, POST /openai/deployments/*/chat/completions";

#[track_caller]
fn refused(response: &Response, method: &str, path: &str) {
    let error = &response.json()["error"];
    assert_eq!(
        (response.status, response.header("x-should-retry").as_deref()),
        (403, Some("false")),
        "{error}"
    );
    assert_eq!((&error["type"], &error["code"]), (&"permission_error".into(), &"request_not_allowed".into()));
    let expected = format!("ALLOWED_REQUESTS of auth-proxy does not allow {method} {path}");
    assert_eq!(error["message"], expected.as_str());
}

#[test]
fn what_is_not_allowed_reaches_nobody() {
    let fixture = Fixture::with(false, &[("ALLOWED_REQUESTS", PATTERNS)]);
    let accepted = fixture.sim.azure.server.accepted();
    let mut client = fixture.client();
    for (method, path) in [
        ("GET", CHAT),
        ("DELETE", MODELS),
        ("HEAD", MODELS),
        ("GET", "/openai/v1/files"),
        ("GET", "/openai/v1/models/"),
        ("GET", "/openai/v1//models"),
        ("GET", "/openai/v1/%256dodels"),
        ("GET", "/openai/v1%2Fmodels"),
        ("GET", "/openai/v1\\models"),
        ("POST", "/openai/v1/chat/../files"),
        ("POST", "/openai/v1/chat/%2e%2e/files"),
        ("POST", "/openai/v1/chat/..%2ffiles"),
        ("POST", "/openai/v1/chat/..;x/files"),
        ("POST", "/openai/deployments/a/b/chat/completions"),
        ("GET", "/health/"),
        ("POST", "/health"),
        ("OPTIONS", "/"),
    ] {
        let response = client.request(method, &format!("{path}?api-key=K&x=1"), &[], b"");
        if method == "HEAD" {
            assert_eq!(response.status, 403);
        } else {
            refused(&response, method, path);
        }
    }
    refused(&client.request("OPTIONS", "*", &[], b""), "OPTIONS", "*");
    assert!(fixture.seen().is_empty());
    assert_eq!(fixture.sim.azure.server.accepted(), accepted, "no connection is made for them");
    assert_eq!(fixture.proxy.health().status, 200);
    assert_eq!(client.request("HEAD", "/health", &[], b"").status, 200);
}

#[test]
fn what_is_allowed_is_forwarded_byte_for_byte() {
    let fixture = Fixture::with(false, &[("ALLOWED_REQUESTS", PATTERNS)]);
    assert_eq!(chat(&mut fixture.client()).status, 200);
    assert_eq!(fixture.client().get("/openai/v1/models?x=%2F..%2f&y=//").status, 200);
    fixture.seen();
    for target in [
        "/openai/v1/%6dodels",
        "/openai/v1/x/../models",
        "/sim/%65cho?a//b",
        "/sim/a;b=c",
        "/openai/v1/./models?",
    ] {
        fixture.client().get(target);
        let seen = fixture.seen();
        assert_eq!(seen.len(), 1, "{target}");
        assert_eq!(seen[0].target(), target);
    }
}

#[test]
fn a_path_counts_after_the_base_path() {
    let sim = Sim::start(Options::default());
    let base = format!("{}/openai/v1", sim.azure_url());
    let variables = [("API_BASE_URL", &*base), ("ALLOWED_REQUESTS", "POST /openai/v1/chat/completions")];
    let proxy = Proxy::start_with(&sim, &variables);
    let mut client = proxy.client();
    let body = br#"{"model":"gpt-4o","messages":[]}"#;
    let json = [("Content-Type", "application/json")];
    assert_eq!(client.request("POST", "/chat/completions", &json, body).status, 200);
    refused(&client.request("POST", CHAT, &json, body), "POST", CHAT);
    refused(&client.get("/models"), "GET", "/models");
    assert_eq!(sim.azure.requests().len(), 1);
    // The patterns of a program whose clients send the whole path: allowed, but said at start.
    let noted =
        Proxy::start_with(&sim, &[("API_BASE_URL", &*base), ("ALLOWED_REQUESTS", "POST /chat/completions")]);
    noted.wait_log("ALLOWED_REQUESTS has a path that no request can have: `/chat/completions`");
}

/// While Entra ID is away, what is allowed waits for a token and what is not does not; neither does the 403 wait for a body.
#[test]
fn a_403_waits_for_nothing() {
    let sim = Sim::start(Options::default());
    sim.entra.stop();
    let proxy = Proxy::start_listening(&sim, &[("ALLOWED_REQUESTS", "GET /openai/v1/models")]);
    let mut client = proxy.client();
    client
        .raw
        .send(format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"))
        .unwrap();
    refused(&client.response("POST").unwrap(), "POST", CHAT);
    assert_eq!(proxy.client().get(MODELS).status, 503);
}

#[test]
fn who_may_not_call_learns_nothing_of_what_is_allowed() {
    let key = "0123456789abcdef0123456789abcdef";
    let fixture = Fixture::with(false, &[("ALLOWED_REQUESTS", PATTERNS), ("PROXY_API_KEY", key)]);
    assert_eq!(fixture.client().get("/openai/v1/files").status, 401);
    let response = fixture.client().request("GET", "/openai/v1/files", &[("api-key", key)], b"");
    refused(&response, "GET", "/openai/v1/files");
    assert!(fixture.seen().is_empty());
}

#[test]
fn a_websocket_is_its_get() {
    use crate::support::tunnel::open_websocket;
    let fixture = Fixture::with(false, &[("ALLOWED_REQUESTS", "GET /openai/v1/realtime, POST /sim/ws")]);
    assert_eq!(open_websocket(&mut fixture.client(), "/openai/v1/realtime?model=m").status, 101);
    refused(&open_websocket(&mut fixture.client(), "/sim/ws"), "GET", "/sim/ws");
    assert_eq!(fixture.seen().len(), 1);
}

#[test]
fn the_log_and_the_metrics_show_it() {
    let sim = Sim::start(Options::default());
    let variables = [("ALLOWED_REQUESTS", PATTERNS), ("ADMIN_PORT", "0"), ("LOG_LEVEL", "info")];
    let proxy = Proxy::start_with(&sim, &variables);
    assert_eq!(proxy.client().get("/openai/v1/files?secret=1").status, 403);
    let line = proxy.wait_log("path=/openai/v1/files");
    for part in [
        " warn  request failed method=GET status=403 ",
        " outcome=failed ",
        " kind=refused cause=\"ALLOWED_REQUESTS does not allow it\" ",
        "hint=\"add it to ALLOWED_REQUESTS if clients need it\"",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(proxy.client().get("/openai/v1//models").status, 403);
    let line = proxy.wait_log("path=/openai/v1//models");
    assert!(line.contains("it has an empty segment (`//`)"), "{line}");
    assert!(!proxy.log().join("\n").contains("secret"));
    let metrics = proxy.admin("/metrics").text();
    let expected = "auth_proxy_refusals_total{kind=\"request_not_allowed\"} 2";
    assert!(metrics.contains(expected), "{metrics}");
}

#[test]
fn a_bad_pattern_ends_the_start() {
    let sim = Sim::start(Options::default());
    let variables = [("ALLOWED_REQUESTS", "POST /openai/v1/*, get /openai/v1/../models")];
    let finished = run_to_end(&["run"], environment(&sim, &variables));
    assert_eq!(finished.status.code(), Some(2), "{finished:#?}");
    assert!(
        finished.stderr.contains("ALLOWED_REQUESTS has a method that is not in capitals: `get`"),
        "{finished:#?}"
    );
}

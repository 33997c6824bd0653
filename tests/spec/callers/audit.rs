//! The access log says who sent what, and `/metrics` how much. A proxy that anybody may call says so.

use serde_json::Value;

use super::{KEY, Keys, line};
use crate::sim::{Options, ScriptedResponse, Sim, wait_for};
use crate::support::program::Proxy;

const A: &str = "key-of-team-a-0123456789";
const B: &str = "key-of-team-b-0123456789";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn start(format: &str) -> (Sim, Proxy) {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let keys = Keys::new(&sim, &(line("team-a", A) + &line("team-b", B)));
    let variables = [("PROXY_API_KEYS_FILE", keys.path()), ("LOG_FORMAT", format), ("ADMIN_PORT", "0")];
    let proxy = Proxy::spawn(crate::support::program::environment(&sim, &variables));
    proxy.wait_healthy();
    (sim, proxy)
}

#[test]
fn a_line_of_text_has_the_caller_and_the_trace() {
    let (sim, proxy) = start("text");
    sim.azure.script([ScriptedResponse::status(200).header("apim-request-id", "a-1").body("four")]);
    let fields = [("api-key", A), ("traceparent", TRACEPARENT), ("X-Request-Id", "of the \"client\"")];
    proxy.client().request("POST", "/one", &fields, b"{}");
    let line = proxy.wait_log(" outcome=completed path=/one");
    let expected =
        format!(" caller=team-a trace_id={TRACE_ID} outcome=completed path=/one apim_request_id=a-1");
    assert!(line.contains(&expected) && line.contains(" client=127.0.0.1:"), "{line}");
    assert_eq!(sim.azure.request_to("/one").header("traceparent").as_deref(), Some(TRACEPARENT));

    // The response's id comes before the client's; a malformed trace is forwarded and not logged; both as those of a request
    // that is refused.
    let malformed = TRACEPARENT.to_uppercase();
    let response = ScriptedResponse::status(404).header("x-request-id", "of-the-response").body("no");
    sim.azure.script([response]);
    let fields = [("api-key", B), ("traceparent", &*malformed), ("x-request-id", "of-the-client")];
    proxy.client().request("GET", "/two", &fields, b"");
    let line = proxy.wait_log(" outcome=completed path=/two");
    assert!(line.contains(" caller=team-b outcome=completed ") && !line.contains("trace_id"), "{line}");
    assert!(line.ends_with(" x_request_id=of-the-response"), "{line}");
    assert_eq!(sim.azure.request_to("/two").header("traceparent"), Some(malformed.clone()));

    let fields = [("api-key", "wrong"), ("traceparent", TRACEPARENT), ("x-request-id", "of-the-client")];
    assert_eq!(proxy.client().request("GET", "/three", &fields, b"").status, 401);
    let line = proxy.wait_log(" outcome=failed path=/three");
    assert!(line.contains(" status=401 ") && !line.contains("caller="), "{line}");
    assert!(line.contains(&format!(" trace_id={TRACE_ID} outcome=failed ")), "{line}");
    assert!(line.ends_with(" x_request_id=of-the-client"), "{line}");
    assert_eq!(
        proxy.log().iter().filter(|line| line.contains("path=/three")).count(),
        1,
        "one line for each"
    );

    let long = "x".repeat(200);
    proxy.client().request("GET", "/four", &[("api-key", A), ("x-request-id", &long)], b"");
    let line = proxy.wait_log(" outcome=completed path=/four");
    assert!(!line.contains("xxx"), "{line}");
}

#[test]
fn an_object_of_json_has_them_too() {
    let (sim, proxy) = start("json");
    sim.azure.script([ScriptedResponse::status(200).header("apim-request-id", "a-1").body("four")]);
    let fields = [("api-key", A), ("traceparent", TRACEPARENT), ("x-request-id", "forged\",\"caller\":\"x")];
    proxy.client().request("POST", "/one", &fields, b"{}");
    let event: Value = serde_json::from_str(&proxy.wait_log("\"path\":\"/one\",\"apim")).unwrap();
    for (name, expected) in [
        ("caller", "team-a"),
        ("method", "POST"),
        ("path", "/one"),
        ("outcome", "completed"),
        ("trace_id", TRACE_ID),
        ("x_request_id", "forged\",\"caller\":\"x"),
        ("apim_request_id", "a-1"),
    ] {
        assert_eq!(event[name], expected, "{event}");
    }
    assert!(event["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{event}");
    for (name, expected) in [("status", 200), ("bytes_up", 2), ("bytes_down", 4)] {
        assert_eq!(event[name], expected, "{event}");
    }
    for name in ["ms", "first_byte_ms", "upstream_ms"] {
        assert!(event[name].is_number(), "{event}");
    }
}

#[test]
fn without_keys_there_is_no_caller() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start_with(&sim, &[("ADMIN_PORT", "0")]);
    proxy.client().request("GET", "/one", &[("api-key", A)], b"");
    assert!(!proxy.wait_log("outcome=completed path=/one").contains("caller="));
    assert!(!proxy.admin("/metrics").text().contains("auth_proxy_caller_requests_total{"));
}

#[test]
fn requests_are_counted_by_caller_and_status() {
    let (sim, proxy) = start("text");
    let send =
        |key: &str, target: &str| proxy.client().request("GET", target, &[("api-key", key)], b"").status;
    assert_eq!([send(A, "/sim/echo"), send(A, "/sim/echo"), send(B, "/sim/status/404")], [200, 200, 404]);
    assert_eq!(send("wrong", "/sim/echo"), 401);
    sim.azure.stop();
    assert_eq!(send(B, "/sim/echo"), 502);
    let expected = [
        "auth_proxy_caller_requests_total{caller=\"team-a\",status=\"2xx\"} 2",
        "auth_proxy_caller_requests_total{caller=\"team-a\",status=\"4xx\"} 0",
        "auth_proxy_caller_requests_total{caller=\"team-b\",status=\"4xx\"} 1",
        "auth_proxy_caller_requests_total{caller=\"team-b\",status=\"5xx\"} 1",
    ];
    wait_for("the requests to be counted", || {
        let page = proxy.admin("/metrics").text();
        expected.iter().all(|line| page.contains(line))
    });
    let page = proxy.admin("/metrics").text();
    assert_eq!(page.matches("auth_proxy_caller_requests_total{").count(), 12, "{page}");
}

#[test]
fn a_proxy_that_anybody_may_call_warns_of_it_once() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let keys = Keys::new(&sim, &line("team-a", A));
    let warnings = |variables: &[(&str, &str)]| -> Vec<String> {
        let proxy = Proxy::start_with(&sim, variables);
        let log = proxy.log().into_iter();
        log.filter(|line| line.contains("listening beyond loopback without API keys")).collect()
    };
    let found = warnings(&[("HOST", "0.0.0.0")]);
    assert_eq!(found.len(), 1, "{found:?}");
    for remedy in
        ["PROXY_API_KEY or PROXY_API_KEYS_FILE", "TLS_CLIENT_CA_FILE", "HOST=unix:/path", "HOST=127.0.0.1"]
    {
        assert!(found[0].contains(" warn ") && found[0].contains(remedy), "{remedy}: {found:?}");
    }
    for variables in [
        &[("HOST", "127.0.0.1")][..],
        &[("HOST", "0.0.0.0"), ("PROXY_API_KEY", KEY)],
        &[("HOST", "0.0.0.0"), ("PROXY_API_KEYS_FILE", keys.path())],
    ] {
        assert_eq!(warnings(variables), [""; 0], "{variables:?}");
    }
}

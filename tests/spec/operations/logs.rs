//! What the log has of requests: enough to find them again, as text and as JSON, and nothing of their content.

use serde_json::{Value, json};

use crate::sim::{Options, ScriptedResponse, Sim, timeout, wait_for};
use crate::support::client::Raw;
use crate::support::program::{Proxy, environment, run_to_end};

fn start(variables: &[(&str, &str)]) -> (Sim, Proxy) {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start_with(&sim, variables);
    (sim, proxy)
}

fn field(line: &str, name: &str) -> Option<f64> {
    line.split(' ').find_map(|field| field.strip_prefix(&format!("{name}=")))?.parse().ok()
}

#[test]
fn a_request_is_one_line_with_times_bytes_and_the_upstreams_request_ids() {
    let (sim, proxy) = start(&[("LOG_LEVEL", "info")]);
    let ids = ScriptedResponse::status(200).header("apim-request-id", "a-1").header("x-ms-request-id", "m-2");
    sim.azure.script([ids.body("four")]);
    proxy.client().request("POST", "/openai/v1/embeddings?secret=1", &[], b"{}");
    let line = proxy.wait_log(" request ");
    let expected = " info  request method=POST status=200 bytes_up=2 bytes_down=4 ms=";
    assert!(line.contains(expected), "{line}");
    assert!(line.ends_with(" path=/openai/v1/embeddings apim_request_id=a-1 x_ms_request_id=m-2"), "{line}");
    assert!(!line.contains("secret") && !line.contains('\u{1b}'), "{line}");

    proxy.client().get("/sim/slow?ms=200");
    let line = proxy.wait_log("path=/sim/slow");
    let times = ["upstream_ms", "first_byte_ms", "ms"].map(|name| field(&line, name).unwrap());
    assert!(times.is_sorted() && times[0] >= 200.0, "{line}");
}

#[test]
fn in_json_numbers_are_numbers() {
    let (sim, proxy) = start(&[("LOG_FORMAT", "json")]);
    sim.azure.script([ScriptedResponse::status(404).header("x-request-id", "r-3").body("no")]);
    proxy.client().request("PUT", "/a%0Ab", &[], b"body");
    let event: Value = serde_json::from_str(&proxy.wait_log("\"request\"")).unwrap();
    assert_eq!((event["level"].as_str(), event["method"].as_str()), (Some("info"), Some("PUT")));
    assert_eq!((event["status"].as_u64(), event["path"].as_str()), (Some(404), Some("/a%0Ab")));
    assert_eq!((event["bytes_up"].as_u64(), event["bytes_down"].as_u64()), (Some(4), Some(2)));
    assert!(event["first_byte_ms"].as_f64() <= event["ms"].as_f64());
    assert_eq!(event["x_request_id"], "r-3");
    let token: Value = serde_json::from_str(&proxy.wait_log("token refreshed")).unwrap();
    assert_eq!(token["lifetime"].as_f64(), Some(3600.0));
    for line in proxy.log() {
        assert!(serde_json::from_str::<Value>(&line).is_ok_and(|event| event["time"].is_string()), "{line}");
    }
}

/// Each cause that ends a start: one event per problem, with the exit code, and nothing else on standard error.
#[test]
fn in_json_a_start_error_is_an_event() {
    let sim = Sim::start(Options::default());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (settings, code, message) in [
        (&[("AZURE_CLIENT_ID", "")][..], 2, "Missing required Azure AD configuration"),
        (&[("PORT", "x"), ("LOG_LEVEL", "loud")], 2, "LOG_LEVEL is not a log level"),
        (&[("AZURE_CERTIFICATE_PATH", "/nowhere/a.pem")], 3, "/nowhere/a.pem"),
        (&[("HOST", "127.0.0.1"), ("PORT", &port)], 4, "cannot listen on HOST=127.0.0.1"),
    ] {
        let settings: Vec<_> = settings.iter().copied().chain([("LOG_FORMAT", "json")]).collect();
        let finished = run_to_end(&["run"], environment(&sim, &settings));
        assert_eq!(finished.status.code(), Some(code), "{finished:#?}");
        let events: Vec<Value> =
            finished.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let errors: Vec<_> = events.iter().filter(|event| event["level"] == "error").collect();
        let found = errors.iter().find(|event| event["message"].as_str().unwrap().contains(message));
        let found = found.unwrap_or_else(|| panic!("{message}: {finished:#?}"));
        assert_eq!(found["exit_code"], code, "{found}");
        assert!(found["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{found}");
    }
}

#[test]
fn the_log_says_which_side_aborted() {
    let (sim, proxy) = start(&[("LOG_LEVEL", "info")]);
    sim.azure.script([ScriptedResponse::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")]);
    proxy.client().get("/broken");
    assert!(proxy.wait_log("path=/broken").contains("outcome=aborted_by_upstream"));
    let mut client = Raw::connect(proxy.address());
    client.send("GET /sim/sse?events=1000&pause_ms=20 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(!client.read_some(timeout()).unwrap().is_empty());
    drop(client);
    let line = proxy.wait_log("path=/sim/sse");
    assert!(line.contains("status=200 ") && line.contains(" outcome=aborted_by_client "), "{line}");
    let mut client = Raw::connect(proxy.address());
    client.send("GET /sim/slow?ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    wait_for("the request to arrive", || sim.azure.log().seen() >= 3);
    drop(client);
    let line = proxy.wait_log("path=/sim/slow");
    assert!(
        line.contains("status=499 ")
            && line.contains(" outcome=aborted_by_client ")
            && !line.contains("upstream_ms"),
        "{line}"
    );
}

#[test]
fn malformed_requests_are_logged_without_their_content() {
    let (_sim, proxy) = start(&[]);
    let mut client = Raw::connect(proxy.address());
    client.send("GET /path?query HTTP/1.1\r\nHost: localhost\r\nforged name: x\r\n\r\n").unwrap();
    assert!(client.read_some(timeout()).unwrap().starts_with(b"HTTP/1.1 400"));
    let line = proxy.wait_log("request refused");
    assert!(line.contains("status=400 code=bad_request why="), "{line}");
    assert!(!line.contains("forged") && !line.contains("query"), "{line}");
}

#[test]
fn at_warn_failures_are_logged_and_served_requests_are_not() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start_silent(&sim, &[("LOG_LEVEL", "warn")]);
    assert_eq!(proxy.client().get("/sim/echo").status, 200);
    sim.azure.stop();
    assert_eq!(proxy.client().get("/failed").status, 502);
    proxy.wait_log("request failed");
    assert!(proxy.log().iter().all(|line| line.contains(" warn ")), "{:#?}", proxy.log());
}

#[test]
fn debug_logs_names_and_decisions() {
    let (sim, proxy) = start(&[("LOG_LEVEL", "debug")]);
    let fields = [
        ("api-key", "hidden-1"),
        ("X-Custom", "hidden-2"),
        ("Connection", "keep-alive, x-hop"),
        ("X-Hop", "1"),
    ];
    let mut client = proxy.client();
    client.request("POST", "/sim/echo?api-key=hidden-3&x=hidden-4", &fields, b"hidden-5");
    let line = proxy.wait_log("request headers");
    for expected in ["path=/sim/echo ", "x-custom", "credentials_stripped_from_query=1", "websocket=false"] {
        assert!(line.contains(expected), "{expected}: {line}");
    }
    let stripped = line.split("stripped=").nth(1).unwrap().split(' ').next().unwrap();
    let mut stripped: Vec<&str> = stripped.split(',').collect();
    stripped.sort_unstable();
    assert_eq!(stripped, ["api-key", "connection", "host", "x-hop"]);
    assert!(proxy.wait_log("request sent").contains("body_buffered="));
    assert!(proxy.wait_log("response headers").contains("content-type"));

    // The kept connection dies between two requests.
    sim.azure.stop();
    sim.azure.restart();
    assert_eq!(client.get("/sim/echo").status, 200);
    proxy.wait_log("path=/sim/echo");
    let log = proxy.log().join("\n");
    assert!(!log.contains("hidden"), "{log}");
}

/// What decides how the program behaves is in the log when it starts, in three lines, each field of which is documented.
#[test]
fn the_first_lines_have_everything_that_decides_behavior() {
    let sim = Sim::start(Options::default());
    let roots = sim.env().into_iter().find(|(name, _)| name == "SSL_CERT_FILE").unwrap().1;
    let variables = [
        ("LOG_FORMAT", "json"),
        ("PROXY_API_KEY", "0123456789-0123456789"),
        ("ALLOWED_ORIGINS", "https://app.example"),
        ("ALLOWED_HOSTS", "proxy.example,*.proxy.example"),
        ("ALLOWED_REQUESTS", "POST /openai/v1/*, GET /openai/v1/models, GET /health"),
        ("ADMIN_PORT", "0"),
        ("ADMIN_HOST", "127.0.0.1"),
        ("HTTPS_PROXY", "http://user:p4ssw0rd-of-the-proxy@proxy.example:3128"),
        ("NO_PROXY", "10.0.0.0/8"),
        ("MAX_CONNECTIONS", "20"),
        ("CONNECT_TIMEOUT", "1500ms"),
        ("SHUTDOWN_GRACE", "1m"),
    ];
    let proxy = Proxy::start_with(&sim, &variables);
    let documentation = std::fs::read_to_string("docs/log-schema.md").unwrap();
    let base_url = sim.azure_url();
    for (event, expected) in [
        (
            "auth-proxy starting",
            json!({"level": "info", "version": env!("CARGO_PKG_VERSION"), "upstream": base_url,
                "credential": "certificate", "client_id": sim.options().client_id,
                "scope": "https://cognitiveservices.azure.com/.default"}),
        ),
        (
            "settings for callers",
            json!({"level": "info", "callers": "must present PROXY_API_KEY", "tls": false, "allowed_origins": 1,
                "allowed_hosts": 2, "allowed_requests": 3, "admin_port": 0, "rewrite_location": false}),
        ),
        (
            "settings for the network",
            json!({"level": "info", "egress_proxy": "proxy.example:3128", "no_proxy": 1, "trusted_roots": roots,
                "connect_timeout": 1.5, "read_idle_timeout": 600, "shutdown_grace": 60,
                "max_connections": 20, "limited_by": "MAX_CONNECTIONS"}),
        ),
    ] {
        let line: Value = serde_json::from_str(&proxy.wait_log(&format!("\"{event}\""))).unwrap();
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(line[name], *value, "{name}: {line:#}");
        }
        let row =
            documentation.lines().find(|row| row.starts_with(&format!("| `{event}` | info |"))).unwrap();
        for name in line.as_object().unwrap().keys() {
            let is_general = ["time", "level", "message"].contains(&name.as_str());
            assert!(is_general || row.contains(&format!("`{name}`")), "{name} is not in: {row}");
        }
    }
    let log = proxy.log().join("\n");
    assert!(!log.contains("p4ssw0rd") && !log.contains("user:"), "{log}");

    let proxy = Proxy::start(&sim);
    let callers = proxy.wait_log("settings for callers");
    let expected =
        "callers=\"need no key\" tls=false allowed_origins=0 allowed_hosts=0 rewrite_location=false";
    assert!(callers.ends_with(expected), "{callers}");
    let network = proxy.wait_log("settings for the network");
    assert!(
        network.contains("egress_proxy=none no_proxy=0 ") && network.contains(" shutdown_grace=25s "),
        "{network}"
    );
}

//! Web pages cannot call, unless their origin is allowed or a key is required:
//!
//! - a request of a foreign `Origin` or `Sec-Fetch-Site` gets 403, whatever it asks for, and nothing of it is forwarded;
//! - on a loopback listener so does one that calls it by another name than localhost (DNS rebinding, `http_proxy`);
//! - with `ALLOWED_ORIGINS` preflights get a response, and pages can read responses; without it nothing of one changes.
//!
//! `make test-browser` tries the same with a real browser.

use crate::sim::{Options, ScriptedResponse, Sim, wait_for};
use crate::support::api::{CHAT, MODELS};
use crate::support::client::{Client, Response};
use crate::support::fixture::{Fixture, error_code};
use crate::support::program::Proxy;

const KEY: &str = "a-key-of-16-characters";
const APP: &str = "https://app.example";
const EVIL: &str = "http://evil.test";

/// What stands behind a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The upstream's response.
    Forwarded,
    /// 403 with this code, and the upstream sees nothing.
    Forbidden(&'static str),
    /// Another response of ours, and the upstream sees nothing.
    Own(u16),
}
use Expected::{Forbidden, Forwarded, Own};

const ORIGIN: Expected = Forbidden("origin_not_allowed");
const HOST: Expected = Forbidden("host_not_allowed");

/// A request: its line, and its fields, `Host` included.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Expected);

const LOCAL: (&str, &str) = ("Host", "localhost:8080");
const PREFLIGHT: (&str, &str) = ("Access-Control-Request-Method", "POST");

fn request(address: std::net::SocketAddr, line: &str, fields: &[(&str, &str)]) -> Response {
    let mut client = Client::connect(address);
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    client.raw.send(format!("{line}\r\n{fields}\r\n")).unwrap();
    client.response(line.split(' ').next().unwrap()).unwrap()
}

/// Sends every row to a proxy with these settings, and reports all that fail.
#[track_caller]
fn run(settings: &[(&str, &str)], rows: &[Row<'_>]) {
    let fixture = Fixture::with(false, settings);
    let mut failed = Vec::new();
    for (line, fields, expected) in rows {
        let response = request(fixture.proxy.address(), line, fields);
        let seen = fixture.seen().len();
        let found = match response.status {
            403 if seen == 0 => {
                assert_eq!(response.json()["error"]["type"], "permission_error");
                let code = error_code(&response);
                let known = ["origin_not_allowed", "host_not_allowed"].into_iter().find(|it| *it == code);
                Forbidden(known.expect("a code"))
            }
            status if seen == 0 => Own(status),
            _ => Forwarded,
        };
        if found != *expected {
            failed.push(format!("{line} {fields:?}: {found:?} ({}), not {expected:?}", response.status));
        }
    }
    assert!(failed.is_empty(), "{settings:?}\n{}", failed.join("\n"));
}

#[test]
fn without_a_key_no_page_gets_through() {
    let websocket: &[(&str, &str)] = &[
        LOCAL,
        ("Origin", EVIL),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let rows: &[Row<'_>] = &[
        // Programs.
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL], Forwarded),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Sec-Fetch-Mode", "cors")], Forwarded),
        ("GET /health HTTP/1.1", &[LOCAL], Own(200)),
        // Typed into the address bar, and a page of the upstream's own.
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Sec-Fetch-Site", "none")], Forwarded),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Sec-Fetch-Site", "same-origin")], Forwarded),
        // Pages.
        ("POST /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", EVIL)], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", "null")], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", "")], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("oRiGiN", "http://localhost:3000")], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", "http://localhost:8080")], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", EVIL), ("Origin", "")], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Sec-Fetch-Site", "cross-site")], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Sec-Fetch-Site", "same-site")], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Sec-Fetch-Site", "a-new-site")], ORIGIN),
        (
            "GET /openai/v1/models HTTP/1.1",
            &[LOCAL, ("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")],
            ORIGIN,
        ),
        ("OPTIONS /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", EVIL), PREFLIGHT], ORIGIN),
        ("GET /openai/v1/realtime?model=m HTTP/1.1", websocket, ORIGIN),
        ("GET /health HTTP/1.1", &[LOCAL, ("Origin", EVIL)], ORIGIN),
        ("GET /openai/v1/models HTTP/1.0", &[("Origin", EVIL)], ORIGIN),
        // Names.
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "LOCALHOST.")], Forwarded),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "llm.localhost:1")], Forwarded),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "127.9.8.7:8080")], Forwarded),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "[::1]:8080")], Forwarded),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "[::ffff:127.0.0.1]")], Forwarded),
        ("GET /openai/v1/models HTTP/1.0", &[], Forwarded),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "evil.test:8080")], HOST),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "localhost.evil.test")], HOST),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "notlocalhost")], HOST),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "127.0.0.1.evil.test")], HOST),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "192.0.2.1")], HOST),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "0.0.0.0")], HOST),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "[::]")], HOST),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "%6cocalhost")], HOST),
        ("GET /openai/v1/models HTTP/1.0", &[("Host", "evil.test")], HOST),
        ("GET /health HTTP/1.1", &[("Host", "evil.test")], HOST),
        // A client with http_proxy=http://127.0.0.1:8080.
        ("GET http://evil.test/openai/v1/models HTTP/1.1", &[("Host", "evil.test")], HOST),
        ("GET http://localhost/openai/v1/models HTTP/1.1", &[("Host", "localhost")], Forwarded),
        // Rebinding: the page is of the origin that it calls.
        (
            "GET /openai/v1/models HTTP/1.1",
            &[("Host", "evil.test:8080"), ("Sec-Fetch-Site", "same-origin")],
            HOST,
        ),
        ("POST /x HTTP/1.1", &[("Host", "evil.test"), ("Origin", EVIL)], ORIGIN),
    ];
    run(&[], rows);
}

/// tiny_http reads a body before it responds.
#[test]
fn a_refusal_does_not_wait_for_the_body() {
    let fixture = Fixture::with(false, &[]);
    let mut client = fixture.client();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nOrigin: {EVIL}\r\nContent-Length: 9000000\r\n\r\n"
    );
    client.raw.send(head).unwrap();
    let response = client.response("POST").unwrap();
    assert_eq!((response.status, response.header("connection").as_deref()), (403, Some("close")));
    assert!(fixture.seen().is_empty());
}

#[test]
fn allowed_pages_and_names_get_through_and_others_do_not() {
    let settings = [("ALLOWED_ORIGINS", "https://app.example"), ("ALLOWED_HOSTS", "proxy.example, *.test")];
    let rows: &[Row<'_>] = &[
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", APP)], Forwarded),
        (
            "GET /openai/v1/models HTTP/1.1",
            &[LOCAL, ("Origin", APP), ("Sec-Fetch-Site", "cross-site")],
            Forwarded,
        ),
        ("OPTIONS /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", APP), PREFLIGHT], Own(204)),
        ("OPTIONS /health HTTP/1.1", &[LOCAL, ("Origin", APP), PREFLIGHT], Own(204)),
        ("OPTIONS /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", APP)], Forwarded),
        ("OPTIONS /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", EVIL), PREFLIGHT], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", EVIL)], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", "null")], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", APP), ("Origin", EVIL)], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", "https://app.example, null")], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Sec-Fetch-Site", "cross-site")], ORIGIN),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "Proxy.Example:8080")], Forwarded),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "a.test")], Forwarded),
        ("GET http://a.test/openai/v1/models HTTP/1.1", &[("Host", "a.test")], Forwarded),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL], Forwarded),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "evil.example")], HOST),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "evil.example"), ("Origin", APP)], HOST),
    ];
    run(&settings, rows);
}

#[test]
fn a_key_is_enough_and_only_preflights_need_an_allowed_origin() {
    let key = ("api-key", KEY);
    let alike: &[Row<'_>] = &[
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", EVIL), key], Forwarded),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "evil.test"), key], Forwarded),
        ("GET /openai/v1/models HTTP/1.1", &[LOCAL, ("Origin", EVIL)], Own(401)),
        ("GET /openai/v1/models HTTP/1.1", &[("Host", "evil.test")], Own(401)),
        ("GET /health HTTP/1.1", &[("Host", "evil.test"), ("Origin", EVIL)], Own(200)),
    ];
    let preflight = |origin| [LOCAL, ("Origin", origin), PREFLIGHT];
    let (app, evil) = (preflight(APP), preflight(EVIL));
    let line = "OPTIONS /openai/v1/models HTTP/1.1";
    for (allowed, of_app, of_evil) in
        [("", Own(401), Own(401)), (APP, Own(204), ORIGIN), ("*", Own(204), Own(204))]
    {
        let own: [Row<'_>; 2] = [(line, &app, of_app), (line, &evil, of_evil)];
        run(&[("PROXY_API_KEY", KEY), ("ALLOWED_ORIGINS", allowed)], &[alike, &own].concat());
    }
}

#[test]
fn the_admin_port_is_closed_to_pages_even_with_a_key() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let settings = [("ADMIN_PORT", "0"), ("PROXY_API_KEY", KEY), ("ALLOWED_HOSTS", "probe.example")];
    let proxy = Proxy::start_with(&sim, &settings);
    for path in ["/livez", "/readyz", "/startupz", "/metrics", "/", "/config", "/nothing"] {
        let own = if path == "/nothing" { 404 } else { 200 };
        for (fields, status) in [
            (&[LOCAL][..], own),
            (&[("Host", "probe.example:9090")], own),
            (&[LOCAL, ("Sec-Fetch-Site", "none")], own),
            (&[LOCAL, ("Sec-Fetch-Site", "cross-site")], 403),
            (&[LOCAL, ("Origin", EVIL), ("api-key", KEY)], 403),
            (&[("Host", "evil.test")], 403),
        ] {
            let response = request(proxy.admin_address(), &format!("GET {path} HTTP/1.1"), fields);
            assert_eq!(response.status, status, "{path} {fields:?}");
        }
    }
    let page = proxy.admin("/metrics").text();
    assert!(page.contains("auth_proxy_refusals_total{kind=\"host_not_allowed\"} 7"), "{page}");
    assert!(page.contains("auth_proxy_refusals_total{kind=\"origin_not_allowed\"} 14"), "{page}");
}

#[test]
fn pages_are_refused_in_overload_too() {
    let fixture = Fixture::with(false, &[("MAX_CONNECTIONS", "1"), ("ALLOWED_ORIGINS", APP)]);
    let address = fixture.proxy.address();
    let mut busy = fixture.client();
    wait_for("the only connection to be this one", || {
        busy = fixture.client();
        busy.get(MODELS).status == 200
    });
    busy.raw.send("GET /sim/slow?ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    fixture.seen();
    for (path, fields, status) in [
        ("/health", &[LOCAL][..], 200),
        ("/health", &[LOCAL, ("Origin", EVIL)], 403),
        ("/health", &[("Host", "evil.test")], 403),
        (MODELS, &[LOCAL], 503),
        (MODELS, &[LOCAL, ("Origin", APP)], 503),
        (MODELS, &[LOCAL, ("Sec-Fetch-Site", "same-site")], 403),
    ] {
        let response = request(address, &format!("GET {path} HTTP/1.1"), fields);
        assert_eq!(response.status, status, "{path} {fields:?}");
        let is_allowed = fields.contains(&("Origin", APP));
        assert_eq!(response.header("access-control-allow-origin").as_deref(), is_allowed.then_some(APP));
    }
}

#[test]
fn a_preflight_gets_what_it_asks_for() {
    let fixture = Fixture::with(false, &[("ALLOWED_ORIGINS", APP), ("PROXY_API_KEY", KEY)]);
    let fields = [
        LOCAL,
        ("Origin", APP),
        ("Access-Control-Request-Method", "PATCH"),
        ("Access-Control-Request-Headers", "api-key,content-type"),
        ("Access-Control-Request-Private-Network", "true"),
    ];
    let response = request(fixture.proxy.address(), &format!("OPTIONS {CHAT} HTTP/1.1"), &fields);
    assert_eq!(response.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", Some(APP)),
        ("access-control-allow-methods", Some("PATCH")),
        ("access-control-allow-headers", Some("api-key,content-type")),
        ("access-control-allow-private-network", Some("true")),
        ("access-control-allow-local-network", None),
        ("access-control-allow-credentials", None),
        ("access-control-max-age", Some("7200")),
        ("vary", Some("origin")),
        ("content-length", None),
    ] {
        assert_eq!(response.header(name).as_deref(), value, "{name}");
    }
    assert!(fixture.seen().is_empty());
}

#[test]
fn a_page_of_an_allowed_origin_can_read_every_response() {
    let fixture = Fixture::with(false, &[("ALLOWED_ORIGINS", APP)]);
    let address = fixture.proxy.address();
    let upstreams = || {
        ScriptedResponse::status(200)
            .header("Access-Control-Allow-Origin", "*")
            .header("Access-Control-Allow-Credentials", "true")
            .header("Access-Control-Expose-Headers", "apim-request-id")
            .header("Vary", "Accept-Encoding")
            .header("x-request-id", "id")
            .body("{}")
    };
    fixture.sim.azure.script([upstreams(), upstreams()]);
    let get =
        |target: &str, fields: &[(&str, &str)]| request(address, &format!("GET {target} HTTP/1.1"), fields);
    let read = get(MODELS, &[LOCAL, ("Origin", APP)]);
    assert_eq!((read.status, read.text().as_str()), (200, "{}"));
    assert_eq!(read.header("access-control-allow-origin").as_deref(), Some(APP));
    assert_eq!(read.header("access-control-expose-headers").as_deref(), Some("*"));
    assert_eq!(read.header("access-control-allow-credentials"), None);
    assert_eq!(read.header_values("vary"), ["Accept-Encoding", "origin"]);
    assert_eq!(read.header("x-request-id").as_deref(), Some("id"));

    let program = get(MODELS, &[LOCAL]);
    assert_eq!(program.header("access-control-allow-origin").as_deref(), Some("*"));
    assert_eq!(program.header_values("vary"), ["Accept-Encoding"]);

    // Our own: health, and an error.
    for (target, status) in [("/health", 200), ("/a#b", 400)] {
        let response = get(target, &[LOCAL, ("Origin", APP)]);
        assert_eq!(response.status, status, "{target}");
        assert_eq!(response.header("access-control-allow-origin").as_deref(), Some(APP), "{target}");
    }
    let forbidden = get(MODELS, &[LOCAL, ("Origin", EVIL)]);
    assert_eq!((forbidden.status, forbidden.header("access-control-allow-origin")), (403, None));
}

#[test]
fn a_refusal_says_what_to_do_and_is_logged_and_counted() {
    let fixture = Fixture::with(false, &[("ADMIN_PORT", "0")]);
    let address = fixture.proxy.address();
    let secret = "3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f";
    let token = format!("https://{secret}");
    for (fields, expected) in [
        (
            &[LOCAL, ("Origin", EVIL)][..],
            "`http://evil.test` may not call: if they should, add it to ALLOWED_ORIGINS",
        ),
        (&[LOCAL, ("Sec-Fetch-Site", "cross-site")], "Sec-Fetch-Site"),
        (&[("Host", "evil.test:80")], "`evil.test`: call it by localhost or 127.0.0.1"),
        (&[LOCAL, ("Origin", &token)], "(not shown: 40 characters)"),
        (&[("Host", secret)], "(not shown: what looks like an API key, 32 characters)"),
    ] {
        let response = request(address, &format!("GET {MODELS} HTTP/1.1"), fields);
        let message = response.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(expected), "{message}");
        assert!(message.ends_with(", or set PROXY_API_KEY"), "{message}");
        assert!(message.contains("ALLOWED_ORIGINS") || message.contains("ALLOWED_HOSTS"), "{message}");
        let line = fixture.proxy.wait_log(expected);
        assert!(line.contains("request failed") && line.contains("refused"), "{line}");
    }
    assert!(!fixture.proxy.log().join("\n").contains(secret));
    let page = fixture.proxy.admin("/metrics").text();
    for counted in ["origin_not_allowed\"} 3", "host_not_allowed\"} 2"] {
        assert!(page.contains(counted), "{page}");
    }
}

//! What the caller and the log are told when there is no response to pass on.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::cancel::BlackHole;
use super::error_code;
use crate::client::Response;
use crate::fixture::Proxy;
use crate::sim::{ScriptedResponse, Egress, Options, Sim, Step};

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
    assert_eq!(proxy.health().status, 200, "the upstream's trouble is not ours");
    response
}

#[test]
fn nobody_listens() {
    let sim = sim(true);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &format!("https://localhost:{port}"))]);
    check(
        &proxy,
        502,
        "upstream_unreachable",
        None,
        &[&format!("cannot connect to localhost:{port}"), "refused"],
    );
}

#[test]
fn the_name_does_not_exist() {
    let sim = sim(true);
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", "https://no-such-host.invalid")]);
    check(&proxy, 502, "upstream_dns", None, &["cannot resolve no-such-host.invalid", "kind=dns"]);
}

#[test]
fn the_authority_is_unknown() {
    let sim = sim(true);
    let proxy = Proxy::start_with(&sim, &[("SSL_CERT_FILE", "")]);
    check(
        &proxy,
        502,
        "upstream_tls",
        Some("false"),
        &["TLS handshake with localhost", "UnknownIssuer", "SSL_CERT_FILE"],
    );
}

#[test]
fn the_certificate_is_for_another_name() {
    let sim = sim(true);
    let egress = Egress::start(None);
    let url = format!("https://other.test:{}", sim.azure.server.port());
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &url), ("HTTPS_PROXY", &egress.url())]);
    check(&proxy, 502, "upstream_tls", Some("false"), &["TLS handshake with other.test", "API_BASE_URL"]);
}

#[test]
fn the_upstream_speaks_no_tls() {
    let sim = sim(true);
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", plain.local_addr().unwrap().port());
    let responding = std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &url)]);
    check(&proxy, 502, "upstream_tls", Some("false"), &["TLS handshake with localhost"]);
    responding.join().unwrap();
}

#[test]
fn the_egress_proxy_is_not_there() {
    let sim = sim(true);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let egress = format!("http://127.0.0.1:{port}");
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", "https://other.test"), ("HTTPS_PROXY", &egress)]);
    check(
        &proxy,
        502,
        "upstream_egress_proxy",
        None,
        &[&format!("egress proxy 127.0.0.1:{port}: cannot connect")],
    );
}

#[test]
fn the_egress_proxy_refuses() {
    let sim = sim(true);
    let egress = Egress::start(Some("Basic never"));
    let proxy =
        Proxy::start_with(&sim, &[("API_BASE_URL", "https://other.test"), ("HTTPS_PROXY", &egress.url())]);
    check(&proxy, 502, "upstream_egress_proxy", None, &["egress proxy 127.0.0.1", "407"]);
}

#[test]
fn the_connection_takes_too_long() {
    let sim = sim(true);
    let hole = BlackHole::new();
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &hole.url()), ("CONNECT_TIMEOUT", "300ms")]);
    let host = hole.url().replace("http://", "");
    check(&proxy, 504, "upstream_connect_timeout", None, &[&host, "300 ms"]);
}

#[test]
fn the_handshake_takes_too_long() {
    let sim = sim(true);
    let proxy = Proxy::start_with(&sim, &[("CONNECT_TIMEOUT", "300ms")]);
    sim.azure.server.set_silent(true);
    check(&proxy, 504, "upstream_connect_timeout", None, &["localhost:", "300 ms"]);
}

#[test]
fn the_response_takes_too_long() {
    for tls in [false, true] {
        let sim = sim(tls);
        let proxy = Proxy::start_with(&sim, &[("READ_IDLE_TIMEOUT", "300ms")]);
        sim.azure.script([ScriptedResponse::silence()]);
        check(&proxy, 504, "upstream_timeout", None, &["localhost:", "kind=timeout"]);
    }
}

#[test]
fn the_response_pauses_for_too_long() {
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

/// However much came with it: what ended a body is named, not that the connection is of no use any more.
#[test]
fn what_is_wrong_after_much_data_is_named() {
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

#[test]
fn the_response_is_not_http() {
    let sim = sim(true);
    let proxy = Proxy::start(&sim);
    sim.azure.raw("220 smtp.test ESMTP\r\n\r\n");
    check(&proxy, 502, "upstream_bad_response", None, &["localhost:", "kind=bad_response"]);
}

#[test]
fn the_upstream_closes_without_a_response() {
    let sim = sim(true);
    let proxy = Proxy::start(&sim);
    sim.azure.script([ScriptedResponse::drop_connection()]);
    check(&proxy, 502, "upstream_closed", None, &["localhost:"]);
}

#[test]
fn there_is_no_token() {
    let sim = sim(true);
    sim.entra.script(vec![ScriptedResponse::aadsts(700_027); 100]);
    let proxy = Proxy::start_listening(&sim, &[]);
    proxy.wait_health(503);
    let response = proxy.client().get("/openai/v1/models?key=SECRET-1");
    assert_eq!((response.status, error_code(&response).as_str()), (503, "AADSTS700027"));
    assert_eq!(response.header("x-should-retry").as_deref(), Some("false"));
    assert!(response.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(sim.azure.requests().len(), 0);
}

/// Whatever happens, at the most talkative level: no query, no key, no token, no body, in text or JSON.
#[test]
fn nothing_secret_is_logged() {
    for format in ["text", "json"] {
        let sim = sim(true);
        let settings = [("LOG_LEVEL", "debug"), ("LOG_FORMAT", format), ("READ_IDLE_TIMEOUT", "500ms")];
        let proxy = Proxy::start_with(&sim, &settings);
        let responses = [
            ScriptedResponse::default_behavior(),
            ScriptedResponse::drop_connection(),
            ScriptedResponse::silence(),
            ScriptedResponse::raw("HTTP/1.1 SECRET-response\r\nX: SECRET-response\r\n\r\n"),
            ScriptedResponse::raw(
                "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nSet-Cookie: SECRET-response\r\n\r\nSECRET-response",
            ),
            ScriptedResponse::status(401).header("X-A", "SECRET-response").body("SECRET-response"),
        ];
        for response in responses {
            sim.azure.script([response]);
            let head = "POST /sim/echo?key=SECRET-query&api-key=SECRET-query HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\
                        Authorization: Bearer SECRET-caller\r\napi-key: SECRET-caller\r\nCookie: SECRET-caller\r\n\
                        X-Custom: SECRET-caller\r\n\r\nSECRET-body";
            let mut client = proxy.client();
            client.raw.send(head).unwrap();
            let _ = client.response("POST");
        }
        for bad in [
            "GET /?SECRET-query HTTP/1.1\r\nSECRET-name\r\n\r\n",
            "GET /a?SECRET-query#x HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            let mut client = proxy.client();
            client.raw.send(bad).unwrap();
            assert_eq!(client.response("GET").unwrap().status, 400);
        }
        let token = sim.azure.requests()[0].bearer().unwrap();
        let log = proxy.log().join("\n");
        assert!(log.contains("/sim/echo"), "{log}");
        for secret in ["SECRET", &token, &token[token.len() - 20..]] {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
    }
}

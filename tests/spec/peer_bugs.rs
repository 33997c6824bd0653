//! What a caller gets, and what the log gets instead.

use std::net::SocketAddr;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::fixture::Proxy;
use crate::sim::{ScriptedResponse, Options, Sim, Step, patience};

const CHAT: &str = "/openai/v1/chat/completions";

/// Where nobody listens, and nobody else can as long as the socket is kept.
fn closed() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Azure/aad-auth-proxy, fail_request.go: writes the status line before the headers, and the content type is lost.
#[test]
fn our_own_errors_have_status_type_and_body_together() {
    let sim = Sim::start(Options::default());
    let (_kept, closed) = closed();
    let (unreachable, key) = (format!("http://{closed}"), "a-key-of-sixteen-or-more");
    let guarded = Proxy::start_with(&sim, &[("PROXY_API_KEY", key)]);
    let stranded = Proxy::start_with(&sim, &[("API_BASE_URL", &unreachable)]);
    sim.entra.stop();
    let locked_out = Proxy::start_listening(&sim, &[]);
    for (proxy, method, target, status) in [
        (&guarded, "GET", "/openai/v1/models", 401),
        (&guarded, "CONNECT", "a.test:443", 501),
        (&guarded, "GET", "no-slash", 400),
        (&stranded, "GET", "/openai/v1/models", 502),
        (&locked_out, "GET", "/openai/v1/models", 503),
    ] {
        let mut client = proxy.client();
        client.raw.send(format!("{method} {target} HTTP/1.1\r\nHost: a.test:443\r\n\r\n")).unwrap();
        let response = client.response("GET").unwrap();
        assert_eq!((response.status, &response.fault), (status, &None), "{method} {target}");
        assert_eq!(response.header("content-type").as_deref(), Some("application/json"), "{status}");
        assert_eq!(response.header("content-length").unwrap(), response.body.len().to_string());
        let error = &response.json()["error"];
        for field in ["message", "type", "code"] {
            assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {error}");
        }
    }
}

/// The same, proxy.go, logResponse: reads the whole body of a response with a status of 400 or more, logs it, encodes
/// it again and rewrites its headers.
#[test]
fn a_429_passes_byte_for_byte_and_not_into_the_log() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start_with(&sim, &[("LOG_LEVEL", "debug")]);
    let body = b"{ \"error\" :\n\t{\"code\":\"429\", \"message\" : \"slow-down-please\" } }\xff\x00".to_vec();
    let fields = [
        ("Content-Type", "application/json; charset=\"odd\""),
        ("retry-after", "7"),
        ("retry-after-ms", "6543"),
        ("x-ratelimit-reset-requests", "7"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
    ];
    let response = ScriptedResponse::status(429).body(body.clone());
    sim.azure.script([fields.iter().fold(response, |response, (name, value)| response.header(name, value))]);
    let response = proxy.client().post_json(CHAT, &json!({"model": "gpt-4o"}));
    assert_eq!((response.status, &response.body), (429, &body));
    for (name, value) in fields {
        assert!(response.header_values(name).contains(&value.to_owned()), "{name}");
    }
    assert_eq!(response.header_values("set-cookie").len(), 2);
    proxy.wait_log("status=429");
    assert!(!proxy.log().join("\n").contains("slow-down-please"));
}

/// awslabs/aws-sigv4-proxy, handler.go: holds the response back until all of it is there.
#[test]
#[cfg_attr(feature = "tiny_http", ignore = "tiny_http does not show that a client left")]
fn the_first_event_arrives_while_the_second_is_still_held_back() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start(&sim);
    let first = "data: {\"n\":1}\n\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let piece = format!("{head}{:x}\r\n{first}\r\n", first.len());
    sim.azure.script([ScriptedResponse::steps([Step::Write(piece.into_bytes()), Step::WaitForPeerClose])]);
    let mut client = proxy.client();
    client.send("GET", "/stream", &[], b"").unwrap();
    let mut got = Vec::new();
    while !got.windows(first.len()).any(|part| part == first.as_bytes()) {
        let bytes = client.raw.read_some(patience()).unwrap();
        assert!(!bytes.is_empty(), "the end came before the event");
        got.extend(bytes);
    }
    assert_eq!(sim.azure.request_to("/stream").done, None, "the upstream is still at it");
    drop(client);
    assert!(sim.azure.finished_request_to("/stream").peer_closed.is_some());
}

/// The same, proxy_client.go: at debug level the whole request goes into the log, credentials included.
#[test]
fn a_debug_log_has_neither_token_nor_body_nor_query() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start_with(&sim, &[("LOG_LEVEL", "debug")]);
    let fields = [("api-key", "key-of-the-caller"), ("Authorization", "Bearer bearer-of-the-caller")];
    let target = "/openai/v1/chat/completions?secret-in-query=1";
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "words-of-the-user"}]});
    let response = proxy.client().request("POST", target, &fields, body.to_string().as_bytes());
    assert_eq!(response.status, 200);
    proxy.wait_log("path=/openai/v1/chat/completions");
    let log = proxy.log().join("\n");
    let token = &sim.entra.issued()[0].token;
    let signature = token.rsplit('.').next().unwrap();
    for secret in [
        "key-of-the-caller",
        "bearer-of-the-caller",
        "words-of-the-user",
        "secret-in-query",
        token,
        signature,
        "PRIVATE KEY",
    ] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

/// The same, handler.go: gives the text of its own failure to the caller.
#[test]
fn details_of_a_failure_stay_in_the_log() {
    let sim = Sim::start(Options::default());
    let (_kept, closed) = closed();
    for (base, detail) in [
        (format!("http://{closed}"), "Connection refused"),
        ("https://no-such-host.invalid".to_owned(), "no-such-host.invalid"),
        // The certificate is for other names.
        (format!("https://127.0.0.2:{}", sim.azure.server.port()), "127.0.0.2"),
    ] {
        let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &base)]);
        let mut client = proxy.client();
        let response = client.get("/openai/v1/models");
        assert_eq!(response.status, 502, "{base}");
        let text = response.text();
        for inner in [detail, "os error", "127.0.0", "invalid", "rustls", &closed.port().to_string()] {
            assert!(!text.contains(inner), "{inner} in {text}");
        }
        let line = proxy.wait_log("request failed");
        assert!(line.contains(detail), "{detail} in {line}");
    }
}

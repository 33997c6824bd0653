//! The build with tiny_http's server: what its wrapping prevents, and what it refuses.

use std::io::Write as _;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::sim::{BodyEnd, Options, Sim, latin1, pattern, timeout, wait_for};
use crate::support::client::{Client, Ended, Raw};
use crate::support::program::{Proxy, environment, run_to_end};

fn start() -> (Proxy, Sim) {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    (Proxy::start(&sim), sim)
}

/// What comes back within a second.
fn response_to(proxy: &Proxy, request: &str) -> String {
    let mut raw = Raw::connect(proxy.address());
    raw.send(request).unwrap();
    latin1(&raw.read_to_end(Duration::from_secs(1)).0)
}

/// tiny_http reserves memory for what it has not read when a request is dropped, or its client has left.
#[test]
#[ignore = "for the build with tiny_http: make it-tiny_http"]
fn a_length_beyond_all_memory_does_not_end_the_process() {
    let (mut proxy, sim) = start();
    for length in ["50000000000000", "1073741825", "18446744073709551615"] {
        for more in ["", "Expect: 100-continue\r\n", "Connection: close\r\n", "Content-Length: 5\r\n"] {
            let head = format!(
                "POST /sim/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\nhello"
            );
            let response = response_to(&proxy, &head);
            assert!(response.contains("HTTP/1.1 413 ") && response.contains("body_too_large"), "{response}");
        }
    }
    // The clients have left.
    for _ in 0..20 {
        assert_eq!(proxy.health().status, 200);
    }
    assert!(proxy.is_running());
    assert_eq!(sim.azure.requests().len(), 0);
}

#[test]
#[ignore = "for the build with tiny_http: make it-tiny_http"]
fn suspicious_framing_is_refused_together_with_what_follows() {
    let (proxy, sim) = start();
    for (status, head) in [
        (400, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        (400, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        (400, "Content-Length: 5\r\nContent-Length: 6\r\n"),
        (400, "Content-Length: +5\r\n"),
        (400, "Content-Length: five\r\n"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        (501, "Transfer-Encoding: gzip, chunked\r\n"),
        (400, "Transfer-Encoding: identity\r\n"),
        (400, "Host: y\r\n"),
    ] {
        let body = "0\r\n\r\n";
        let smuggled = "GET /sim/echo?smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let response = response_to(
            &proxy,
            &format!("POST /sim/echo HTTP/1.1\r\nHost: localhost\r\n{head}\r\n{body}{smuggled}"),
        );
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {response}");
        assert!(response.contains("connection: close\r\n"), "{head}: {response}");
        assert!(!response.contains("HTTP/1.1 200"), "{head}: {response}");
    }
    assert_eq!(sim.azure.requests().len(), 0);
}

#[test]
#[ignore = "for the build with tiny_http: make it-tiny_http"]
fn strange_heads_are_refused() {
    let (proxy, sim) = start();
    for (status, request) in [
        ("400", "GET /\n/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("400", "GET //evil HTTP/1.1\r\n\r\n"),
        ("400", "GET http://evil.test/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("400", "GET @evil.test/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: localhost\r\nA: b\nc: d\r\n\r\n"),
        ("501", "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n"),
        ("505", "GET / HTTP/0.9\r\nHost: localhost\r\n\r\n"),
        ("505", "GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"),
        (
            "501",
            "GET /sim/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
    ] {
        let response = response_to(&proxy, request);
        assert_eq!(response.get(9..12), Some(status), "{request}: {response}");
    }
    let many = "X: y\r\n".repeat(200);
    assert!(
        response_to(&proxy, &format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n")).contains(" 431 ")
    );
    assert_eq!(sim.azure.requests().len(), 0);
}

/// Whatever their framing: tiny_http's own decoder takes `5` and a bare LF for a size, and a body that breaks off within a
/// chunk for a whole one.
#[test]
#[ignore = "for the build with tiny_http: make it-tiny_http"]
fn chunked_bodies_are_refused_together_with_what_follows() {
    let (proxy, sim) = start();
    let head = "POST /sim/upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let smuggled = "GET /sim/echo?smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "5\n\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\nxyz\r\n",
        "5\r\nhello0\r\n\r\n",
        "0\r\nTrailer: 1\r\n\r\n",
        "400\r\nonly so much",
    ] {
        let response = response_to(&proxy, &format!("{head}{body}{smuggled}"));
        assert!(response.starts_with("HTTP/1.1 411 "), "{body:?}: {response}");
        assert!(response.contains("connection: close\r\n"), "{body:?}: {response}");
        assert!(!response.contains("HTTP/1.1 200"), "{body:?}: {response}");
    }
    assert_eq!(sim.azure.requests().len(), 0);
}

#[test]
#[ignore = "for the build with tiny_http: make it-tiny_http"]
fn it_survives_running_out_of_descriptors() {
    let (proxy, _sim) = start();
    let pid = Pid::from_raw(i32::try_from(proxy.pid()).unwrap());
    let hard = getrlimit(Resource::Nofile).maximum;
    let usual = Rlimit { current: hard, maximum: hard };
    for spare in 1..=4 {
        let before = proxy.log().len();
        let tight = Rlimit { current: Some(proxy.fds() as u64 + spare), maximum: hard };
        prlimit(pid, Resource::Nofile, tight).unwrap();
        let connections: Vec<Raw> = (0..10).map(|_| Raw::connect(proxy.address())).collect();
        wait_for("its accept thread to end, with an error or for want of a duplicate", || {
            let ended = |line: &String| line.contains("cannot accept") || line.contains("panicked");
            proxy.log()[before..].iter().any(ended)
        });
        prlimit(pid, Resource::Nofile, usual).unwrap();
        drop(connections);
        wait_for("a new server", || proxy.log()[before..].iter().any(|line| line.contains("was replaced")));
        proxy.wait_healthy();
    }
}

#[test]
#[ignore = "for the build with tiny_http: make it-tiny_http"]
fn requests_above_the_cap_get_503_and_health_gets_200() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start_with(&sim, &[("MAX_CONNECTIONS", "2")]);
    let mut streams: Vec<Client> = (0..2).map(|_| proxy.client()).collect();
    for stream in &mut streams {
        stream.send("GET", "/sim/sse?events=1000&pause_ms=50", &[], b"").unwrap();
        assert!(!stream.raw.read_some(timeout()).unwrap().is_empty());
    }
    let mut client = proxy.client();
    let refused = client.get("/sim/echo");
    assert_eq!((refused.status, refused.header("retry-after").as_deref()), (503, Some("1")));
    assert_eq!(client.get("/health").status, 200);
    drop(streams);
    wait_for("a free connection", || proxy.client().get("/sim/echo").status == 200);
}

#[test]
#[ignore = "for the build with tiny_http: make it-tiny_http"]
fn pipelined_responses_come_in_order() {
    let (proxy, _sim) = start();
    let mut client = proxy.client();
    let mut requests = Vec::new();
    for number in 0..20 {
        let body = "x".repeat(number);
        let length = body.len();
        write!(
            requests,
            "POST /sim/echo?n={number} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
    }
    client.raw.send(requests).unwrap();
    for number in 0..20 {
        let seen = client.response("POST").unwrap().json();
        assert_eq!(seen["target"], format!("/sim/echo?n={number}"));
    }
}

#[test]
#[ignore = "for the build with tiny_http: make it-tiny_http"]
fn stopping_lets_a_stream_finish_and_refuses_new_connections() {
    let (mut proxy, _sim) = start();
    let mut stream = proxy.client();
    stream.send("GET", "/sim/sse?events=10&pause_ms=50", &[], b"").unwrap();
    let begin = stream.raw.read_some(timeout()).unwrap();
    assert!(begin.starts_with(b"HTTP/1.1 200 "));
    proxy.signal("TERM");
    wait_for("a closed port", || std::net::TcpStream::connect(proxy.address()).is_err());
    let (rest, _) = stream.raw.read_to_end(timeout());
    assert!(rest.ends_with(b"0\r\n\r\n"), "the stream broke off");
    assert!(proxy.wait_exit().success());
}

#[test]
#[ignore = "for the build with tiny_http: make it-tiny_http"]
fn an_upload_that_breaks_off_never_looks_complete() {
    let (proxy, sim) = start();
    for (sent, reset) in [(3000, false), (3000, true), (100_000, false), (100_000, true)] {
        let mut raw = Raw::connect(proxy.address());
        let path = format!("/sim/upload/{sent}/{reset}");
        raw.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n"))
            .unwrap();
        raw.send(pattern(0, sent)).unwrap();
        // The upstream has begun to read it.
        sim.azure.request_to(&path);
        if reset {
            raw.reset()
        } else {
            drop(raw)
        }
        let seen = sim.azure.finished_request_to(&path);
        assert_eq!(seen.body_end, BodyEnd::Truncated, "{sent} bytes, reset: {reset}");
    }
    assert!(proxy.health().status == 200);
}

#[test]
#[ignore = "for the build with tiny_http: make it-tiny_http"]
fn a_response_that_breaks_off_never_looks_complete() {
    let (proxy, sim) = start();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly so much";
    sim.azure.raw(head);
    let mut client = proxy.client();
    client.send("GET", "/broken", &[], b"").unwrap();
    // The connection stays open: the client waits for the rest.
    let (seen, ended) = client.raw.read_to_end(Duration::from_millis(1000));
    assert!(seen.ends_with(b"\r\n\r\nonly so much"));
    assert_eq!(ended, Ended::Waiting);
}

#[test]
#[ignore = "for the build with tiny_http: make it-tiny_http"]
fn a_unix_socket_is_refused() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let finished = run_to_end(&[], environment(&sim, &[("HOST", "unix:/tmp/proxy.sock")]));
    assert_eq!(finished.status.code(), Some(4), "{}", finished.stderr);
    let expected =
        "error: HOST=unix:/tmp/proxy.sock is not possible in a build with --features tiny_http\n  hint: ";
    assert!(finished.stderr.contains(expected), "{}", finished.stderr);
}

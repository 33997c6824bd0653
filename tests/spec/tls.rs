//! TLS towards clients:
//!
//! - what holds over TCP holds over TLS: requests, streams, uploads, WebSockets, cancellation, limits, overload, shutdown;
//! - an end in order says close_notify, a truncated response does not;
//! - a replaced certificate is for new connections, and costs none;
//! - with `TLS_CLIENT_CA_FILE` nobody gets a request through without a certificate of those authorities;
//! - plain HTTP gets a response that says so; a handshake that does not end is broken off;
//! - `healthcheck` and `wait` ask in the same way.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sim::{
    Options, ScriptedResponse, Sim, Step, issued, latin1, material, other_authority_and_server, timeout,
    wait_for,
};
use crate::support::client::{Client, Ended, Raw};
use crate::support::fixture::{Fixture, error_code};
use crate::support::load::both_ways_through;
use crate::support::program::{Proxy, environment, run_to_end};
use crate::support::tunnel::TunnelFixture;

/// Files of a test, which go with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        Self(crate::sim::temp_dir("auth-proxy-tls"))
    }

    fn put(&self, name: &str, content: &str) -> String {
        // In one step, as everybody should.
        let (path, beside) = (self.0.join(name), self.0.join("new"));
        std::fs::write(&beside, content).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A proxy with TLS on both sides or on the client's alone, with these variables besides.
fn start(azure_tls: bool, variables: &[(&str, &str)]) -> (Fixture, Directory) {
    let directory = Directory::new();
    let pem = directory.put("tls.pem", &material().server);
    let tls = [("TLS_CERT_FILE", pem.as_str()), ("TLS_KEY_FILE", &pem)];
    (Fixture::with(azure_tls, &[&tls[..], variables].concat()), directory)
}

#[test]
fn requests_are_served_one_after_the_other() {
    let (fixture, _files) = start(true, &[]);
    let mut client = fixture.client();
    for number in 0..3 {
        let response = client.request("POST", &format!("/sim/echo?n={number}"), &[], b"body");
        assert_eq!((response.status, response.json()["body"].as_str()), (200, Some("body")));
    }
    assert_eq!(client.request("HEAD", "/sim/status/200", &[], b"").status, 200);
    // Two at once: the second is in the session when the socket has nothing more.
    client
        .raw
        .send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /sim/status/204 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert_eq!((client.response("GET").unwrap().status, client.response("GET").unwrap().status), (200, 204));
}

#[test]
fn a_location_leads_back_to_https() {
    let (fixture, _files) = start(false, &[("REWRITE_LOCATION", "true")]);
    let location = format!("{}/openai/next?x=1", fixture.sim.azure_url());
    let head = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    fixture.sim.azure.script([ScriptedResponse::steps([Step::Write(head.into_bytes()), Step::KeepAlive])]);
    let response = fixture.client().get("/openai/v1/x");
    assert_eq!(response.header("location").as_deref(), Some("https://localhost/openai/next?x=1"));
}

#[test]
fn each_event_of_a_stream_arrives_when_it_is_sent() {
    let (fixture, _files) = start(true, &[]);
    let response = fixture.client().get("/sim/sse?events=4&pause_ms=300");
    assert_eq!((response.status, response.fault.as_deref()), (200, None));
    let (first, last) = (response.arrivals[0].0, response.arrivals.last().unwrap().0);
    assert!(last - first > Duration::from_millis(500), "{:?}", last - first);
}

#[test]
fn bodies_of_100_mib_go_both_ways_in_constant_memory() {
    let (fixture, _files) = start(true, &[]);
    both_ways_through(&fixture, 100 << 20);
}

/// Little records, more than one of which a read of the socket takes.
#[test]
fn a_body_in_many_small_records_is_not_waited_for_at_the_socket() {
    let (fixture, _files) = start(false, &[]);
    for framing in ["Content-Length: 2000", "Transfer-Encoding: chunked"] {
        let mut client = fixture.client();
        client
            .raw
            .send(format!("POST /sim/upload HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n"))
            .unwrap();
        let Raw::Tls(stream) = &mut client.raw else { panic!("it is TLS") };
        let is_chunked = framing.starts_with('T');
        for _ in 0..1000 {
            // Into the session only: each is a record of its own, and all leave with the flush.
            let piece: &[u8] = if is_chunked { b"2\r\nab\r\n" } else { b"ab" };
            stream.conn.writer().write_all(piece).unwrap();
        }
        if is_chunked {
            stream.conn.writer().write_all(b"0\r\n\r\n").unwrap();
        }
        stream.flush().unwrap();
        assert_eq!(client.response("POST").unwrap().json()["bytes"], 2000, "{framing}");
    }
}

#[test]
fn a_client_that_leaves_ends_the_request_to_the_upstream() {
    let (fixture, _files) = start(true, &[]);
    for target in ["/sim/slow?ms=60000", "/sim/sse?events=100000&pause_ms=20"] {
        fixture.seen();
        let mut client = fixture.client();
        client.send("GET", target, &[], b"").unwrap();
        fixture.sim.azure.request_to(target.split('?').next().unwrap());
        let left = Instant::now();
        drop(client);
        let closed = fixture.sim.azure.log().wait("closing", |all| all.first()?.peer_closed);
        assert!(closed - left < Duration::from_secs(3), "{target}: {:?}", closed - left);
    }
}

#[test]
fn a_complete_response_ends_with_close_notify_and_a_truncated_one_does_not() {
    let (fixture, _files) = start(false, &[]);
    for request in [
        "GET /sim/status/200 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        // Its body ends with the connection.
        "GET /sim/bytes/100000?chunked=1 HTTP/1.0\r\n\r\n",
        "no request\r\n\r\n",
    ] {
        let mut client = fixture.proxy.raw();
        client.send(request).unwrap();
        assert_eq!(client.read_to_end(timeout()).1, Ended::Closed, "{request}");
    }
    let truncated = |framing: &str, body: &str| {
        let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}");
        ScriptedResponse::steps([
            Step::Write(head.into_bytes()),
            Step::Pause(Duration::from_millis(200)),
            Step::Reset,
        ])
    };
    for version in ["1.0", "1.1"] {
        for (framing, body) in
            [("Content-Length: 100", "part"), ("Transfer-Encoding: chunked", "4\r\npart\r\n")]
        {
            fixture.sim.azure.script([truncated(framing, body)]);
            let mut client = fixture.proxy.raw();
            client.send(format!("GET /openai/v1/x HTTP/{version}\r\nHost: localhost\r\n\r\n")).unwrap();
            let (response, ended) = client.read_to_end(timeout());
            assert!(latin1(&response).contains("part"), "{}", latin1(&response));
            assert_eq!(ended, Ended::Aborted, "{version} {framing}");
        }
    }
}

#[test]
fn websockets_go_both_ways_and_end_one_way_at_a_time() {
    let directory = Directory::new();
    let pem = directory.put("tls.pem", &material().server);
    for upstream_tls in [false, true] {
        let fixture =
            TunnelFixture::start_with(upstream_tls, &[("TLS_CERT_FILE", &pem), ("TLS_KEY_FILE", &pem)]);
        let (mut client, mut there) = fixture.open();
        let message = vec![b'm'; 100_000];
        for _ in 0..20 {
            client.send(&message).unwrap();
            assert!(there.read_exactly(message.len()) == message);
            there.send(&message).unwrap();
            assert!(client.read_exactly(message.len()) == message);
        }
        client.end();
        assert_eq!(there.read_to_end(timeout()).1, Ended::Closed);
        // The other direction is still open.
        there.send(b"last words").unwrap();
        assert_eq!(client.read_exactly(10), b"last words");
        there.end();
        assert_eq!(client.read_to_end(timeout()), (Vec::new(), Ended::Closed));
    }
}

#[test]
fn requests_in_flight_finish_after_sigterm_and_idle_connections_end_in_order() {
    let (mut fixture, _files) = start(true, &[("SHUTDOWN_GRACE", "20s")]);
    let (mut idle, mut stream) = (fixture.client(), fixture.proxy.raw());
    assert_eq!(idle.get("/health").status, 200);
    stream.send("GET /sim/sse?events=8&pause_ms=150 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(!stream.read_some(timeout()).unwrap().is_empty());
    // One that is in the middle of its handshake does not hold it up.
    let _silent = TcpStream::connect(fixture.proxy.address()).unwrap();
    fixture.proxy.signal("TERM");
    assert_eq!(idle.raw.read_to_end(timeout()), (Vec::new(), Ended::Closed));
    let (rest, ended) = stream.read_to_end(timeout());
    assert!(rest.ends_with(b"0\r\n\r\n"));
    assert_eq!(ended, Ended::Closed);
    assert_eq!(fixture.proxy.wait_exit().code(), Some(0));
}

#[test]
fn above_the_cap_there_is_503_and_health_over_tls_too() {
    let (fixture, _files) = start(false, &[("MAX_CONNECTIONS", "1")]);
    let mut busy = fixture.client();
    wait_for("the only place", || {
        busy.try_get("/sim/status/200").is_some_and(|response| response.status == 200) || {
            busy = fixture.client();
            false
        }
    });
    // Silent ones, that have no handshake behind them, do not hide it.
    let silent: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(fixture.proxy.address()).unwrap()).collect();
    for _ in 0..10 {
        let refused = fixture.client().get("/sim/status/200");
        assert_eq!((refused.status, error_code(&refused).as_str()), (503, "overloaded"));
        assert_eq!(fixture.client().get("/health").status, 200);
    }
    assert_eq!(busy.get("/sim/status/200").status, 200);
    let mut plain = Client::connect(fixture.proxy.address());
    assert_eq!(error_code(&plain.get("/health")), "tls_required");
    drop(silent);
}

#[test]
fn plain_http_gets_a_response_that_says_so() {
    let (fixture, _files) = start(false, &[]);
    for request in [
        "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "G",
        "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n",
    ] {
        let mut client = Client::connect(fixture.proxy.address());
        client.raw.send(request).unwrap();
        let response = client.response("GET").unwrap();
        assert_eq!((response.status, error_code(&response).as_str()), (400, "tls_required"));
        assert!(response.text().contains("use https://"), "{}", response.text());
        assert_eq!(client.raw.read_to_end(timeout()).1, Ended::Closed);
    }
    assert!(fixture.proxy.wait_log("request refused").contains("code=tls_required"));
}

/// Both at once, because it takes as long as a head may take.
#[test]
fn a_handshake_that_does_not_end_is_broken_off_in_time() {
    let (fixture, _files) = start(false, &[("ADMIN_PORT", "0")]);
    let mut silent = Raw::connect(fixture.proxy.address());
    let mut drip = TcpStream::connect(fixture.proxy.address()).unwrap();
    let dripping = std::thread::spawn(move || {
        // A record of 500 bytes, one at a time; the last of them would take minutes.
        let start = Instant::now();
        drip.write_all(&[0x16, 3, 1, 1, 0xf4, 1, 0, 1, 0xf0]).unwrap();
        while drip.write_all(&[0]).is_ok() {
            assert!(start.elapsed() < timeout(), "it goes on");
            std::thread::sleep(Duration::from_millis(300));
        }
        start.elapsed()
    });
    let start = Instant::now();
    assert_eq!(silent.read_to_end(timeout()).0, b"");
    assert!((8..15).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert!(dripping.join().unwrap() < Duration::from_secs(20));
    wait_for("both to be counted", || {
        fixture
            .proxy
            .admin("/metrics")
            .text()
            .contains("auth_proxy_tls_handshake_failures_total{reason=\"timeout\"} 2")
    });
    assert!(fixture.proxy.wait_log("TLS handshake failed").contains("reason=timeout"));
    assert_eq!(fixture.client().get("/health").status, 200);
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_logged_with_what_to_do() {
    let (fixture, _files) = start(false, &[]);
    let (other, _) = other_authority_and_server();
    let mut client = Raw::connect(fixture.proxy.address()).into_tls("localhost", &other);
    assert!(client.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").is_err());
    let line = fixture.proxy.wait_log("TLS handshake failed");
    for part in ["reason=certificate_rejected", "UnknownCA", "client=127.0.0.1:", "TLS_CERT_FILE"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // A port check is no failure.
    drop(TcpStream::connect(fixture.proxy.address()).unwrap());
    assert_eq!(fixture.client().get("/health").status, 200);
    let failures = fixture.proxy.log().iter().filter(|line| line.contains("TLS handshake failed")).count();
    assert_eq!(failures, 1);
}

/// The status that a client with this certificate gets; none when it gets no further than the handshake.
fn status_of(proxy: &Proxy, identity: Option<&str>) -> Option<u16> {
    let raw = Raw::connect(proxy.address()).into_tls_as("localhost", &material().ca, identity);
    let mut client = Client::new(raw);
    client.try_get("/sim/status/204").map(|response| response.status)
}

#[test]
fn only_clients_with_a_certificate_of_the_authority_get_through() {
    let directory = Directory::new();
    let pem = directory.put("tls.pem", &material().server);
    let ca = directory.put("ca.pem", &material().ca);
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let variables = [
        ("TLS_CERT_FILE", pem.as_str()),
        ("TLS_KEY_FILE", &pem),
        ("TLS_CLIENT_CA_FILE", &ca),
        ("ADMIN_PORT", "0"),
        ("HOST", "0.0.0.0"),
        ("ADMIN_HOST", "127.0.0.1"),
    ];
    let proxy = Proxy::start_listening(&sim, &variables);
    wait_for("readiness", || proxy.admin("/readyz").status == 200);
    let caller = issued("/CN=billing", true, false);
    assert_eq!(status_of(&proxy, Some(&caller)), Some(204));
    assert!(!proxy.log().iter().any(|line| line.contains("listening beyond loopback")));
    let (_, other) = other_authority_and_server();
    for (identity, reason) in [
        (None, "no_client_certificate"),
        (Some(other), "untrusted_client"),
        (Some(issued("/CN=late", true, true)), "untrusted_client"),
        // For servers alone is what it says of itself.
        (Some(material().server.clone()), "untrusted_client"),
    ] {
        assert_eq!(status_of(&proxy, identity.as_deref()), None, "{reason}");
        wait_for(reason, || {
            // One line a second.
            let _ = status_of(&proxy, identity.as_deref());
            proxy.log().iter().any(|line| line.contains("TLS handshake failed") && line.contains(reason))
        });
    }
    assert_eq!(sim.azure.requests().len(), 1, "nothing of the others was forwarded");
    let page = proxy.admin("/metrics").text();
    for reason in ["no_client_certificate", "untrusted_client"] {
        assert!(!page.contains(&format!("handshake_failures_total{{reason=\"{reason}\"}} 0")), "{page}");
    }

    // Another authority: those of the old one are turned away, also with a session that they could resume.
    let (authority, server) = other_authority_and_server();
    directory.put("ca.pem", &authority);
    wait_for("the old authority to be forgotten", || status_of(&proxy, Some(&caller)).is_none());
    drop(server);
}

#[test]
fn a_replaced_certificate_costs_no_connection_under_load() {
    let directory = Directory::new();
    let (mut first, second) = (material().server.clone(), issued("/CN=localhost", false, false));
    first.push('\n');
    let (certificate, key) = (directory.put("tls.crt", &first), directory.put("tls.key", &first));
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start_with(
        &sim,
        &[("TLS_CERT_FILE", &certificate), ("TLS_KEY_FILE", &key), ("LOG_LEVEL", "info")],
    );
    let mut established = proxy.client();
    assert_eq!(established.get("/health").status, 200);
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut next = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    // A new connection each time, 50 a second of each thread.
                    let response = proxy.client().get("/sim/status/204");
                    assert_eq!((response.status, response.fault), (204, None));
                    served.fetch_add(1, Ordering::Relaxed);
                    next += Duration::from_millis(20);
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        let rotated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let changes = |count: usize, text: &str| {
                wait_for(text, || proxy.log().iter().filter(|line| line.contains(text)).count() == count);
            };
            // First half of the pair, then the other.
            directory.put("tls.crt", &second);
            changes(1, "is not the key of the first certificate");
            directory.put("tls.key", &second);
            changes(1, "changed; using them");
            directory.put("tls.key", &first);
            directory.put("tls.crt", &first);
            changes(2, "changed; using them");
        }));
        stop.store(true, Ordering::Relaxed);
        rotated.unwrap();
    });
    let (served, seconds) = (served.into_inner(), start.elapsed().as_secs_f64());
    eprintln!("{served} new connections in {seconds:.1} s, none failed");
    assert!(served > 100);
    assert_eq!(established.get("/health").status, 200, "an established connection goes on");
}

#[test]
fn healthcheck_and_wait_ask_in_the_same_way() {
    let directory = Directory::new();
    let pem = directory.put("tls.pem", &material().server);
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let free = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port().to_string()
    };
    let (port, admin_port) = (free(), free());
    let tls = [("TLS_CERT_FILE", pem.as_str()), ("TLS_KEY_FILE", &pem), ("PORT", &port)];
    let run = |command: &str, variables: &[(&str, &str)]| {
        let ended = run_to_end(&[command], environment(&sim, variables));
        (ended.status.code(), ended.stderr)
    };
    let proxy = Proxy::start_with(&sim, &tls);
    assert_eq!(run("healthcheck", &tls), (Some(0), String::new()));
    assert_eq!(run("wait", &tls).0, Some(0));
    let (code, said) = run("healthcheck", &[("PORT", &port)]);
    assert_eq!(code, Some(1));
    assert!(said.contains("speaks TLS") && said.contains("TLS_CERT_FILE"), "{said}");
    let other = directory.put("other.pem", &issued("/CN=localhost", false, false));
    let (code, said) =
        run("healthcheck", &[("TLS_CERT_FILE", &other), ("TLS_KEY_FILE", &other), ("PORT", &port)]);
    assert_eq!(code, Some(1));
    assert!(said.contains("another certificate than TLS_CERT_FILE"), "{said}");
    // The program goes on with the previous pair, so it is healthy: who restarted it would end it.
    for (text, wrong) in
        [("nothing of use", "holds no certificate"), (&*material().ca, "holds no private key")]
    {
        directory.put("tls.pem", text);
        proxy.wait_log(wrong);
        assert_eq!(run("healthcheck", &tls), (Some(0), String::new()), "{wrong}");
    }
    drop(proxy);
    let (code, said) = run("healthcheck", &tls);
    assert!(
        code == Some(1) && said.contains("holds no private key"),
        "who is not there may lack them: {said}"
    );
    directory.put("tls.pem", &material().server);

    let ca = directory.put("ca.pem", &material().ca);
    let mutual = [&tls[..], &[("TLS_CLIENT_CA_FILE", &ca)]].concat();
    let (code, said) = run("healthcheck", &mutual);
    assert_eq!(code, Some(1));
    assert!(said.contains("hint: set ADMIN_PORT"), "{said}");
    let mutual = [&mutual[..], &[("ADMIN_PORT", &admin_port)]].concat();
    let proxy = Proxy::start_listening(&sim, &mutual);
    assert_eq!(run("wait", &mutual), (Some(0), String::new()));
    assert_eq!(run("healthcheck", &mutual), (Some(0), String::new()));
    drop(proxy);
}

#[test]
fn files_that_cannot_be_used_end_the_start() {
    let directory = Directory::new();
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let good = directory.put("good.pem", &material().server);
    let other = directory.put("other.pem", &issued("/CN=localhost", false, false));
    let expired = directory.put("expired.pem", &material().expired);
    let empty = directory.put("empty.pem", "");
    let missing = directory.0.join("missing.pem").to_str().unwrap().to_owned();
    type Row<'a> = (&'a [(&'a str, &'a str)], i32, &'a str);
    let rows: [Row<'_>; 6] = [
        (&[("TLS_CERT_FILE", &good)], 2, "TLS_CERT_FILE is set, but TLS_KEY_FILE is not"),
        (&[("TLS_CLIENT_CA_FILE", &good)], 2, "TLS_CLIENT_CA_FILE is set, but TLS_CERT_FILE is not"),
        (&[("TLS_CERT_FILE", &good), ("TLS_KEY_FILE", &other)], 3, "is not the key of the first certificate"),
        (&[("TLS_CERT_FILE", &missing), ("TLS_KEY_FILE", &good)], 3, "missing.pem does not exist"),
        (&[("TLS_CERT_FILE", &good), ("TLS_KEY_FILE", &empty)], 3, "empty.pem is empty"),
        (
            &[("TLS_CERT_FILE", &good), ("TLS_KEY_FILE", &good), ("TLS_CLIENT_CA_FILE", &empty)],
            3,
            "empty.pem is empty",
        ),
    ];
    for (variables, code, expected) in rows {
        let ended = run_to_end(&[], environment(&sim, variables));
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(expected) && ended.stderr.contains("hint: "), "{}", ended.stderr);
        let checked = run_to_end(&["check"], environment(&sim, variables));
        assert!(checked.stdout.contains(expected), "{}{}", checked.stdout, checked.stderr);
    }
    let variables = [("TLS_CERT_FILE", expired.as_str()), ("TLS_KEY_FILE", &expired), ("ADMIN_PORT", "0")];
    let proxy = Proxy::start_listening(&sim, &variables);
    proxy.wait_log("the certificate in TLS_CERT_FILE has expired");
    let page = proxy.admin("/metrics").text();
    // 2020-01-01 and 2021-01-01.
    for (end, unix) in [("not_before", 1_577_836_800), ("expiry", 1_609_459_200)] {
        let sample = format!("auth_proxy_tls_certificate_{end}_timestamp_seconds {unix}\n");
        assert!(page.contains(&sample), "{page}");
    }
    let status = proxy.admin("/").text();
    assert!(status.contains("2021-01-01T00:00:00Z, expired"), "{status}");
}

/// A client that nobody here has written.
#[test]
fn curl_is_served_in_both_versions() {
    if !Path::new("/usr/bin/curl").exists() {
        eprintln!("  there is no curl here");
        return;
    }
    let (fixture, directory) = start(false, &[]);
    let ca = directory.put("ca.pem", &material().ca);
    let url = format!("https://localhost:{}/health", fixture.proxy.address().port());
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let mut command = Command::new("curl");
        command.args(["-sS", "--http2", "--max-time", "20", "--cacert", &ca]).args(version).arg(&url);
        let output = command.output().unwrap();
        assert_eq!(latin1(&output.stdout), r#"{"status":"ok"}"#, "{}", latin1(&output.stderr));
    }
}

//! Nothing that a peer sends is collected without a bound: every state in which bytes are taken in and nothing comes out, at
//! each of the four peers, with a peer that sends without end, or one byte at a time. Memory stays, the error is a definite
//! one, and where the first bytes are wrong already it comes at once.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::sim::{Options, ScriptedResponse, Sim, Step, latin1, timeout, wait_for};
use crate::support::client::Raw;
use crate::support::program::Proxy;

/// Far more than any limit, and than what sockets on the way may hold.
const ENDLESS: usize = 8 << 20;
/// What a test may add to the program's memory.
const ONE_MEGABYTE: u64 = 1024;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const POST: &str = "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A state that a client can put us in.
struct EndlessState {
    name: &'static str,
    /// What leads there.
    before: String,
    /// What then comes without end.
    feed: &'static str,
    status: u16,
    /// How much of the feed is enough, where its first bytes are wrong already.
    enough: Option<usize>,
}

fn states() -> Vec<EndlessState> {
    let state = |name, before: &str, feed, status, enough| EndlessState {
        name,
        before: before.into(),
        feed,
        status,
        enough,
    };
    let head = "GET / HTTP/1.1\r\nHost: localhost\r\n";
    vec![
        state("empty lines before a request", "", "\r\n", 400, None),
        state("a method without an end", "", "x", 400, None),
        state("no method", "", "\0", 400, Some(1)),
        state("a PROXY protocol header", "", "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", 400, Some(6)),
        state("a banner of another protocol", "SSH-2.0-OpenSSH_9.2p1\r\n", "x", 400, Some(0)),
        state("a target without an end", "GET /", "x", 414, None),
        state("a version without an end", "GET / HTTP/1.1", "x", 400, Some(20)),
        state("a field name without an end", head, "x", 431, None),
        state("a value without an end", &format!("{head}X: "), "x", 431, None),
        state("fields without an end", head, "X: y\r\n", 431, None),
        state("lines that are no fields", head, "garbage\r\n", 400, Some(9)),
        state("a chunk size without an end", POST, "0", 400, Some(17)),
        state("a chunk size that is none", POST, "x", 400, Some(1)),
        state("an extension without an end", &format!("{POST}5;"), "x", 400, None),
        state("white srate without an end", &format!("{POST}5"), " ", 400, None),
        state("a chunk that is longer than its size", &format!("{POST}5\r\nABCDE"), "X", 400, Some(2)),
        state("trailers without an end", &format!("{POST}5\r\nABCDE\r\n0\r\n"), "X: y\r\n", 400, None),
        state("a trailer without an end", &format!("{POST}0\r\n"), "x", 400, None),
        state("trailers that are none", &format!("{POST}0\r\n"), "garbage\r\n", 400, Some(9)),
        state(
            "trailers after a refusal",
            &format!("{}0\r\n", POST.replace("/x", "/x#y")),
            "X: y\r\n",
            400,
            Some(0),
        ),
    ]
}

/// How the feed comes.
#[derive(Clone, Copy, Debug)]
enum Rate {
    Flood,
    /// Byte by byte, as much as it takes.
    Bytes,
}

/// The status of the response that comes although the client goes on sending.
fn status(proxy: &Proxy, state: &EndlessState, rate: Rate) -> u16 {
    let mut client = Raw::connect(proxy.address());
    client.send(&state.before).unwrap();
    let feed: Vec<u8> = match state.enough {
        Some(enough) => state.feed.bytes().cycle().take(enough).collect(),
        None if matches!(rate, Rate::Bytes) => state.feed.bytes().cycle().take(70_000).collect(),
        None => state.feed.repeat(ENDLESS / state.feed.len()).into_bytes(),
    };
    let socket = client.socket();
    socket.set_write_timeout(Some(timeout())).unwrap();
    let pieces = if matches!(rate, Rate::Bytes) { 1 } else { 64 * 1024 };
    for piece in feed.chunks(pieces) {
        match { socket }.write_all(piece) {
            Ok(()) => {}
            // It was refused long ago.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => break,
            Err(error) => panic!("{}: {error}", state.name),
        }
    }
    // A reset may follow: the client has not stopped sending.
    let (response, _) = client.read_to_end(timeout());
    let head = latin1(&response);
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Runs it twice, the second time with an eye on the memory.
fn within_a_megabyte(proxy: &Proxy, mut run: impl FnMut()) {
    run();
    let before = proxy.rss_kb();
    proxy.reset_peak_rss();
    run();
    let peak = proxy.peak_rss_kb();
    assert!(peak < before + ONE_MEGABYTE, "{before} KB before, {peak} KB at most");
}

#[test]
fn a_client_that_sends_without_end_gets_an_error_and_takes_no_memory() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start(&sim);
    for rate in [Rate::Flood, Rate::Bytes] {
        for state in states() {
            within_a_megabyte(&proxy, || {
                let found = status(&proxy, &state, rate);
                // What comes after a definite error may destroy it on its way; no other one takes its place.
                let lost = found == 0 && state.enough.is_none();
                assert!(found == state.status || lost, "{}: {found} ({rate:?})", state.name);
            });
        }
        assert_eq!(proxy.health().status, 200);
    }
}

#[test]
fn a_client_above_the_cap_that_sends_without_end_takes_no_memory() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start_with(&sim, &[("MAX_CONNECTIONS", "1")]);
    // The fixture's own connection may be there a moment longer.
    let mut first = None;
    wait_for("the one connection", || {
        let mut client = proxy.client();
        let is_served = client.get("/sim/echo").status == 200;
        first = Some(client).filter(|_| is_served);
        is_served
    });
    let mut first = first.unwrap();
    within_a_megabyte(&proxy, || {
        for state in states() {
            let found = status(&proxy, &state, Rate::Flood);
            assert!([0, 400, 503].contains(&found), "{}: {found}", state.name);
            assert_eq!(proxy.health().status, 200, "{}", state.name);
        }
    });
    assert_eq!(first.get("/sim/echo").status, 200);
}

/// What a server may send without end in place of a response.
fn responses() -> Vec<(&'static str, &'static str, &'static str)> {
    vec![
        ("garbage", "", "x"),
        ("empty lines", "", "\r\n"),
        ("a status line without an end", "HTTP/1.1 200 ", "x"),
        ("fields", "HTTP/1.1 200 OK\r\n", "X: y\r\n"),
        ("a value", "HTTP/1.1 200 OK\r\nX: ", "x"),
        ("1xx responses", "", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("a field of a 1xx response", "HTTP/1.1 103 Early Hints\r\nX: ", "x"),
        ("a chunk size", CHUNKED, "0"),
        ("a chunk extension", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", "x"),
        ("trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n"),
    ]
}

fn endless(before: &str, feed: &str, piece: usize) -> ScriptedResponse {
    let repeated = feed.repeat(piece.div_ceil(feed.len()));
    let count = (ENDLESS / repeated.len()) as u64;
    // In one write: a head that comes alone is passed on before anything is known of its body.
    let first = Step::Write(format!("{before}{repeated}").into_bytes());
    ScriptedResponse::steps([first, Step::Repeat(repeated.into_bytes(), count), Step::WaitForPeerClose])
}

#[test]
fn an_upstream_that_sends_without_end_is_a_502_and_takes_no_memory() {
    for azure_tls in [false, true] {
        let sim = Sim::start(Options { azure_tls, ..Options::default() });
        let proxy = Proxy::start(&sim);
        for (name, before, feed) in responses() {
            for method in ["GET", "POST"] {
                // An early success asks for the rest of the request's body.
                if method == "POST" && before.starts_with(CHUNKED) {
                    continue;
                }
                within_a_megabyte(&proxy, || {
                    // To a POST it comes while the body is being sent.
                    let response = endless(before, feed, 16 * 1024);
                    let early = method == "POST";
                    sim.azure.script([if early { response.early() } else { response }]);
                    let mut client = proxy.client();
                    let length = if early { "Content-Length: 100\r\n" } else { "" };
                    client
                        .raw
                        .send(format!("{method} /x HTTP/1.1\r\nHost: localhost\r\n{length}\r\n"))
                        .unwrap();
                    let found =
                        client.response(method).unwrap_or_else(|error| panic!("{name} to {method}: {error}"));
                    assert_eq!(found.status, 502, "{name} to {method}");
                });
            }
        }
        assert_eq!(proxy.client().get("/sim/echo").status, 200);
    }
}

#[test]
fn an_entra_id_that_sends_without_end_takes_no_memory() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    for (name, before, feed) in responses() {
        sim.entra.script((0..200).map(|_| endless(before, feed, 16 * 1024)));
        let proxy = Proxy::start_listening(&sim, &[]);
        proxy.wait_log("token refresh failed");
        let before = proxy.rss_kb();
        assert_eq!(proxy.health().status, 503, "{name}");
        assert!(proxy.peak_rss_kb() < before + 2 * ONE_MEGABYTE, "{name}: {} KB", proxy.peak_rss_kb());
    }
}

#[test]
fn an_egress_proxy_that_sends_without_end_is_named() {
    let sim = Sim::start(Options::default());
    for (name, sent, feed) in responses() {
        if sent.starts_with(CHUNKED) {
            continue;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || feed_endlessly(&mut stream, sent, feed));
            }
        });
        // Names that are on no loopback address go through the proxy.
        let authority = format!("entra.test:{}", sim.entra.server.port());
        let proxy =
            Proxy::start_listening(&sim, &[("HTTPS_PROXY", &url), ("AZURE_AUTHORITY_HOST", &authority)]);
        proxy.wait_log("token refresh failed");
        let health = proxy.health();
        assert_eq!(health.status, 503, "{name}");
        assert!(health.text().contains("egress proxy"), "{name}: {}", health.text());
    }
}

fn feed_endlessly(stream: &mut TcpStream, before: &str, feed: &str) {
    let _ = stream.set_write_timeout(Some(Duration::from_secs(20)));
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(before.as_bytes());
    let feed = feed.repeat(1000);
    for _ in 0..ENDLESS / feed.len() {
        if stream.write_all(feed.as_bytes()).is_err() {
            return;
        }
    }
}

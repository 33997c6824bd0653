//! Between the proxy and the upstream.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::sim::{Fault, Options, Relay, Sim, pattern, wait_for};
use crate::support::client::Response;
use crate::support::faults::{
    BlackHole, MS, endless_1xx_responses, endless_fields, garbage, oversized_head, wait_threads_end,
};
use crate::support::program::Proxy;

/// What the application gets.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// The whole response.
    Whole,
    /// An error of ours: status, code, and what the log says.
    Error(u16, &'static str, &'static str),
    /// The beginning of a response, visibly incomplete, and what the log says.
    Aborted(&'static str),
}
use Outcome::{Aborted, Error, Whole};

/// Where in the life of a connection the fault begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// No connection is open yet.
    Cold,
    /// An idle one is in the pool.
    Pooled,
}
use When::{Cold, Pooled};

struct Row {
    name: &'static str,
    fault: Fault,
    when: When,
    /// Bytes of the response.
    size: usize,
    plain: Outcome,
    tls: Outcome,
}

fn row(name: &'static str, fault: Fault, when: When, size: usize, plain: Outcome, tls: Outcome) -> Row {
    Row { name, fault, when, size, plain, tls }
}

const CLOSED: Outcome = Error(502, "upstream_closed", "localhost");
const BAD: Outcome = Error(502, "upstream_bad_response", "kind=bad_response");
const UNREACHABLE: Outcome = Error(502, "upstream_unreachable", "cannot connect to localhost");
const SILENT: Outcome = Error(504, "upstream_timeout", "no data within READ_IDLE_TIMEOUT");
const NO_CONNECTION: Outcome = Error(504, "upstream_connect_timeout", "no connection to localhost");
const BROKEN: Outcome = Aborted("aborted_by=upstream");

fn rows() -> Vec<Row> {
    vec![
        row("latency", Fault::Latency(20 * MS), Cold, 3000, Whole, Whole),
        row("slices of a byte", Fault::Slice(1, Duration::ZERO), Cold, 3000, Whole, Whole),
        row("slices of seven bytes", Fault::Slice(7, MS), Pooled, 3000, Whole, Whole),
        row("bandwidth", Fault::Bandwidth(100_000), Cold, 50_000, Whole, Whole),
        row("no end of the connection", Fault::NoClose, Cold, 3000, Whole, Whole),
        row("black hole", Fault::BlackHole, Cold, 10, SILENT, NO_CONNECTION),
        row("half-open", Fault::BlackHole, Pooled, 10, SILENT, SILENT),
        row("reset", Fault::Reset(0), Cold, 10, CLOSED, UNREACHABLE),
        row("reset of a pooled connection", Fault::Reset(0), Pooled, 10, CLOSED, CLOSED),
        row("reset in the head", Fault::Reset(30), Pooled, 10, CLOSED, CLOSED),
        row("reset in the body", Fault::Reset(100_000), Cold, 300_000, BROKEN, BROKEN),
        row("end", Fault::Truncate(0), Cold, 10, CLOSED, UNREACHABLE),
        row("end of a pooled connection", Fault::Truncate(0), Pooled, 10, CLOSED, CLOSED),
        row("end in the head", Fault::Truncate(30), Pooled, 10, CLOSED, CLOSED),
        row("end in the body", Fault::Truncate(100_000), Cold, 300_000, BROKEN, BROKEN),
        row("garbage", garbage(), Cold, 10, BAD, Error(502, "upstream_tls", "TLS handshake with localhost")),
        row("garbage on a pooled connection", garbage(), Pooled, 10, BAD, CLOSED),
        row("oversized head", oversized_head(), Pooled, 10, BAD, CLOSED),
        row("endless fields", endless_fields(), Pooled, 10, BAD, CLOSED),
        row("endless 1xx responses", endless_1xx_responses(), Pooled, 10, BAD, CLOSED),
    ]
}

#[test]
fn requests_without_tls() {
    each(false, |row| row.plain);
}

#[test]
fn requests_with_tls() {
    each(true, |row| row.tls);
}

fn each(tls: bool, expected: impl Fn(&Row) -> Outcome) {
    let sim = Sim::start(Options { entra_tls: false, azure_tls: tls, ..Options::default() });
    let relay = Relay::start(sim.azure.server.port());
    let url = format!("{}://localhost:{}", sim.azure.server.scheme(), relay.port());
    let timeouts = [("CONNECT_TIMEOUT", "1500ms"), ("READ_IDLE_TIMEOUT", "1500ms")];
    for row in rows() {
        let expected = expected(&row);
        // Where a response is expected, a slow machine shall not make it a timeout.
        let impatient = matches!(expected, Error(504, ..));
        let settings =
            [&[("API_BASE_URL", url.as_str())], &timeouts[..if impatient { 2 } else { 0 }]].concat();
        let proxy = Proxy::start_with(&sim, &settings);
        if row.when == Pooled {
            whole(&ask(&proxy, row.size), row.size);
            // The client has its response before the connection is back in the pool.
            proxy.wait_log(" request method=POST");
        }
        let threads = proxy.threads();
        relay.set(row.fault);
        let found = ask(&proxy, row.size);
        relay.set(Fault::None);
        eprintln!("  {:<40} {:?} {} {expected:?}", row.name, row.when, sim.azure.server.scheme());
        match expected {
            Whole => whole(&found, row.size),
            Error(status, code, log) => {
                assert_eq!(
                    (found.status, found.json()["error"]["code"].as_str()),
                    (status, Some(code)),
                    "{}",
                    row.name
                );
                let line = proxy.wait_log("request failed");
                assert!(line.contains(log), "{}: {line}", row.name);
            }
            Aborted(log) => {
                assert_eq!(found.status, 200, "{}", row.name);
                assert!(found.fault.is_some() && found.body.len() < row.size, "{} looks complete", row.name);
                assert!(pattern(0, row.size).starts_with(&found.body), "{}", row.name);
                let line = proxy.wait_log("aborted_by=");
                assert!(line.contains(log), "{}: {line}", row.name);
            }
        }
        // The pool is clean: the next request, which may not be repeated, is served.
        wait_for("the next request", || {
            let next = ask(&proxy, row.size);
            assert!(impatient || next.status == 200, "{}: {} afterwards", row.name, next.status);
            next.status == 200
        });
        wait_threads_end(&proxy, threads.max(8));
    }
}

/// A POST: it is not sent twice once it was sent.
fn ask(proxy: &Proxy, size: usize) -> Response {
    proxy.client().request("POST", &format!("/sim/bytes/{size}"), &[], b"body")
}

#[track_caller]
fn whole(response: &Response, size: usize) {
    assert_eq!((response.status, &response.fault), (200, &None));
    assert!(response.body == pattern(0, size), "{} bytes of {size}", response.body.len());
}

#[test]
fn a_port_that_refuses_and_then_accepts() {
    let sim = Sim::start(Options { entra_tls: false, azure_tls: false, ..Options::default() });
    let proxy = Proxy::start(&sim);
    sim.azure.stop();
    let refused = ask(&proxy, 10);
    assert_eq!(
        (refused.status, refused.json()["error"]["code"].as_str()),
        (502, Some("upstream_unreachable"))
    );
    sim.azure.restart();
    whole(&ask(&proxy, 10), 10);
}

/// Connecting takes until the token has expired: the request goes out with the one that is usable then, whatever its size.
#[test]
fn a_token_that_expires_while_connecting_costs_no_request() {
    let sim = Sim::start(Options::default());
    sim.entra.set_lifetime(2, None);
    let relay = Relay::start(sim.azure.server.port());
    let url = format!("https://localhost:{}", relay.port());
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &url)]);
    let before = proxy.health();
    assert_eq!(before.status, 200);
    relay.set(Fault::Latency(Duration::from_millis(1500)));
    let connected = sim.entra.issued().len();
    let response = proxy.client().request("POST", "/sim/echo", &[], &vec![b'x'; 100_000]);
    assert_eq!(response.status, 200);
    assert!(sim.entra.issued().len() > connected, "the token did not change meanwhile");
}

/// One address family leads nowhere: RFC 8305 has the other one tried beside it.
#[test]
fn a_silent_first_address_costs_no_share_of_the_timeout() {
    let sim = Sim::start(Options { entra_tls: false, ..Options::default() });
    let port = sim.azure.server.port();
    let _silent = BlackHole::at(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    // The resolver puts ::1 first (RFC 6724 section 2.1). Any share of this timeout is longer than a test may take.
    let base = format!("https://two.sim.test:{port}");
    let settings = [("API_BASE_URL", &*base), ("CONNECT_TIMEOUT", "10m")];
    let hosts = "127.0.0.1 localhost\n127.0.0.1 two.sim.test\n::1 two.sim.test\n";
    let Some(proxy) = Proxy::start_with_hosts(&sim, &settings, hosts) else {
        eprintln!("  not tried: no mount namespace (unshare --mount)");
        return;
    };
    whole(&ask(&proxy, 10), 10);
}

//! Between the proxy and Entra ID, from the first token on.

use std::time::Duration;

use super::{SECOND, endless_fields, endless_1xx_responses, garbage, given_back, oversized_head};
use crate::fixture::Proxy;
use crate::sim::{Fault, Options, Relay, Sim, wait_for};

/// What the log says of the first attempt; `None` when there is a token all the same.
type Expected = Option<&'static str>;

struct Row {
    name: &'static str,
    fault: Fault,
    plain: Expected,
    tls: Expected,
}

fn row(name: &'static str, fault: Fault, plain: Expected, tls: Expected) -> Row {
    Row { name, fault, plain, tls }
}

const FAILED: Expected = Some("the connection to the token endpoint failed");
const UNREACHABLE: Expected = Some("the token endpoint could not be reached");
const IN_TIME: Expected = Some("connecting to the token endpoint timed out");
const UNTRUSTED: Expected = Some("the TLS handshake with the token endpoint failed");
const SILENT: Expected = Some("the token endpoint did not respond in time");
const MS: Duration = Duration::from_millis(1);

fn rows() -> Vec<Row> {
    vec![
        row("latency", Fault::Latency(20 * MS), None, None),
        row("slices of a byte", Fault::Slice(1, Duration::ZERO), None, None),
        row("bandwidth", Fault::Bandwidth(20_000), None, None),
        row("no end of the connection", Fault::NoClose, None, None),
        row("reset", Fault::Reset(0), FAILED, UNREACHABLE),
        row("reset in the head", Fault::Reset(30), FAILED, UNREACHABLE),
        row("end", Fault::Truncate(0), FAILED, UNREACHABLE),
        row("end in the head", Fault::Truncate(30), FAILED, UNREACHABLE),
        row("garbage", garbage(), FAILED, UNTRUSTED),
        row("oversized head", oversized_head(), FAILED, UNTRUSTED),
        row("endless fields", endless_fields(), FAILED, UNTRUSTED),
        row("endless 1xx responses", endless_1xx_responses(), FAILED, UNTRUSTED),
    ]
}

#[test]
fn plain() {
    for row in rows() {
        outcome(row.name, row.fault, false, row.plain);
    }
}

#[test]
fn tls() {
    for row in rows() {
        outcome(row.name, row.fault, true, row.tls);
    }
    outcome("black hole", Fault::BlackHole, true, IN_TIME);
}

#[test]
#[ignore = "takes the half minute that a response is waited for; `make test-faults`"]
fn a_token_response_that_never_comes_or_drips_is_given_up() {
    std::thread::scope(|scope| {
        scope.spawn(|| outcome("black hole", Fault::BlackHole, false, SILENT));
        scope.spawn(|| outcome("drip", Fault::Slice(1, SECOND), false, SILENT));
    });
}

fn outcome(name: &str, fault: Fault, tls: bool, expected: Expected) {
    let sim = Sim::start(Options { entra_tls: tls, azure_tls: false, ..Options::default() });
    let relay = Relay::start(sim.entra.server.port());
    let scheme = sim.entra.server.scheme();
    let authority = format!("{scheme}://localhost:{}", relay.port());
    let impatient = if expected == IN_TIME { "1s" } else { "" };
    relay.set(fault);
    let settings = [("AZURE_AUTHORITY_HOST", authority.as_str()), ("CONNECT_TIMEOUT", impatient)];
    let proxy = Proxy::start_listening(&sim, &settings);
    eprintln!("  {name:<40} {scheme} {expected:?}");
    if let Some(expected) = expected {
        let patience = std::time::Instant::now() + 40 * SECOND;
        while !proxy.log().iter().any(|line| line.contains("token refresh failed")) {
            assert!(std::time::Instant::now() < patience, "{name}: no attempt has failed");
            std::thread::sleep(10 * MS);
        }
        let line = proxy.wait_log("token refresh failed");
        assert!(line.contains(&format!("problem=\"{expected}\"")), "{name}: {line}");
        assert_eq!(proxy.health().status, 503, "{name}");
        relay.set(Fault::None);
    }
    wait_for("a token", || proxy.health().status == 200);
    assert_eq!(proxy.client().get("/sim/echo").status, 200, "{name}");
    given_back(&proxy, 8);
}

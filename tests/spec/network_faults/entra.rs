//! Between the proxy and Entra ID, from the first token on.

use std::time::Duration;

use crate::sim::Fault;
use crate::support::faults::{
    LoggedProblem, MS, TIMED_OUT, endless_1xx_responses, endless_fields, garbage, oversized_head,
    token_request_under,
};

struct Row {
    name: &'static str,
    fault: Fault,
    plain: LoggedProblem,
    tls: LoggedProblem,
}

fn row(name: &'static str, fault: Fault, plain: LoggedProblem, tls: LoggedProblem) -> Row {
    Row { name, fault, plain, tls }
}

const FAILED: LoggedProblem = Some("the connection to the token endpoint failed");
const UNREACHABLE: LoggedProblem = Some("the token endpoint could not be reached");
const UNTRUSTED: LoggedProblem = Some("the TLS handshake with the token endpoint failed");

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
fn token_requests_without_tls() {
    for row in rows() {
        token_request_under(row.name, row.fault, false, row.plain);
    }
}

#[test]
fn token_requests_with_tls() {
    for row in rows() {
        token_request_under(row.name, row.fault, true, row.tls);
    }
    token_request_under("black hole", Fault::BlackHole, true, TIMED_OUT);
}

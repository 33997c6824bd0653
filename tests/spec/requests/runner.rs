//! The table of requests: bytes in, what the upstream saw, what the client got.

mod bodies;
mod connections;
mod header_fields;
mod malformed;
mod methods_and_targets;
mod smuggling;

use super::Fixture;
use super::request::{Row, run};

fn all() -> Vec<Row> {
    [
        methods_and_targets::rows(),
        header_fields::rows(),
        bodies::rows(),
        connections::rows(),
        malformed::rows(),
        smuggling::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn requests_on_the_wire_towards_a_plain_upstream() {
    let rows = all();
    assert!(rows.len() >= 120, "{} rows", rows.len());
    run(&Fixture::plain(), &rows);
}

#[test]
fn requests_on_the_wire_towards_a_tls_upstream() {
    run(&Fixture::tls(), &all());
}

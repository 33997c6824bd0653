//! The table of responses: what the upstream sends, what the client got.

mod content;
mod cut;
mod framing;
mod malformed;

use super::Fixture;
use super::response::{Row, row, run};

fn all() -> Vec<Row> {
    [content::rows(), framing::rows(), cut::rows(), malformed::rows()].into_iter().flatten().collect()
}

#[test]
fn responses_on_the_wire_from_a_plain_upstream() {
    let rows = all();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    run(&Fixture::plain(), false, &rows);
}

#[test]
fn responses_on_the_wire_from_a_tls_upstream() {
    run(&Fixture::tls(), true, &all());
}

#[test]
fn locations_become_ours_when_that_is_wished_for() {
    let fixture = Fixture::with(false, &[("REWRITE_LOCATION", "true")]);
    let there = fixture.sim.azure_url();
    let moved = |name, from: &str, to: &str| {
        row(name, format!("HTTP/1.1 202 Accepted\r\n{from}\r\nContent-Length: 0\r\n\r\n")).got(
            202,
            &["content-length: 0", to],
            "",
        )
    };
    let rows = [
        moved(
            "a location at the upstream",
            &format!("Location: {there}/openai/x?y=1#z"),
            "location: http://proxy.test:8080/openai/x?y=1#z",
        ),
        moved(
            "the address of an operation",
            &format!("Operation-Location: {there}/openai/operations/1?api-version=1"),
            "operation-location: http://proxy.test:8080/openai/operations/1?api-version=1",
        ),
        moved("a location elsewhere", "Location: https://evil.test/x", "location: https://evil.test/x"),
        moved("a relative location", "Location: ../x", "location: ../x"),
        moved(
            "a location on another port",
            "Location: http://localhost:1/x",
            "location: http://localhost:1/x",
        ),
    ];
    run(&fixture, false, &rows);
}

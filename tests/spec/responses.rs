//! The table of responses: bytes from the upstream, and what clients of HTTP/1.1 and of HTTP/1.0 get.
//!
//! - status, header fields and body pass as they are ([`content`]);
//! - a response ends where RFC 9112 says, and nothing after it becomes another response ([`framing`]);
//! - one that breaks off never looks complete ([`truncated`]);
//! - what is malformed becomes a 502 ([`malformed`]);
//! - with `REWRITE_LOCATION`, locations at the upstream become locations at the proxy.

mod content;
mod framing;
mod malformed;
mod truncated;

use crate::sim::{ScriptedResponse, Step, latin1, timeout, wait_for};
use crate::support::client::{Client, Ended, Response};
use crate::support::fixture::{Fixture, error_code, fields, panic_text};

/// What the upstream says, and what the client makes of it.
pub struct Row {
    name: &'static str,
    method: &'static str,
    steps: Vec<Step>,
    tls: Option<bool>,
    expected: Expected,
}

enum Expected {
    /// This, whole.
    Complete { status: u16, fields: Vec<String>, body: Vec<u8> },
    /// At most a part of it, and the client can detect it.
    Aborted,
    /// 502 of ours, with this code.
    BadGateway(&'static str),
}

/// A row: the upstream responds to a GET with these bytes and keeps the connection.
pub fn row(name: &'static str, bytes: impl AsRef<[u8]>) -> Row {
    let steps = vec![Step::Write(bytes.as_ref().to_vec()), Step::KeepAlive];
    Row { name, method: "GET", steps, tls: None, expected: Expected::Aborted }
}

impl Row {
    pub fn of(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// Instead of keeping the connection, the upstream goes on like this.
    pub fn then(mut self, step: Step) -> Self {
        self.steps.retain(|step| !matches!(step, Step::KeepAlive));
        self.steps.push(step);
        self
    }

    /// More bytes, in a write of their own.
    pub fn and(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Write(bytes.as_ref().to_vec()))
    }

    /// Only towards an upstream with TLS, or without.
    pub fn with_tls(mut self, tls: bool) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The client gets this, whole, with these fields and no others. Towards a client of HTTP/1.0 the coding is
    /// left out and the end of the connection ends the body.
    pub fn got(mut self, status: u16, fields: &[&str], body: impl AsRef<[u8]>) -> Self {
        let fields = fields.iter().map(|&field| field.to_owned()).collect();
        self.expected = Expected::Complete { status, fields, body: body.as_ref().to_vec() };
        self
    }

    pub fn bad_gateway(mut self, code: &'static str) -> Self {
        self.expected = Expected::BadGateway(code);
        self
    }

    /// The client gets a broken transfer.
    pub fn aborted(mut self) -> Self {
        self.expected = Expected::Aborted;
        self
    }

    fn run(&self, fixture: &Fixture, version: &str) {
        fixture.sim.azure.script([ScriptedResponse::steps(self.steps.clone())]);
        let mut client = fixture.client();
        let head = format!("{} /r HTTP/{version}\r\nHost: localhost:8080\r\n\r\n", self.method);
        client.raw.send(head).unwrap();
        let response = client.response(self.method);
        let keeps = version == "1.1" && !matches!(self.expected, Expected::Aborted);
        match &self.expected {
            Expected::Complete { status, fields, body } => {
                let response = response.expect("a response");
                check(&response, version, *status, fields, body);
            }
            Expected::Aborted => {
                let fault = response.map(|response| response.fault.expect("a response that is not whole"));
                let (_, ended) = client.raw.read_to_end(timeout());
                assert_ne!(ended, Ended::Waiting, "the connection ends: {fault:?}");
            }
            Expected::BadGateway(code) => {
                let response = response.expect("a response");
                assert_eq!((response.status, error_code(&response).as_str()), (502, *code));
            }
        }
        // Whatever the upstream sent too much, all of which is there by now, is no part of another response.
        if matches!(self.expected, Expected::Complete { .. }) {
            wait_for("the upstream to have sent everything", || {
                let requests = fixture.sim.azure.requests();
                requests.iter().filter(|request| request.path() == "/r").all(|request| request.done.is_some())
            });
        }
        let mut client = if keeps { client } else { fixture.client() };
        next(&mut client, fixture);
    }
}

fn check(response: &Response, version: &str, status: u16, expected: &[String], body: &[u8]) {
    assert_eq!(response.status, status);
    assert_eq!(response.fault, None, "the body is whole");
    assert_eq!(latin1(&response.body), latin1(body));
    let (connection, keep_alive) =
        if version == "1.0" { (&["close"][..], &[][..]) } else { (&[][..], &["timeout=75"][..]) };
    assert_eq!(response.header_values("connection"), connection);
    assert_eq!(response.header_values("keep-alive"), keep_alive);
    let own = |name: &str| ["connection", "keep-alive"].iter().any(|own| name.eq_ignore_ascii_case(own));
    let rest = fields(response.headers.iter().filter(|(name, _)| !own(name)));
    let expected: Vec<&String> =
        expected.iter().filter(|field| version == "1.1" || *field != "transfer-encoding: chunked").collect();
    assert_eq!(rest.iter().collect::<Vec<_>>(), expected, "header fields at the client");
}

fn next(client: &mut Client, fixture: &Fixture) {
    fixture.sim.azure.script([ScriptedResponse::status(200).body("next")]);
    let response = client.get("/next");
    assert_eq!((response.status, response.text().as_str()), (200, "next"));
    assert_eq!(fixture.sim.azure.script_left(), 0);
}

/// Runs every row for both versions and reports all that fail, each by its sentence.
pub fn run(fixture: &Fixture, tls: bool, rows: &[Row]) {
    let mut failed = Vec::new();
    for row in rows.iter().filter(|row| row.tls.is_none_or(|only| only == tls)) {
        for version in ["1.1", "1.0"] {
            eprintln!("  {} (HTTP/{version})", row.name);
            let run = std::panic::AssertUnwindSafe(|| row.run(fixture, version));
            if let Err(panic) = std::panic::catch_unwind(run) {
                failed.push(format!("{} (HTTP/{version}): {}", row.name, panic_text(&*panic)));
                // What is left of this row must not confuse the next.
                for _ in 0..fixture.sim.azure.script_left() {
                    let mut client = fixture.client();
                    client.send("POST", "/sim/echo", &[], b"").unwrap();
                    let _ = client.response("POST");
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} rows failed:\n\n{}\n", failed.len(), failed.join("\n\n"));
}

fn all() -> Vec<Row> {
    [content::rows(), framing::rows(), truncated::rows(), malformed::rows()].into_iter().flatten().collect()
}

#[test]
fn responses_of_an_upstream_without_tls() {
    run(&Fixture::plain(), false, &all());
}

#[test]
fn responses_of_an_upstream_with_tls() {
    run(&Fixture::tls(), true, &all());
}

#[test]
fn rewrite_location_turns_the_upstreams_locations_into_ours() {
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
            "location: http://localhost:8080/openai/x?y=1#z",
        ),
        moved(
            "the address of an operation",
            &format!("Operation-Location: {there}/openai/operations/1?api-version=1"),
            "operation-location: http://localhost:8080/openai/operations/1?api-version=1",
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

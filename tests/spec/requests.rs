//! The table of requests: bytes from a client, what the upstream sees of them, and what the client gets.
//!
//! - methods, targets and header fields are forwarded byte for byte ([`methods_and_targets`], [`header_fields`]);
//! - bodies are framed as the client framed them, and one that breaks off never looks complete ([`bodies`]);
//! - connections are kept or closed as HTTP says ([`connections`]);
//! - what is malformed, or could be read in two ways, is rejected and nothing of it is forwarded ([`malformed`], [`smuggling`]).

mod bodies;
mod connections;
mod header_fields;
mod malformed;
mod methods_and_targets;
mod smuggling;

use std::net::Shutdown;

use crate::sim::{BodyEnd, Request, ScriptedResponse, latin1, timeout};
use crate::support::client::{Client, Ended};
use crate::support::fixture::{Fixture, error_code, fields, panic_text, read_exactly, socket};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Bytes in, and what comes of them.
pub struct Row {
    name: &'static str,
    sent: Vec<u8>,
    pace: Sending,
    /// Sent once `100 Continue` has come.
    after_continue: Option<Vec<u8>>,
    seen: Vec<Seen>,
    /// One more request begins to reach the upstream, and never looks complete there.
    truncated: bool,
    responses: Vec<Expected>,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Whole,
    ByteByByte,
    /// The client ends its side after the last byte.
    ThenFin,
}

/// A complete request at the upstream.
struct Seen {
    line: String,
    fields: Vec<String>,
    body: Vec<u8>,
}

/// A response at the client.
struct Expected {
    method: String,
    status: u16,
    ours: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The connection serves another request.
    Open,
    /// It ends, in order.
    Closed,
}

/// A row: nothing reaches the upstream, nothing is sent back, the connection is kept, until said otherwise.
pub fn row(name: &'static str, sent: impl AsRef<[u8]>) -> Row {
    Row {
        name,
        sent: sent.as_ref().to_vec(),
        pace: Sending::Whole,
        after_continue: None,
        seen: Vec::new(),
        truncated: false,
        responses: Vec::new(),
        end: End::Open,
    }
}

impl Row {
    /// The upstream sees this, whole, with these fields and no others (Host and the bearer token apart), and
    /// its 200 reaches the client.
    pub fn seen(mut self, line: &str, fields: &[&str], body: impl AsRef<[u8]>) -> Self {
        let fields = fields.iter().map(|&field| field.to_owned()).collect();
        self.seen.push(Seen { line: line.to_owned(), fields, body: body.as_ref().to_vec() });
        let method = line.split(' ').next().unwrap_or_default().to_owned();
        self.responses.push(Expected { method, status: 200, ours: false });
        self
    }

    /// The proxy responds to this itself; the connection is kept.
    pub fn responds(mut self, status: u16) -> Self {
        self.responses.push(Expected { method: "GET".into(), status, ours: true });
        self
    }

    /// The proxy refuses this and closes.
    pub fn refused(self, status: u16) -> Self {
        self.responds(status).closed()
    }

    /// The request begins to reach the upstream, and never looks complete there.
    pub fn truncated(mut self) -> Self {
        self.truncated = true;
        self
    }

    pub fn closed(mut self) -> Self {
        self.end = End::Closed;
        self
    }

    pub fn byte_by_byte(mut self) -> Self {
        self.pace = Sending::ByteByByte;
        self
    }

    pub fn then_fin(mut self) -> Self {
        self.pace = Sending::ThenFin;
        self
    }

    /// These bytes follow once the proxy has asked for them.
    pub fn after_continue(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.after_continue = Some(bytes.as_ref().to_vec());
        self
    }

    /// Runs it; panics when anything is not as it should be.
    pub fn run(&self, fixture: &Fixture) {
        eprintln!("  {}", self.name);
        fixture.seen();
        let response = ScriptedResponse::status(200).body("ok");
        fixture.sim.azure.script(vec![response; self.seen.len()]);
        let mut client = fixture.client();
        self.send(&mut client, fixture);
        for expected in &self.responses {
            let response = client.response(&expected.method).expect("a response");
            assert_eq!(response.status, expected.status, "{}", latin1(&response.body));
            if expected.ours && expected.status >= 400 {
                error_code(&response);
            }
        }
        self.check_end(&mut client);
        self.check_seen(fixture);
    }

    fn send(&self, client: &mut Client, fixture: &Fixture) {
        match self.pace {
            Sending::Whole => {
                // A refusal may come before the last byte is sent.
                let _ = client.raw.send(&self.sent);
            }
            Sending::ByteByByte => self.sent.chunks(1).for_each(|byte| client.raw.send(byte).unwrap()),
            Sending::ThenFin => {
                client.raw.send(&self.sent).unwrap();
                // With the end at once, it would not even begin.
                if self.truncated {
                    fixture.sim.azure.log().wait("first bytes of a body", |all| {
                        all.first().filter(|request| request.body_length > 0).map(drop)
                    });
                }
                socket(client).shutdown(Shutdown::Write).unwrap();
            }
        }
        if let Some(rest) = &self.after_continue {
            assert_eq!(latin1(&read_exactly(socket(client), CONTINUE.len())), latin1(CONTINUE));
            client.raw.send(rest).unwrap();
        }
    }

    fn check_end(&self, client: &mut Client) {
        let inbox = client.take_inbox();
        assert_eq!(latin1(&inbox), "", "bytes after the last response");
        match self.end {
            End::Open => {
                let health = client.get("/health");
                assert_eq!((health.status, health.text().as_str()), (200, r#"{"status":"ok"}"#));
            }
            End::Closed => {
                let (rest, ended) = client.raw.read_to_end(timeout());
                assert_eq!((latin1(&rest).as_str(), ended), ("", Ended::Closed));
            }
        }
    }

    fn check_seen(&self, fixture: &Fixture) {
        if self.truncated {
            fixture.sim.azure.log().wait("end of the truncated request", |all| {
                (all.len() > self.seen.len() && all.iter().all(|r| r.done.is_some())).then_some(())
            });
        }
        let mut requests = fixture.seen();
        let truncated = requests.extract_if(.., |request| !is_whole(request)).count();
        assert_eq!(truncated, usize::from(self.truncated), "requests that the upstream saw truncated");
        let lines: Vec<String> = requests.iter().map(|r| format!("{} {}", r.method, r.target())).collect();
        let expected: Vec<&str> = self.seen.iter().map(|seen| seen.line.as_str()).collect();
        assert_eq!(lines, expected, "complete requests at the upstream");
        assert_eq!(fixture.sim.azure.script_left(), 0);
        for (request, seen) in requests.iter().zip(&self.seen) {
            seen.check(request, fixture);
        }
    }
}

impl Seen {
    fn check(&self, request: &Request, fixture: &Fixture) {
        assert_eq!(request.header("host"), Some(fixture.authority()));
        assert!(request.bearer().is_some_and(|token| token.len() > 20), "one bearer token");
        assert_eq!(request.version, "HTTP/1.1");
        let own =
            |name: &str| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case("authorization");
        let rest = fields(request.headers.iter().filter(|(name, _)| !own(name)));
        assert_eq!(rest, self.fields, "header fields at the upstream");
        assert_eq!(latin1(&request.body), latin1(&self.body), "body at the upstream");
        assert!(request.trailers.is_empty(), "trailers are not forwarded");
    }
}

fn is_whole(request: &Request) -> bool {
    matches!(request.body_end, BodyEnd::Absent | BodyEnd::Clean)
}

/// Runs every row and reports all that fail, each by its sentence.
pub fn run(fixture: &Fixture, rows: &[Row]) {
    let mut failed = Vec::new();
    for row in rows {
        let run = std::panic::AssertUnwindSafe(|| row.run(fixture));
        if let Err(panic) = std::panic::catch_unwind(run) {
            failed.push(format!("{}: {}", row.name, panic_text(&*panic)));
            // What is left of this row must not confuse the next.
            while fixture.sim.azure.script_left() > 0 {
                let _ = fixture.client().get("/sim/echo");
            }
        }
    }
    assert!(failed.is_empty(), "{} rows failed:\n\n{}\n", failed.len(), failed.join("\n\n"));
}

/// The names in the rows that are not this machine's, and the one page.
const ALLOWED: [(&str, &str); 2] =
    [("ALLOWED_HOSTS", "a, *.test, 2001:db8::1"), ("ALLOWED_ORIGINS", "https://app.test")];

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
fn requests_to_an_upstream_without_tls() {
    run(&Fixture::with(false, &ALLOWED), &all());
}

#[test]
fn requests_to_an_upstream_with_tls() {
    run(&Fixture::with(true, &ALLOWED), &all());
}

//! Responses that come while the request body is still being sent:
//!
//! - an early error reaches the client, whether it waits, pauses or goes on sending, and ends the connection;
//! - an early success does not end the body;
//! - a body that was refused, or that breaks off, never looks complete to the upstream;
//! - what is malformed or without end in place of a response is a 502.

use std::time::{Duration, Instant};

use crate::sim::{BodyEnd, ScriptedResponse, Step, timeout};
use crate::support::client::{Client, Ended, Response};
use crate::support::fixture::{Fixture, error_code};

const GIB: u64 = 1 << 30;
/// What socket buffers on the way may take, and a little more.
const BUFFERED: u64 = 40 << 20;

/// How the client frames a body of a gibibyte.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Counted,
    Chunked,
}

impl Framing {
    fn head(self) -> String {
        let framing = match self {
            Self::Counted => format!("Content-Length: {GIB}"),
            Self::Chunked => "Transfer-Encoding: chunked".to_owned(),
        };
        format!("POST /openai/v1/files HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n")
    }

    /// 64 KiB of it.
    fn piece(self) -> Vec<u8> {
        let data = vec![b'x'; 64 * 1024];
        match self {
            Self::Counted => data,
            Self::Chunked => [b"10000\r\n", &data[..], b"\r\n"].concat(),
        }
    }
}

/// Every kind of upstream, transport and framing.
fn each(test: impl Fn(&Fixture, Framing)) {
    for fixture in Fixture::each() {
        for framing in [Framing::Counted, Framing::Chunked] {
            eprintln!("    {framing:?}");
            test(&fixture, framing);
            assert_eq!(fixture.sim.azure.script_left(), 0);
            assert_eq!(fixture.client().get("/sim/echo").status, 200, "the next request is served");
            fixture.seen();
        }
    }
}

fn refusal(status: u16) -> ScriptedResponse {
    ScriptedResponse::status(status).body("too early").header("x-a", "1")
}

fn check(response: &Response, status: u16) {
    assert_eq!((response.status, response.fault.as_deref()), (status, None));
    assert_eq!(response.text(), "too early");
    assert_eq!(response.header("connection").as_deref(), Some("close"));
    assert_eq!(response.header("x-a").as_deref(), Some("1"));
}

fn check_closed(client: &mut Client) {
    let (rest, ended) = client.raw.read_to_end(timeout());
    assert_eq!(rest, b"");
    assert_ne!(ended, Ended::Waiting);
}

#[test]
fn an_early_refusal_reaches_a_client_that_waits_for_it() {
    each(|fixture, framing| {
        for status in [401, 413] {
            fixture.sim.azure.script([refusal(status).early()]);
            let mut client = fixture.client();
            client.raw.send([framing.head().as_bytes(), &framing.piece()].concat()).unwrap();
            check(&client.response("POST").unwrap(), status);
            check_closed(&mut client);
        }
    });
}

#[test]
fn an_early_refusal_reaches_a_client_that_pauses() {
    each(|fixture, framing| {
        fixture.sim.azure.script([refusal(413).early()]);
        let mut client = fixture.client();
        client.raw.send([framing.head().as_bytes(), &framing.piece()].concat()).unwrap();
        fixture.sim.azure.log().wait("response", |all| all.first()?.status);
        // It goes on, a piece or two, as one that has not looked.
        for _ in 0..2 {
            if client.raw.send(framing.piece()).is_err() {
                break;
            }
        }
        check(&client.response("POST").unwrap(), 413);
        check_closed(&mut client);
    });
}

#[test]
fn an_early_refusal_reaches_a_client_that_reads_only_when_it_can_send_no_more() {
    each(|fixture, framing| {
        fixture.sim.azure.script([refusal(413).early()]);
        let mut client = fixture.client();
        client.raw.send(framing.head()).unwrap();
        let sent = client.raw.send_until_blocked(&framing.piece(), GIB);
        assert!(sent < BUFFERED, "it was made to send {sent} bytes");
        check(&client.response("POST").unwrap(), 413);
    });
}

#[test]
fn an_early_refusal_after_a_1xx_response_is_noticed() {
    each(|fixture, framing| {
        let response =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 X\r\nx-a: 1\r\nContent-Length: 9\r\n\r\ntoo early";
        fixture.sim.azure.script([ScriptedResponse::steps([Step::Write(response.to_vec())]).early()]);
        let mut client = fixture.client();
        client.raw.send([framing.head().as_bytes(), &framing.piece()].concat()).unwrap();
        check(&client.response("POST").unwrap(), 413);
    });
}

#[test]
fn a_refused_body_never_looks_complete() {
    each(|fixture, framing| {
        fixture.sim.azure.script([refusal(413).early_then_read()]);
        let mut client = fixture.client();
        client.raw.send([framing.head().as_bytes(), &framing.piece()].concat()).unwrap();
        check(&client.response("POST").unwrap(), 413);
        let request = fixture.sim.azure.finished_request_to("/openai/v1/files");
        assert_eq!(request.body_end, BodyEnd::Truncated);
    });
}

#[test]
fn an_early_success_does_not_end_the_body() {
    for fixture in Fixture::each() {
        fixture.sim.azure.script([ScriptedResponse::status(200).body("ok").early_then_read()]);
        let mut client = fixture.client();
        client
            .raw
            .send("POST /openai/v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345")
            .unwrap();
        fixture.sim.azure.log().wait("response", |all| all.first()?.status);
        client.raw.send("67890").unwrap();
        let response = client.response("POST").unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        let request = fixture.sim.azure.finished_request_to("/openai/v1/files");
        assert_eq!((request.body_end, request.body.as_slice()), (BodyEnd::Clean, &b"1234567890"[..]));
    }
}

#[test]
fn an_upstream_that_closes_early_without_a_response_is_a_502() {
    each(|fixture, framing| {
        fixture.sim.azure.script([ScriptedResponse::drop_connection().early()]);
        let mut client = fixture.client();
        client.raw.send(framing.head()).unwrap();
        let sent = client.raw.send_until_blocked(&framing.piece(), GIB);
        assert!(sent < BUFFERED, "it was made to send {sent} bytes");
        let response = client.response("POST").unwrap();
        assert_eq!((response.status, error_code(&response).as_str()), (502, "upstream_closed"));
    });
}

#[test]
fn an_upload_that_breaks_off_never_looks_complete_and_ends_at_once() {
    each(|fixture, framing| {
        for reset in [false, true] {
            fixture.seen();
            let mut client = fixture.client();
            client.raw.send([framing.head().as_bytes(), &framing.piece()].concat()).unwrap();
            fixture.sim.azure.log().wait("body", |all| all.first().filter(|r| r.body_length > 0).map(drop));
            let left = Instant::now();
            if reset {
                client.raw.reset();
            } else {
                drop(client);
            }
            let request = fixture.sim.azure.finished_request_to("/openai/v1/files");
            assert_eq!(request.body_end, BodyEnd::Truncated);
            let after = request.peer_closed.unwrap() - left;
            assert!(after < Duration::from_secs(1), "{after:?}");
        }
    });
}

/// Nobody counts to its end.
#[test]
fn the_length_of_a_refused_body_does_not_matter() {
    let fixture = Fixture::plain();
    for length in [1_u64 << 36, 1 << 62, u64::MAX] {
        fixture.sim.azure.script([refusal(413).early()]);
        let mut client = fixture.client();
        client
            .raw
            .send(format!("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\nx"))
            .unwrap();
        check(&client.response("POST").unwrap(), 413);
    }
}

/// What an upstream sends before a refusal hides it from nobody, and what has no end is a bad gateway at its limit.
#[test]
fn bytes_before_an_early_refusal_do_not_hide_it() {
    let refusal = "HTTP/1.1 413 X\r\nx-a: 1\r\nContent-Length: 9\r\n\r\ntoo early";
    let long_hints = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(20_000));
    let endless = format!("HTTP/1.1 103 Early Hints\r\nLink: {}", "x".repeat(100_000));
    each(|fixture, framing| {
        for (sent, expected) in [
            (format!("\r\n\r\n{refusal}"), 413),
            (format!("{long_hints}{long_hints}{refusal}"), 413),
            (endless.clone(), 502),
            ("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(5000), 502),
            ("\r\n".repeat(50_000), 502),
            ("garbage".to_owned(), 502),
        ] {
            fixture.sim.azure.script([ScriptedResponse::steps([Step::Write(sent.into_bytes())]).early()]);
            let mut client = fixture.client();
            client.raw.send([framing.head().as_bytes(), &framing.piece()].concat()).unwrap();
            let response = client.response("POST").unwrap();
            assert_eq!(response.status, expected);
            if expected == 413 {
                check(&response, 413);
            } else {
                assert_eq!(error_code(&response), "upstream_bad_response");
            }
        }
    });
}

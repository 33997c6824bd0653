//! Paths below `/sim/`, which Azure does not have and tests need. They stand after the gate like the others.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::sse::Events;
use super::websocket::{Message, WebSocket};
use super::{ok, usual_headers};
use crate::sim::clock;
use crate::sim::exchange::Exchange;
use crate::sim::form::number;
use crate::sim::pattern;
use crate::sim::record::latin1;

/// - `echo`: what was received, as JSON
/// - `bytes/N?chunked=1`: N bytes of [`pattern`]
/// - `status/NNN`: that status, with a JSON body
/// - `sse?events=N&pause_ms=M&size=B`: events that say when they were written
/// - `slow?ms=M`: a response after that long
/// - `upload?pause_ms=M`: counts the body, with a pause after each piece
/// - `early?status=NNN`: responds before reading the body, and closes
/// - `gzip`: a compressed response
/// - `ws`: a WebSocket that echoes; `?push=N&pause_ms=M` sends N messages unasked first
pub(super) fn respond(exchange: &mut Exchange<'_>, name: &str, query: &str) -> io::Result<()> {
    let number = |name: &str, default: u64| number(query, name).unwrap_or(default);
    let pause = Duration::from_millis(number("pause_ms", 0));
    match name.split_once('/').unwrap_or((name, "")) {
        ("early", _) => {
            exchange.close_after();
            let status = u16::try_from(number("status", 413)).unwrap();
            exchange.json(
                status,
                &[],
                &json!({"error": {"code": status.to_string(), "message": "too early"}}),
            )
        }
        ("upload", _) => upload(exchange, pause),
        ("ws", _) => echo_socket(exchange, number("push", 0), pause),
        (name, rest) => {
            exchange.read_body(0)?;
            match (name, rest) {
                ("echo", _) => echo(exchange),
                ("bytes", count) => bytes(exchange, count.parse().unwrap_or(0), number("chunked", 0) == 1),
                ("status", status) => {
                    let status = status.parse().unwrap_or(500);
                    exchange.json(status, &usual_headers().borrow(), &json!({"status": status}))
                }
                ("sse", _) => events(exchange, number("events", 5), pause, number("size", 0)),
                ("slow", _) => {
                    exchange.think(Duration::from_millis(number("ms", 1000)))?;
                    ok(exchange, &json!({"slow": true}))
                }
                ("gzip", _) => {
                    let headers = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")];
                    exchange.respond(200, &headers, &GZIP)
                }
                _ => exchange.json(404, &[], &json!({"error": {"code": "404", "message": "no such probe"}})),
            }
        }
    }
}

/// "simulated" followed by a line feed, compressed by gzip.
pub const GZIP: [u8; 30] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x2b, 0xce, 0xcc, 0x2d, 0xcd, 0x49, 0x2c,
    0x49, 0x4d, 0xe1, 0x02, 0x00, 0x95, 0xc3, 0xeb, 0x6b, 0x0a, 0x00, 0x00, 0x00,
];

fn echo(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let Some(request) = exchange.record() else { return Err(io::Error::other("the record was cleared")) };
    let list = |fields: &[(String, Vec<u8>)]| -> Vec<Value> {
        fields.iter().map(|(name, value)| json!([name, latin1(value)])).collect()
    };
    ok(
        exchange,
        &json!({
            "method": request.method, "target": request.target(), "version": request.version,
            "headers": list(&request.headers), "trailers": list(&request.trailers),
            "body": String::from_utf8_lossy(&request.body), "body_length": request.body_length,
            "body_sha256": request.body_sha256, "connection": request.connection,
        }),
    )
}

fn bytes(exchange: &mut Exchange<'_>, count: u64, chunked: bool) -> io::Result<()> {
    let (usual, length) = (usual_headers(), count.to_string());
    let mut headers = usual.borrow().to_vec();
    headers.push(("Content-Type", "application/octet-stream"));
    if !chunked {
        headers.push(("Content-Length", &length));
    }
    exchange.start(200, &headers)?;
    // A multiple of the pattern's period: every piece begins as the first did.
    let piece = pattern(0, 251 * 256);
    let mut left = count;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        exchange.piece(&piece[..size])?;
        left -= size as u64;
    }
    exchange.finish()
}

fn events(exchange: &mut Exchange<'_>, count: u64, pause: Duration, size: u64) -> io::Result<()> {
    let padding = "x".repeat(usize::try_from(size).unwrap());
    let mut events = Events::start(exchange, pause)?;
    for number in 0..count {
        let data = || json!({"event": number, "unix_ns": clock::unix_ns(), "padding": padding});
        events.text_with(|| format!("data: {}\n\n", data()))?;
    }
    events.done()
}

fn upload(exchange: &mut Exchange<'_>, pause: Duration) -> io::Result<()> {
    let begin = Instant::now();
    while exchange.next_piece(|_| ())? {
        std::thread::sleep(pause);
    }
    let Some(request) = exchange.record() else { return Err(io::Error::other("the record was cleared")) };
    let milliseconds = u64::try_from(begin.elapsed().as_millis()).unwrap();
    ok(exchange, &json!({"bytes": request.body_length, "sha256": request.body_sha256, "ms": milliseconds}))
}

fn echo_socket(exchange: &mut Exchange<'_>, push: u64, pause: Duration) -> io::Result<()> {
    let Some(mut socket) = WebSocket::accept(exchange)? else { return Ok(()) };
    for number in 0..push {
        socket.think(pause)?;
        socket.text(&format!("push {number}"))?;
    }
    loop {
        match socket.receive()? {
            Message::Text(text) => socket.text(&text)?,
            Message::Binary(bytes) => socket.send(2, &bytes)?,
            Message::Closed => return Ok(()),
        }
    }
}

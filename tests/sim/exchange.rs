//! One request and its response, as a handler sees them; every byte of it goes into the record.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use ring::digest;

use super::body::{Body, Fault};
use super::clock;
use super::conn::Conn;
use super::head::{self, Framing, Head};
use super::record::{BodyEnd, KEEP_BODY, Log, Request};
use super::server::Handler;
use super::status;

/// A request that waits for its response.
pub struct Exchange<'a> {
    pub conn: &'a mut Conn,
    pub head: Head,
    pub id: u64,
    /// Added to the Date header: the server's clock is wrong by this many seconds.
    pub clock_offset: i64,
    log: &'a Log,
    body: Body,
    hash: digest::Context,
    length: u64,
    close: bool,
    chunked: bool,
}

/// Responds to the requests of one connection until it ends.
pub fn serve(conn: &mut Conn, connection: u64, log: &Log, handler: &Handler) {
    while !conn.is_closed() {
        let Ok(Some(head)) = head::read(conn) else { break };
        conn.state.idle.store(false, Ordering::SeqCst);
        let id = log.add(record(&head, connection));
        let body = Body::new(&head.framing);
        let hash = digest::Context::new(&digest::SHA256);
        let close = head.version != "HTTP/1.1" || head.lists("connection", "close");
        let mut exchange =
            Exchange { conn, head, id, clock_offset: 0, log, body, hash, length: 0, close, chunked: false };
        if exchange.body.ended() {
            exchange.body_ended();
        }
        let result = exchange.run(handler);
        let unread = !exchange.body.ended();
        let close = exchange.close || unread || result.is_err();
        log.update(id, |request| {
            request.done = Some(Instant::now());
            if let Err(error) = result {
                request.note.push_str(&format!(" (failed: {error})"));
            }
        });
        if close && !conn.is_closed() {
            conn.close();
        }
        conn.state.idle.store(true, Ordering::SeqCst);
    }
}

fn record(head: &Head, connection: u64) -> Request {
    Request {
        id: 0,
        connection,
        at: Instant::now(),
        wall: SystemTime::now(),
        raw_head: head.raw.clone(),
        method: head.method.clone(),
        target: head.target.clone(),
        version: head.version.clone(),
        headers: head.headers.clone(),
        body: Vec::new(),
        body_length: 0,
        body_sha256: String::new(),
        body_end: match &head.framing {
            Framing::Absent => BodyEnd::Absent,
            Framing::Bad(reason) => BodyEnd::Malformed(reason.clone()),
            _ => BodyEnd::Pending,
        },
        trailers: Vec::new(),
        peer_closed: None,
        status: None,
        done: None,
        note: String::new(),
    }
}

impl Exchange<'_> {
    fn run(&mut self, handler: &Handler) -> io::Result<()> {
        if let Framing::Bad(reason) = &self.head.framing {
            let text = format!("the simulator refuses this framing: {reason}");
            self.close = true;
            self.note(&text);
            return self.respond(400, &[("Content-Type", "text/plain")], text.as_bytes());
        }
        handler(self)
    }

    /// The whole body, kept up to this size; an error when it does not end as it should.
    pub fn read_body(&mut self, keep: usize) -> io::Result<Vec<u8>> {
        let mut kept = Vec::new();
        while self.next_piece(|piece| kept.extend_from_slice(&piece[..piece.len().min(keep - kept.len())]))? {
        }
        Ok(kept)
    }

    /// The next piece of the body; false at its end.
    pub fn next_piece(&mut self, take: impl FnOnce(&[u8])) -> io::Result<bool> {
        if self.length == 0 && !self.body.ended() && self.head.lists("expect", "100-continue") {
            self.conn.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let (hash, length, log, id) = (&mut self.hash, &mut self.length, self.log, self.id);
        let result = self.body.next(self.conn, |piece| {
            hash.update(piece);
            *length += piece.len() as u64;
            log.update(id, |request| {
                let room = KEEP_BODY - request.body.len();
                request.body.extend_from_slice(&piece[..piece.len().min(room)]);
                request.body_length = *length;
            });
            take(piece);
        });
        let end = match result {
            Ok(more) => {
                if self.body.ended() {
                    self.body_ended();
                }
                return Ok(more);
            }
            Err(Fault::Truncated) => BodyEnd::Truncated,
            Err(Fault::Malformed(reason)) => BodyEnd::Malformed(reason),
        };
        self.close = true;
        let text = format!("request body: {end:?}");
        self.log.update(self.id, |request| {
            request.peer_closed = (end == BodyEnd::Truncated).then(Instant::now);
            request.body_end = end;
        });
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    fn body_ended(&mut self) {
        let digest = hex(self.hash.clone().finish().as_ref());
        self.log.update(self.id, |request| {
            if request.body_end == BodyEnd::Pending {
                request.body_end = BodyEnd::Clean;
            }
            request.body_sha256 = digest;
            request.trailers.clone_from(&self.body.trailers);
        });
    }

    /// Adds to the record why this response is given.
    pub fn note(&self, text: &str) {
        self.log.update(self.id, |request| {
            let separator = if request.note.is_empty() { "" } else { "; " };
            request.note.push_str(separator);
            request.note.push_str(text);
        });
    }

    /// The record as it stands.
    pub fn record(&self) -> Option<Request> {
        let mut copy = None;
        self.log.update(self.id, |request| copy = Some(request.clone()));
        copy
    }

    /// Waits; an error when the peer closes meanwhile, which goes into the record.
    pub fn think(&mut self, pause: Duration) -> io::Result<()> {
        match self.conn.think(pause) {
            None => Ok(()),
            Some(at) => {
                self.log.update(self.id, |request| request.peer_closed = Some(at));
                Err(io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    "the peer closed before the response was complete",
                ))
            }
        }
    }

    /// A whole response with Content-Length (unless given) and Date.
    pub fn respond(&mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
        let bodiless = matches!(status, 204 | 304);
        let length = body.len().to_string();
        let given = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let own = if given || bodiless { &[][..] } else { &[("Content-Length", length.as_str())] };
        let mut bytes = self.head_bytes(status, &[headers, own].concat());
        if self.head.method != "HEAD" && !bodiless {
            bytes.extend_from_slice(body);
        }
        self.send(&bytes)
    }

    /// A response in JSON.
    pub fn json(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        value: &serde_json::Value,
    ) -> io::Result<()> {
        let own: &[(&str, &str)] = &[("Content-Type", "application/json")];
        self.respond(status, &[headers, own].concat(), value.to_string().as_bytes())
    }

    /// 101 with these headers; the connection belongs to another protocol from now on.
    pub fn switch_protocols(&mut self, headers: &[(&str, &str)]) -> io::Result<()> {
        let bytes = self.head_bytes(101, headers);
        self.close = true;
        self.send(&bytes)
    }

    /// The response to a CONNECT that succeeded.
    pub fn tunnel_opened(&mut self) -> io::Result<()> {
        self.log.update(self.id, |request| request.status = Some(200));
        self.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    }

    /// Begins a response whose pieces follow: chunked, or as these headers say.
    pub fn start(&mut self, status: u16, headers: &[(&str, &str)]) -> io::Result<()> {
        let sized = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        self.chunked = !sized && self.head.version == "HTTP/1.1";
        // HTTP/1.0 has no chunks: the end of the connection ends the body.
        self.close |= !sized && !self.chunked;
        let own: &[(&str, &str)] = if self.chunked { &[("Transfer-Encoding", "chunked")] } else { &[] };
        let bytes = self.head_bytes(status, &[headers, own].concat());
        self.send(&bytes)
    }

    /// One piece of a response that was started, in one write.
    pub fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.head.method == "HEAD" || bytes.is_empty() {
            return Ok(());
        }
        if !self.chunked {
            return self.send(bytes);
        }
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(&chunk)
    }

    /// Ends a response that was started.
    pub fn finish(&mut self) -> io::Result<()> {
        if self.chunked && self.head.method != "HEAD" { self.send(b"0\r\n\r\n") } else { Ok(()) }
    }

    /// Bytes as they are. A failure means that the peer has gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.conn.write(bytes).inspect_err(|_| {
            self.log.update(self.id, |request| request.peer_closed = Some(Instant::now()));
        })
    }

    /// The connection ends after this response.
    pub fn close_after(&mut self) {
        self.close = true;
    }

    fn head_bytes(&mut self, status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
        self.log.update(self.id, |request| request.status = Some(status));
        let mut text = format!("HTTP/1.1 {status} {}\r\n", status::reason(status));
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if status >= 200 {
            text.push_str(&format!("Date: {}\r\n", clock::http_date(clock::unix() + self.clock_offset)));
            if self.close {
                text.push_str("Connection: close\r\n");
            }
        }
        text.push_str("\r\n");
        // Each character below 256 is one byte, so that responses can carry any byte in a header.
        text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
    }
}

/// In lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

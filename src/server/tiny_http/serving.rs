//! One request being answered on tiny_http.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::tiny_http::Request;
use http::StatusCode;

use super::Shared;
use super::request::{self, Incoming};
use crate::fields::Fields;
use crate::net::{Socket, Stream};
use crate::server::connection::wants_keep_alive;
use crate::server::limits::MinRate;
use crate::server::respond::{Answer, Sink};
use crate::server::{Exchange, Head, Length, Overload};

/// What is read of a chunked body that nobody wants, so that its connection can go on. One of known length is read
/// to its end: tiny_http gives no writer before that.
const DRAIN_BYTES: u64 = 256 * 1024;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);
/// In place of a chunk size: no client takes it for the end of the answer.
const CUT: &[u8] = b"cut short\r\n\r\n";

/// Answers a request.
pub(super) fn serve(incoming: Incoming, shared: &Shared, crowded: bool) {
    let Incoming { request, peer, head } = incoming;
    if let Err(refusal) = &head {
        shared.service.refused(refusal);
    }
    let Some(request) = request.release(head.as_ref().err()) else { return };
    match head {
        Ok(head) => {
            let mut serving = Serving::new(&head, request, peer, shared);
            if crowded {
                shared.service.reject_overloaded(head, Overload::Connections, &mut serving);
            } else {
                shared.service.serve(head, &mut serving);
            }
        }
        Err(refusal) => refusal.send(&mut Serving::last(request, peer, shared)),
    }
}

struct Serving<'a> {
    /// Until the answer begins.
    request: Option<Request>,
    body: Body,
    answer: Answer,
    writer: Option<Box<dyn Write + Send>>,
    peer: Option<SocketAddr>,
    shared: &'a Shared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// So many bytes are left.
    Counted(u64),
    Chunked,
    Done,
    /// The client left or broke the rules: where the next request begins is not known.
    Broken,
}

impl<'a> Serving<'a> {
    fn new(head: &Head, request: Request, peer: Option<SocketAddr>, shared: &'a Shared) -> Self {
        let close = !wants_keep_alive(head) || request::is_last(&request) || shared.stop.is_triggered();
        let body = match head.length {
            Length::Empty | Length::Known(0) => Body::Done,
            Length::Known(n) => Body::Counted(n),
            Length::Unknown => Body::Chunked,
        };
        let answer = Answer::new(head, close, shared.limits.write_stall);
        Self { request: Some(request), body, answer, writer: None, peer, shared }
    }

    /// For an answer to a request that broke the rules: the body is what tiny_http takes for it.
    fn last(request: Request, peer: Option<SocketAddr>, shared: &'a Shared) -> Self {
        let body = match request.body_length() {
            Some(n) if n > 0 && !request::is_upgrade(&request) => Body::Counted(n as u64),
            _ => Body::Broken,
        };
        let answer = Answer::last(shared.limits.write_stall);
        Self { request: Some(request), body, answer, writer: None, peer, shared }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(request) = &mut self.request else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let (buffer, left) = match self.body {
            Body::Done => return Ok(0),
            Body::Broken => return Err(io::ErrorKind::UnexpectedEof.into()),
            Body::Chunked => (buffer, None),
            Body::Counted(left) => {
                let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                (&mut buffer[..most], Some(left))
            }
        };
        if buffer.is_empty() {
            return Ok(0);
        }
        // The first call sends 100 Continue to those who wait for it.
        match (request.as_reader().read(buffer), left) {
            (Ok(0), None) => {
                self.body = Body::Done;
                Ok(0)
            }
            // tiny_http reports an upload cut short as complete.
            (Ok(0), Some(_)) => self.broken(io::ErrorKind::UnexpectedEof.into()),
            (Ok(n), Some(left)) => {
                let left = left - n as u64;
                self.body = if left == 0 { Body::Done } else { Body::Counted(left) };
                Ok(n)
            }
            (Ok(n), None) => Ok(n),
            (Err(error), _) => self.broken(match error.kind() {
                io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                io::ErrorKind::InvalidInput => io::Error::new(io::ErrorKind::InvalidData, error),
                _ => error,
            }),
        }
    }

    fn broken(&mut self, error: io::Error) -> io::Result<usize> {
        self.body = Body::Broken;
        self.shared.bans.add(self.peer);
        Err(error)
    }

    /// Reads what is left of the body. False when the connection cannot go on.
    fn drain(&mut self) -> bool {
        let deadline = Instant::now() + DRAIN_TIME;
        let mut scratch = [0; 16 * 1024];
        let mut drained = 0;
        while self.body != Body::Done {
            match self.read(&mut scratch) {
                Ok(n) => drained += n as u64,
                Err(_) => return false,
            }
            let over = drained > DRAIN_BYTES || Instant::now() > deadline;
            if over && self.body == Body::Chunked {
                return false;
            }
        }
        true
    }

    fn sink(&mut self) -> (&mut Answer, Writer<'_>) {
        (&mut self.answer, Writer(&mut self.writer))
    }
}

/// What was not finished must not look complete, and nothing may follow it.
impl Drop for Serving<'_> {
    fn drop(&mut self) {
        if !self.answer.started() || self.answer.is_finished() {
            return;
        }
        self.shared.bans.add(self.peer);
        if let (true, Some(writer)) = (self.answer.is_chunked(), &mut self.writer) {
            let _ = writer.write_all(CUT);
            let _ = writer.flush();
        }
    }
}

struct Writer<'a>(&'a mut Option<Box<dyn Write + Send>>);

impl Sink for Writer<'_> {
    fn send(&mut self, parts: [&[u8]; 3], _rate: &mut MinRate) -> io::Result<()> {
        let Some(writer) = self.0 else { return Err(io::ErrorKind::NotConnected.into()) };
        // In one piece it passes tiny_http's buffer, and leaves in one packet.
        let sent = writer.write_all(&parts.concat()).and_then(|()| writer.flush());
        sent.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })
    }
}

impl Exchange for Serving<'_> {
    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer)
    }

    fn send_continue(&mut self) -> io::Result<Option<Instant>> {
        if let (true, Some(request)) = (self.body != Body::Done, &mut self.request) {
            request.as_reader();
        }
        Ok(Some(Instant::now() + self.shared.limits.keep_alive))
    }

    fn has_buffered_body(&mut self) -> io::Result<bool> {
        Ok(self.body == Body::Done)
    }

    fn client(&self) -> Option<Arc<Socket>> {
        None
    }

    fn tunnel(&mut self) -> Option<&mut Stream> {
        None
    }

    fn start(&mut self, status: StatusCode, headers: &Fields, length: Length) {
        if !self.drain() {
            // Before the reader is given back: what follows may be read at once.
            self.shared.bans.add(self.peer);
            self.answer.close_after();
        }
        if self.shared.stop.is_triggered() {
            self.answer.close_after();
        }
        self.answer.start(status, headers, length);
        self.writer = self.request.take().map(Request::into_writer);
    }

    fn started(&self) -> bool {
        self.answer.started()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (answer, mut sink) = self.sink();
        answer.write(&mut sink, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let (answer, mut sink) = self.sink();
        answer.flush(&mut sink)
    }

    fn finish(&mut self) -> io::Result<()> {
        let (answer, mut sink) = self.sink();
        answer.finish(&mut sink)
    }
}

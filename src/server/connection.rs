//! One connection, from its first byte to its last.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CONNECTION, EXPECT};
use http::{HeaderMap, StatusCode, Version};
use socket2::SockRef;

use super::body::Body;
use super::input::Input;
use super::refusal::Refusal;
use super::respond::Answer;
use super::stop::Stop;
use super::{Exchange, Head, Length, Limits, Service, head};
use crate::scratch;
use crate::sys::{self, Ready};

/// What is read of a body that nobody wants, so that the answer in front of it survives.
const DRAIN_BYTES: u64 = 256 * 1024;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A connection whose next request comes within this keeps its buffers.
const BUSY: Duration = Duration::from_millis(500);

/// What a connection needs to be served.
pub(super) struct Context<'a> {
    pub(super) service: &'a dyn Service,
    pub(super) limits: &'a Limits,
    pub(super) stop: &'a Stop,
    /// Idle connections shall make room.
    pub(super) crowded: &'a dyn Fn() -> bool,
}

/// Serves requests until the client leaves, breaks the rules or pauses too long, or we stop.
pub(super) fn serve(stream: TcpStream, _peer: SocketAddr, context: &Context<'_>) {
    let stream = Arc::new(stream);
    let mut input = Input::new(Arc::clone(&stream));
    while let Some(head) = next_head(&mut input, context) {
        let head = match head {
            Ok(head) => head,
            Err(refusal) => {
                context.service.refused(&refusal);
                refuse(&mut input, context, &refusal);
                return;
            }
        };
        input.release();
        let close = !wants_keep_alive(&head) || context.stop.said();
        let mut serving = Serving {
            body: Body::new(head.length, context.limits.head_bytes),
            answer: Answer::new(&head, close, context.limits.write_stall),
            awaits_continue: head.version == Version::HTTP_11
                && head.length != Length::Empty
                && head
                    .headers
                    .get(EXPECT)
                    .is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"100-continue")),
            input: &mut input,
            limits: context.limits,
            stop: context.stop,
        };
        context.service.serve(head, &mut serving);
        if !serving.settle() {
            return;
        }
    }
}

/// Waits for a request and reads its head. None when there will be no more.
fn next_head(input: &mut Input, context: &Context<'_>) -> Option<Result<Head, Refusal>> {
    if input.bytes().is_empty() {
        input.release();
        wait_for_request(input.stream(), context)?;
    }
    let deadline = Instant::now() + context.limits.head_time;
    let mut seen = 0;
    loop {
        // Empty lines in front of a request are skipped (RFC 9112 section 2.2).
        while input.bytes().starts_with(b"\r\n") {
            input.consume(2);
            seen = 0;
        }
        match head::find_end(input.bytes(), seen) {
            Ok(Some(end)) => {
                if end > context.limits.head_bytes {
                    return Some(Err(head::too_large(&input.bytes()[..end], context.limits.head_bytes)));
                }
                let head = head::parse(&input.bytes()[..end]);
                input.consume(end);
                return Some(head);
            }
            Ok(None) if input.bytes().len() > context.limits.head_bytes => {
                return Some(Err(head::too_large(input.bytes(), context.limits.head_bytes)));
            }
            Ok(None) => seen = input.bytes().len(),
            Err(refusal) => return Some(Err(refusal)),
        }
        match input.fill(deadline) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut && seen > 0 => {
                let message = "the request head took too long";
                return Some(Err(Refusal::request(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)));
            }
            Err(_) => return None,
        }
    }
}

/// Waits between requests. None when the connection shall end.
fn wait_for_request(stream: &TcpStream, context: &Context<'_>) -> Option<()> {
    let start = Instant::now();
    let mut pause = BUSY;
    loop {
        let patience =
            if (context.crowded)() { context.limits.keep_alive / 15 } else { context.limits.keep_alive };
        // A crowd may come while we wait.
        let deadline = (start + patience).min(Instant::now() + pause);
        let wanted = [(stream.as_fd(), Ready::READ), (context.stop.as_fd(), Ready::READ)];
        let [request, stop] = sys::wait(wanted, Some(deadline)).ok()?;
        if request.readable() {
            return Some(());
        }
        if stop.any() || start.elapsed() >= patience {
            return None;
        }
        // It is idle, then, and may be so for long.
        scratch::clear();
        pause = context.limits.keep_alive / 15;
    }
}

fn refuse(input: &mut Input, context: &Context<'_>, refusal: &Refusal) {
    let mut serving = Serving::last(input, context.limits, context.stop);
    refusal.send(&mut serving);
    serving.linger();
}

/// RFC 9112 section 9.3.
pub(super) fn wants_keep_alive(head: &Head) -> bool {
    let named = |wanted: &str| {
        let values = head.headers.get_all(CONNECTION).iter();
        values
            .flat_map(|v| v.as_bytes().split(|b| *b == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
    };
    if head.version == Version::HTTP_10 { named("keep-alive") && !named("close") } else { !named("close") }
}

/// One request being answered on our own server.
pub(super) struct Serving<'a> {
    input: &'a mut Input,
    body: Body,
    answer: Answer,
    /// The client waits for 100 before it sends the body (RFC 9110 section 10.1.1).
    awaits_continue: bool,
    limits: &'a Limits,
    stop: &'a Stop,
}

impl<'a> Serving<'a> {
    pub(super) fn new(
        head: &Head,
        close: bool,
        input: &'a mut Input,
        limits: &'a Limits,
        stop: &'a Stop,
    ) -> Self {
        let expects = |e: &http::HeaderValue| e.as_bytes().eq_ignore_ascii_case(b"100-continue");
        Self {
            body: Body::new(head.length, limits.head_bytes),
            answer: Answer::new(head, close, limits.write_stall),
            awaits_continue: head.version == Version::HTTP_11
                && head.length != Length::Empty
                && head.headers.get(EXPECT).is_some_and(expects),
            input,
            limits,
            stop,
        }
    }

    /// For an answer to a request whose head could not be understood.
    pub(super) fn last(input: &'a mut Input, limits: &'a Limits, stop: &'a Stop) -> Self {
        Self {
            body: Body::new(Length::Unknown, 0),
            answer: Answer::last(limits.write_stall),
            awaits_continue: false,
            input,
            limits,
            stop,
        }
    }

    /// After the service is done: true when the connection can serve another request.
    fn settle(mut self) -> bool {
        if !self.answer.is_finished() {
            self.abort();
            return false;
        }
        if self.answer.closes() {
            if !self.body.is_done() {
                self.linger();
            }
            return false;
        }
        self.drain()
    }

    /// Ends an answer that is not whole. A reset where the end of the connection would look like the end of the
    /// answer; elsewhere the framing shows it, and what was sent shall still be read.
    fn abort(&self) {
        if self.answer.ends_with_connection() {
            let _ = SockRef::from(&**self.input.stream()).set_linger(Some(Duration::ZERO));
        }
    }

    /// Reads what little is left of a body, to keep the connection. Not part of its caller's frame, which lies below
    /// everything that serves a request: stack once used stays with the thread.
    #[inline(never)]
    fn drain(&mut self) -> bool {
        let deadline = Instant::now() + DRAIN_TIME;
        let mut scratch = [0; 4096];
        let mut drained = 0;
        while !self.body.is_done() {
            match self.body.read(self.input, &mut scratch, deadline) {
                Ok(n) => drained += n as u64,
                Err(_) => return false,
            }
            if drained > DRAIN_BYTES {
                return false;
            }
        }
        true
    }

    /// Closing a socket with unread input resets it, and a reset destroys the answer on its way: end our side,
    /// then read on for a while.
    fn linger(&mut self) {
        let mut stream: &TcpStream = self.input.stream();
        if stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let deadline = Instant::now() + DRAIN_TIME;
        let mut scratch = [0; 4096];
        let mut drained = 0;
        while drained < DRAIN_BYTES {
            match stream.read(&mut scratch) {
                Ok(0) => return,
                Ok(n) => drained += n as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if sys::wait_one(stream, Ready::READ, Some(deadline)).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

impl Exchange for Serving<'_> {
    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.expect_body()?;
        self.body.read(self.input, buffer, Instant::now() + self.limits.body_idle)
    }

    fn expect_body(&mut self) -> io::Result<Option<Instant>> {
        if std::mem::take(&mut self.awaits_continue)
            && self.input.bytes().is_empty()
            && !self.answer.started()
        {
            let mut interim: &TcpStream = self.input.stream();
            interim.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        Ok(Some(Instant::now() + self.limits.body_idle))
    }

    fn body_at_hand(&self) -> bool {
        self.body.is_at_hand(self.input.bytes())
    }

    fn receive_body(&mut self) -> io::Result<bool> {
        if !self.body.is_at_framing() {
            return Ok(true);
        }
        match self.input.fill(Instant::now()) {
            // The end of the connection: reading the body says so.
            Ok(0) => Ok(true),
            Ok(_) => Ok(self.body_at_hand()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn client(&self) -> Option<Arc<TcpStream>> {
        Some(Arc::clone(self.input.stream()))
    }

    fn take_ahead(&mut self) -> Vec<u8> {
        self.input.take()
    }

    fn start(&mut self, status: StatusCode, headers: &HeaderMap, length: Length) {
        // Whether the rest of the body is worth reading to keep the connection is decided now: the head says so.
        let unread =
            self.body.left().is_none_or(|left| left > DRAIN_BYTES || self.awaits_continue && left > 0);
        if unread || self.stop.said() {
            self.answer.close_after();
        }
        self.answer.start(status, headers, length);
    }

    fn started(&self) -> bool {
        self.answer.started()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.answer.write(&mut &**self.input.stream(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.answer.flush(&mut &**self.input.stream())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.answer.finish(&mut &**self.input.stream())
    }
}

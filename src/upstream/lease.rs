//! A connection to the upstream, leased for one request: the stream, what of the request ureq does not know, the
//! response's head, and where the exchange stands.
//!
//! ```text
//!            acquire             the response's head               its end
//!  IdlePool ---------> Sending --------------------------> Body -----------> Ended --> IdlePool
//!                         |                                 ^ |
//!                         | a response that refuses the     | '--> Failed (closed)
//!                         | request, or the end, while it   | its head
//!                         | is being sent                   |
//!                         '-------------> Early ------------'
//! ```
//!
//! `forward` owns the lease and passes it as an argument; ureq's connector, which takes no argument of ours, finds it in a
//! slot (see `connector.rs`). Both sides use it on one thread, one after the other; the lock is there because ureq wants its
//! transports to be `Send` and `Sync`.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{Method, StatusCode};

use super::Fault;
use super::idle::{IdleConnection, IdlePool, Origin};
use crate::http1::chunked::{self, Decoder, Malformed};
use crate::http1::framing::ResponseFraming;
use crate::http1::head::{self, ResponseHead, Scan};
use crate::net::buffers::{self, Buffer, SMALL};
use crate::net::poll::{self, Ready};
use crate::net::{Received, Socket, Stream};

/// The longest head accepted, and all 1xx responses to one request together.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// What chunk extensions and trailers of a response may take.
const FRAMING_ALLOWANCE: usize = 64 * 1024;

/// A connection, leased for one request. Clones are the same lease. When the last one is dropped, the connection goes back
/// to the idle pool if the response has ended well.
#[derive(Debug, Clone)]
pub struct Lease(Arc<Mutex<Exchange>>);

/// What ureq is not given of a request's head.
#[derive(Debug, Default)]
pub struct Bypass {
    /// The request target, in place of ureq's.
    pub target: String,
    /// Lines of header fields, each with its CR LF, which come after ureq's.
    pub header_lines: Vec<u8>,
}

/// What came while the request body was still being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlyResponse {
    /// Nothing yet, or 1xx.
    None,
    /// A response that does not refuse the request: the upstream may well want the rest of the body.
    Success,
    /// A response that refuses the request, the end of the connection, or what is no response: nobody reads the rest.
    Refused,
}

/// Where an exchange stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExchangeState {
    /// The request is being sent.
    Sending,
    /// Nobody wants what is left of the request body: it is not sent, and the response is read.
    Early,
    /// The response's head is there, its body is being read.
    Body,
    /// The response was read to its end.
    Ended,
    /// No more can be done with the connection.
    Failed,
}

/// How the rest of a response's body is delimited.
#[derive(Debug)]
enum Rest {
    Counted(u64),
    Chunked(Decoder),
    UntilClose,
}

#[derive(Debug)]
pub(super) struct Exchange {
    /// None when it went back to the pool.
    stream: Option<Stream>,
    origin: Origin,
    expires_at: Instant,
    pool: IdlePool,
    /// It was idle before, not made for this request.
    is_reused: bool,
    /// The client's connection: its hang-up ends the exchange.
    client: Option<Arc<Socket>>,
    /// The request's method, which decides whether its response has a body.
    method: Method,
    /// The response's fields bypass ureq, too.
    is_prepared: bool,
    bypass: Option<Bypass>,
    /// The request's head waits for the first bytes of the body, which are here, to leave in one write.
    pub(super) defer_head: bool,
    pub(super) state: ExchangeState,
    /// Bytes of the request were given to the stream.
    sent: bool,
    /// Bytes of a response were received.
    received: bool,
    /// Received, and not yet given to ureq: a head in part or whole, and what came with it.
    input: ReceiveBuffer,
    scan: Scan,
    /// Bytes of 1xx responses.
    interim: usize,
    /// Why what came is no response.
    malformed: Option<Malformed>,
    response: Option<(ResponseHead, ResponseFraming)>,
    rest: Rest,
    /// The connection must not be used again, whatever the state.
    is_spent: bool,
    /// Bytes of the body that ureq holds and has not been asked for yet.
    pub(super) buffered: usize,
}

#[derive(Debug, Default)]
pub(super) struct ReceiveBuffer {
    pub(super) buffer: Buffer,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Lease {
    pub(super) fn new(connection: IdleConnection, is_reused: bool, pool: IdlePool) -> Self {
        let IdleConnection { stream, origin, expires_at, .. } = connection;
        Self(Arc::new(Mutex::new(Exchange {
            stream: Some(stream),
            origin,
            expires_at,
            pool,
            is_reused,
            client: None,
            method: Method::GET,
            is_prepared: false,
            bypass: None,
            defer_head: false,
            state: ExchangeState::Sending,
            sent: false,
            received: false,
            input: ReceiveBuffer::default(),
            scan: Scan::default(),
            interim: 0,
            malformed: None,
            response: None,
            rest: Rest::UntilClose,
            is_spent: false,
            buffered: 0,
        })))
    }

    /// Prepares it for a request of the client on `client`: `bypass` is what ureq is not given of its head. The head waits
    /// for the body if bytes of that are here to go with it.
    pub fn prepare(
        &self,
        client: Option<Arc<Socket>>,
        method: &Method,
        bypass: Bypass,
        has_buffered_body: bool,
    ) {
        let mut exchange = self.lock();
        exchange.client = client;
        (exchange.method, exchange.is_prepared) = (method.clone(), true);
        exchange.bypass = Some(bypass);
        exchange.defer_head = has_buffered_body;
    }

    /// The connection was reused and has ended before a byte of a response came: most likely the upstream closed it just
    /// when the request was sent.
    pub fn is_stale(&self) -> bool {
        let exchange = self.lock();
        exchange.is_reused && !exchange.received
    }

    /// Not a byte of the request was given to the connection.
    pub fn is_unsent(&self) -> bool {
        !self.lock().sent
    }

    /// Nobody wants what is left of the request body.
    pub fn is_early(&self) -> bool {
        self.lock().state == ExchangeState::Early
    }

    /// The response's status, once its head was read.
    pub fn status(&self) -> Option<StatusCode> {
        self.lock().response.as_ref().map(|(head, _)| head.status)
    }

    /// The response's head, once it was read, and how its body is delimited; none the second time.
    pub fn take_response(&self) -> Option<(ResponseHead, ResponseFraming)> {
        self.lock().response.take()
    }

    /// Something of the response's body has come: bytes of it, its end, or the start of its framing.
    pub fn has_body_begun(&self) -> bool {
        let exchange = self.lock();
        let in_framing = matches!(&exchange.rest, Rest::Chunked(decoder) if decoder.is_in_framing());
        exchange.buffered > 0 || in_framing || exchange.state != ExchangeState::Body
    }

    /// Bytes of the response's body that are here: a read of as many does not wait.
    pub fn buffered(&self) -> usize {
        self.lock().buffered
    }

    /// Waits until the client or the upstream is readable, or the deadline has passed; says which of them is, and what the
    /// upstream sent if it is a response.
    ///
    /// # Errors
    ///
    /// As `poll(2)`.
    pub fn wait_for_either(
        &self,
        client: &Socket,
        deadline: Option<Instant>,
    ) -> io::Result<(bool, EarlyResponse)> {
        let mut exchange = self.lock();
        let Some(stream) = &exchange.stream else { return Ok((true, EarlyResponse::None)) };
        let wanted = [(client.as_fd(), Ready::READ), (stream.socket().as_fd(), Ready::READ)];
        let [client, upstream] = poll::wait(wanted, deadline)?;
        let early = if upstream.readable() { exchange.poll_early_response() } else { EarlyResponse::None };
        Ok((client.readable(), early))
    }

    /// Reads on, without waiting, in a response whose body nobody wants: if it ends soon the connection can be used again.
    pub fn discard_buffered(&self) {
        let mut exchange = self.lock();
        let mut buffer = buffers::take();
        for _ in 0..4 {
            match exchange.poll_body(&mut buffer) {
                Ok(Polled::Data(_)) => {}
                _ => return,
            }
        }
    }

    /// The stream, for a tunnel, after the response 101: what came after its head is read first.
    pub fn into_tunnel(self) -> Option<Stream> {
        let mut exchange = self.lock();
        let mut stream = exchange.stream.take()?;
        stream.unread(&exchange.input.buffer[exchange.input.start..exchange.input.end]);
        exchange.input = ReceiveBuffer::default();
        Some(stream)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look at the stream found of a response's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Polled {
    /// This many bytes of it; 0 when it was framing.
    Data(usize),
    End,
    WouldBlock,
}

impl Exchange {
    pub(super) fn is_tls(&self) -> bool {
        self.origin.tls
    }

    /// What ureq is not given of the head; none the second time.
    pub(super) fn take_bypass(&mut self) -> Option<Bypass> {
        self.bypass.take()
    }

    /// Room that ureq needs to write its part of the head.
    pub(super) fn head_capacity(&self) -> usize {
        // The method, and a host of at most 255 bytes with the names of three fields.
        self.method.as_str().len() + 1024
    }

    /// Gives memory back while nothing is in it.
    pub(super) fn release_input(&mut self) {
        self.input.release();
    }

    /// No more can be done with the connection.
    pub(super) fn fail(&mut self) {
        self.state = ExchangeState::Failed;
    }

    /// Sends as much as it can; true when all of it has left.
    pub(super) fn send(&mut self, bytes: &mut &[u8]) -> io::Result<bool> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        while !bytes.is_empty() {
            let count = stream.send(bytes)?;
            self.sent |= count > 0;
            if count == 0 {
                stream.flush()?;
                return Ok(false);
            }
            *bytes = &bytes[count..];
        }
        stream.flush()
    }

    /// Waits for the stream, and for the client to hang up, which ends the exchange. Nothing is ready when the deadline has
    /// passed.
    pub(super) fn wait(&self, wanted: Ready, deadline: Option<Instant>) -> Result<Ready, Fault> {
        let stream =
            self.stream.as_ref().ok_or_else(|| Fault::Truncated(io::ErrorKind::NotConnected.into()))?;
        let socket = (stream.socket().as_fd(), wanted);
        let found = match self.client.as_deref() {
            None => poll::wait([socket], deadline).map(|[socket]| socket),
            Some(client) => match poll::wait([socket, (client.as_fd(), Ready::HANGUP)], deadline) {
                Ok([_, client]) if client.hung_up() => return Err(Fault::ClientGone),
                found => found.map(|[socket, _]| socket),
            },
        };
        found.map_err(Fault::Truncated)
    }

    /// The upstream is readable while the request body is being sent.
    pub(super) fn poll_early_response(&mut self) -> EarlyResponse {
        let early = match self.poll_final_head() {
            Ok(Head::Pending | Head::Interim) => EarlyResponse::None,
            Ok(Head::Complete(status)) if status.is_success() || status.is_informational() => {
                EarlyResponse::Success
            }
            // What is wrong is found again when the response is asked for.
            Ok(Head::Complete(_)) | Err(_) => EarlyResponse::Refused,
        };
        if early == EarlyResponse::Refused {
            (self.state, self.is_spent) = (ExchangeState::Early, true);
        }
        early
    }

    fn poll_final_head(&mut self) -> Result<Head, Fault> {
        loop {
            match self.poll_head() {
                Ok(Head::Interim) => {}
                found => return found,
            }
        }
    }

    /// A write has failed, or nobody will read the rest: what the upstream sent before says more.
    pub(super) fn stop_sending(&mut self) {
        (self.state, self.is_spent) = (ExchangeState::Early, true);
    }

    /// Nothing has come of the response yet, as far as is known without a system call.
    pub(super) fn is_silent(&mut self) -> bool {
        !self.received
            && self.state == ExchangeState::Sending
            && self.stream.as_mut().is_some_and(|s| !s.has_buffered())
    }

    /// Reads what has come of the response's head, without waiting.
    ///
    /// # Errors
    ///
    /// The connection has ended or is broken, or what came is no response.
    pub(super) fn poll_head(&mut self) -> Result<Head, Fault> {
        if let Some((head, _)) = &self.response {
            return Ok(Head::Complete(head.status));
        }
        if let Some(malformed) = self.malformed {
            return Err(Fault::BadResponse(malformed.to_string()));
        }
        loop {
            let input = &mut self.input;
            let bytes = &input.buffer[input.start..input.end];
            match head::read_response(bytes, &mut self.scan, MAX_HEAD) {
                Ok(None) => {}
                Ok(Some((head, length))) => {
                    input.start += length;
                    if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
                        self.scan = Scan::default();
                        self.interim += length;
                        if self.interim > MAX_HEAD {
                            return Err(self.malformed(Malformed("it has too many 1xx responses before it")));
                        }
                        return Ok(Head::Interim);
                    }
                    return self.begin_body(head).map_err(|malformed| self.malformed(malformed));
                }
                Err(malformed) => return Err(self.malformed(malformed)),
            }
            let stream = self.stream.as_mut().ok_or(Fault::Closed)?;
            let received = stream.receive(self.input.read_buf());
            match received.map_err(|error| Fault::broken_off(self.origin.authority.host(), error))? {
                Received::Bytes(count) => {
                    self.received = true;
                    self.input.end += count;
                }
                Received::WouldBlock => return Ok(Head::Pending),
                Received::Eof => return Err(Fault::Closed),
            }
        }
    }

    fn malformed(&mut self, malformed: Malformed) -> Fault {
        self.malformed = Some(malformed);
        self.state = ExchangeState::Failed;
        Fault::BadResponse(malformed.to_string())
    }

    fn begin_body(&mut self, head: ResponseHead) -> Result<Head, Malformed> {
        let status = head.status;
        let framing = head.framing(&self.method)?;
        self.rest = match framing {
            ResponseFraming::Empty => Rest::Counted(0),
            ResponseFraming::Length(length) => Rest::Counted(length),
            ResponseFraming::Chunked => Rest::Chunked(Decoder::new(FRAMING_ALLOWANCE)),
            ResponseFraming::UntilClose => Rest::UntilClose,
        };
        // RFC 9112 section 6.3: a server that receives both "MUST close the connection after"; who sends both may well be
        // fooled elsewhere.
        let both = head.headers.contains("transfer-encoding") && head.headers.contains("content-length");
        self.is_spent |= !head.keeps_connection() || both;
        self.response = Some((head, framing));
        Ok(Head::Complete(status))
    }

    /// The body begins: gives the bytes that came with the head, decoded, and where in the buffer they are. What comes
    /// after 101 stays here: it belongs to the tunnel.
    pub(super) fn take_input(&mut self) -> Result<(Buffer, std::ops::Range<usize>), Fault> {
        if self.response.as_ref().is_some_and(|(head, _)| head.status == StatusCode::SWITCHING_PROTOCOLS) {
            self.state = ExchangeState::Failed;
            return Ok((Buffer::default(), 0..0));
        }
        self.state = ExchangeState::Body;
        let ReceiveBuffer { mut buffer, start, end } = std::mem::take(&mut self.input);
        let count = self.decode(&mut buffer[start..end])?;
        Ok((buffer, start..start + count))
    }

    /// Decodes in place what was received of the body; says how much data it is.
    fn decode(&mut self, bytes: &mut [u8]) -> Result<usize, Fault> {
        let (count, taken) = match &mut self.rest {
            Rest::UntilClose => return Ok(bytes.len()),
            Rest::Counted(left) => {
                let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                (count, count)
            }
            Rest::Chunked(decoder) => {
                let decoded = chunked::decode_in_place(decoder, bytes);
                match decoded.next {
                    // What came before the fault is data; the fault is found again the next time.
                    Err(malformed) if decoded.data == 0 => {
                        self.state = ExchangeState::Failed;
                        return Err(Fault::BadResponse(malformed.to_string()));
                    }
                    _ => (decoded.data, decoded.taken),
                }
            }
        };
        let is_complete = match &self.rest {
            Rest::Counted(left) => *left == 0,
            Rest::Chunked(decoder) => decoder.is_complete(),
            Rest::UntilClose => false,
        };
        if is_complete {
            self.state = ExchangeState::Ended;
            // Nobody has asked for what comes after it.
            self.is_spent |= taken < bytes.len();
        }
        Ok(count)
    }

    /// Reads what has come of the body, without waiting.
    ///
    /// # Errors
    ///
    /// It was cut short, or its framing is malformed.
    pub(super) fn poll_body(&mut self, into: &mut [u8]) -> Result<Polled, Fault> {
        match self.state {
            ExchangeState::Body => {}
            ExchangeState::Ended => return Ok(Polled::End),
            _ => return Err(Fault::Truncated(io::ErrorKind::NotConnected.into())),
        }
        // A fault after data is found before anything is waited for.
        self.decode(&mut [])?;
        if self.state == ExchangeState::Ended {
            return Ok(Polled::End);
        }
        let stream =
            self.stream.as_mut().ok_or_else(|| Fault::Truncated(io::ErrorKind::NotConnected.into()))?;
        match stream.receive(into) {
            Ok(Received::Bytes(count)) => {
                let count = self.decode(&mut into[..count])?;
                Ok(if count == 0 && self.state == ExchangeState::Ended {
                    Polled::End
                } else {
                    Polled::Data(count)
                })
            }
            Ok(Received::WouldBlock) => Ok(Polled::WouldBlock),
            Ok(Received::Eof) if matches!(self.rest, Rest::UntilClose) => {
                (self.state, self.is_spent) = (ExchangeState::Ended, true);
                Ok(Polled::End)
            }
            Ok(Received::Eof) => {
                self.state = ExchangeState::Failed;
                Err(Fault::Truncated(io::ErrorKind::UnexpectedEof.into()))
            }
            Err(error) => {
                self.state = ExchangeState::Failed;
                Err(Fault::broken_off(self.origin.authority.host(), error))
            }
        }
    }

    /// The response's head as ureq gets it: the status, and with a lease no fields at all. The end of the body is the end of
    /// what comes, whatever its framing was.
    pub(super) fn head_for_ureq(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(64);
        if let Some((response, _)) = &self.response {
            head.extend_from_slice(b"HTTP/1.1 ");
            head.extend_from_slice(response.status.as_str().as_bytes());
            head.extend_from_slice(b"\r\n");
            if !self.is_prepared {
                let mut fields = response.headers.clone();
                fields.retain(|name, _| {
                    let framing = ["content-length", "transfer-encoding", "connection"];
                    !framing.iter().any(|one| crate::http1::fields::is(name, one))
                });
                fields.write(&mut head);
            }
            head.extend_from_slice(b"\r\n");
        }
        head
    }
}

/// A look at the response's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// It is not whole yet.
    Pending,
    /// A 1xx response was read and dropped.
    Interim,
    Complete(StatusCode),
}

impl ReceiveBuffer {
    /// Room for a read, grown while a head does not fit.
    fn read_buf(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.is_empty() {
            self.buffer = buffers::take();
        } else if self.start > 0 && self.buffer.len() - self.end < SMALL / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.len() < self.end + SMALL / 2 {
            self.buffer.resize(self.end + SMALL, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Gives the buffer back while nothing is in it.
    pub(super) fn release(&mut self) {
        if self.start == self.end && !self.buffer.is_empty() {
            *self = Self::default();
        }
    }
}

/// A connection whose response has ended well can be used again.
impl Drop for Exchange {
    fn drop(&mut self) {
        if self.state == ExchangeState::Ended
            && !self.is_spent
            && let Some(stream) = self.stream.take()
        {
            let (origin, expires_at) = (self.origin.clone(), self.expires_at);
            self.pool.put(IdleConnection { stream, origin, expires_at, idle_since: Instant::now() });
        }
    }
}

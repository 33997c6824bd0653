//! A TLS session over rustls' unbuffered interface: it holds a buffer only while records are on their way, so that a
//! silent connection costs what its keys cost, and reads and writes whole records.

use std::fmt;
use std::io::{self, Read, Write};

use rustls::CommonState;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use socket2::Socket;

use super::buffers::{self, Buffer, SMALL, TLS_RECORD};

/// A session, and the records on their way.
pub(super) struct Tls {
    session: Session,
    /// Received and not yet decrypted.
    incoming: RecordBuffer,
    /// Encrypted and not yet sent.
    outgoing: RecordBuffer,
    /// Among those is one that the peer may wait for before it sends more: of a handshake, a key update.
    is_awaited: bool,
    /// Much came with the last read.
    is_bulk: bool,
    /// The peer's close_notify was read.
    ended: bool,
    /// What broke the session.
    broken: Option<rustls::Error>,
}

/// Our side of it: towards a host, or towards a client.
pub(super) enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

impl Session {
    fn state(&self) -> &CommonState {
        match self {
            Self::Client(client) => client,
            Self::Server(server) => server,
        }
    }
}

/// What one step of a session came to.
struct Step {
    /// How much of what was received is used up.
    discard: usize,
    outcome: Result<Outcome, rustls::Error>,
}

enum Outcome {
    /// There is more to do.
    Continue,
    /// A record of the session's own was encoded; there is more to do.
    Encoded,
    /// The peer has ended its side.
    PeerClosed,
    /// The task is done, or waits for records.
    Done(Option<usize>),
}

/// What the session shall do once it has dealt with what was received.
enum Task<'a> {
    /// Decrypt the next record into these bytes.
    Decrypt(&'a mut [u8]),
    /// Encrypt these bytes.
    Encrypt(&'a [u8]),
    /// Encrypt a close_notify.
    Close,
}

impl Tls {
    pub(super) fn new(session: Session) -> Self {
        let (incoming, outgoing) = (RecordBuffer::default(), RecordBuffer::default());
        Self { session, incoming, outgoing, is_awaited: false, is_bulk: false, ended: false, broken: None }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.session.state().is_handshaking()
    }

    /// The session as both sides know it: version, protocol, the peer's certificates.
    pub(super) fn state(&self) -> &CommonState {
        self.session.state()
    }

    /// What was received and not yet decrypted.
    pub(super) fn received(&mut self) -> &[u8] {
        self.incoming.bytes()
    }

    /// The server's hello was read: what it objects to afterwards is what we sent after it.
    pub(super) fn has_server_hello(&self) -> bool {
        self.session.state().protocol_version().is_some()
    }

    /// The peer may wait for what was encrypted and not sent.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// The peer has ended its side properly.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Decrypts the next record that was received; what finds no room goes to `ahead`. None when no whole one is left.
    ///
    /// # Errors
    ///
    /// The peer breaks the rules. The alert that says so to it waits to be flushed.
    pub(super) fn decrypt(
        &mut self,
        into: &mut [u8],
        ahead: &mut Vec<u8>,
    ) -> Result<Option<usize>, rustls::Error> {
        self.advance(Task::Decrypt(into), ahead)
    }

    /// Encrypts one record, and says how many bytes it took.
    ///
    /// # Errors
    ///
    /// The session is over, or the peer breaks the rules.
    pub(super) fn encrypt(&mut self, bytes: &[u8], ahead: &mut Vec<u8>) -> Result<usize, rustls::Error> {
        let bytes = &bytes[..bytes.len().min(SMALL)];
        match self.advance(Task::Encrypt(bytes), ahead)? {
            Some(_) => Ok(bytes.len()),
            None => Err(rustls::Error::EncryptError),
        }
    }

    /// Encrypts the end of our side.
    ///
    /// # Errors
    ///
    /// As [`Tls::encrypt`].
    pub(super) fn close(&mut self, ahead: &mut Vec<u8>) -> Result<(), rustls::Error> {
        self.advance(Task::Close, ahead).map(drop)
    }

    fn advance(&mut self, mut task: Task<'_>, ahead: &mut Vec<u8>) -> Result<Option<usize>, rustls::Error> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        loop {
            let (incoming, outgoing) = (self.incoming.bytes(), &mut self.outgoing);
            let Step { discard, outcome } = match &mut self.session {
                Session::Client(client) => {
                    step(client.process_tls_records(incoming), &mut task, outgoing, ahead)
                }
                Session::Server(server) => {
                    step(server.process_tls_records(incoming), &mut task, outgoing, ahead)
                }
            };
            self.incoming.consume(discard);
            match outcome {
                Ok(Outcome::Continue) => {}
                Ok(Outcome::Encoded) => self.is_awaited = true,
                Ok(Outcome::PeerClosed) => self.ended = true,
                Ok(Outcome::Done(done)) => return Ok(done),
                Err(error) => {
                    self.broken = Some(error.clone());
                    self.encode_alert();
                    return Err(error);
                }
            }
        }
    }

    /// After a fault: the alert by which the peer learns of it.
    fn encode_alert(&mut self) {
        while self.session.state().wants_write() {
            let (incoming, outgoing) = (self.incoming.bytes(), &mut self.outgoing);
            let discard = match &mut self.session {
                Session::Client(client) => encode_next(client.process_tls_records(incoming), outgoing),
                Session::Server(server) => encode_next(server.process_tls_records(incoming), outgoing),
            };
            let Some(discard) = discard else { return };
            self.incoming.consume(discard);
        }
    }

    /// Reads records from the socket; 0 at its end.
    ///
    /// # Errors
    ///
    /// The socket's, `WouldBlock` included.
    pub(super) fn fill(&mut self, mut socket: &Socket) -> io::Result<usize> {
        if self.is_bulk {
            self.incoming.enlarge();
        }
        // The rest of a record that came in part, and as much as fits. A handshake message may be longer than a record.
        let least = match TLS_RECORD.saturating_sub(self.incoming.bytes().len()) {
            0 => SMALL,
            rest => rest.min(SMALL),
        };
        let read = socket.read(self.incoming.room(least));
        let amount = *read.as_ref().unwrap_or(&0);
        self.incoming.end += amount;
        self.is_bulk = amount > SMALL / 2;
        self.incoming.consume(0);
        read
    }

    /// Sends what was encrypted; true when all of it has left.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub(super) fn flush(&mut self, mut socket: &Socket) -> io::Result<bool> {
        while !self.outgoing.bytes().is_empty() {
            match socket.write(self.outgoing.bytes()) {
                Ok(n) => self.outgoing.consume(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.is_awaited = false;
        Ok(true)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Deals with what the session says next.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    task: &mut Task<'_>,
    outgoing: &mut RecordBuffer,
    ahead: &mut Vec<u8>,
) -> Step {
    let UnbufferedStatus { mut discard, state, .. } = status;
    let outcome = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => match traffic.next_record() {
            Some(Ok(record)) => {
                discard += record.discard;
                let (mut rest, mut done) = (record.payload, Outcome::Continue);
                if let Task::Decrypt(into) = task {
                    let n = rest.len().min(into.len());
                    into[..n].copy_from_slice(&rest[..n]);
                    rest = &rest[n..];
                    if n > 0 {
                        done = Outcome::Done(Some(n));
                    }
                }
                ahead.extend_from_slice(rest);
                Ok(done)
            }
            Some(Err(error)) => Err(error),
            None => Ok(Outcome::Continue),
        },
        Ok(ConnectionState::EncodeTlsData(data)) => {
            encode(data, outgoing);
            Ok(Outcome::Encoded)
        }
        // It leaves with the next flush, and nothing can overtake it.
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Outcome::Continue)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Outcome::PeerClosed),
        Ok(ConnectionState::WriteTraffic(mut traffic)) => Ok(Outcome::Done(match task {
            Task::Decrypt(_) => None,
            Task::Encrypt(bytes) => encrypt_record(outgoing, |out| traffic.encrypt(bytes, out)),
            Task::Close => encrypt_record(outgoing, |out| traffic.queue_close_notify(out)),
        })),
        Ok(_) => Ok(Outcome::Done(None)),
        Err(error) => Err(error),
    };
    Step { discard, outcome }
}

/// Encodes an alert that waits; none when there is none, else how much of what was received is used up.
fn encode_next<Data>(status: UnbufferedStatus<'_, '_, Data>, outgoing: &mut RecordBuffer) -> Option<usize> {
    let Ok(ConnectionState::EncodeTlsData(data)) = status.state else { return None };
    encode(data, outgoing);
    Some(status.discard)
}

/// Encodes a handshake record or an alert after what waits to be sent.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, outgoing: &mut RecordBuffer) {
    let mut needed = SMALL / 4;
    loop {
        match data.encode(outgoing.room(needed)) {
            Ok(n) => return outgoing.end += n,
            Err(EncodeError::InsufficientSize(size)) => needed = size.required_size,
            Err(EncodeError::AlreadyEncoded) => return,
        }
    }
}

/// Encrypts a record after what waits to be sent. None when the session takes no more.
fn encrypt_record(
    outgoing: &mut RecordBuffer,
    mut encrypt: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Option<usize> {
    let mut needed = SMALL / 4;
    loop {
        match encrypt(outgoing.room(needed)) {
            Ok(n) => {
                outgoing.end += n;
                return Some(n);
            }
            Err(EncryptError::InsufficientSize(size)) => needed = size.required_size,
            Err(EncryptError::EncryptExhausted) => return None,
        }
    }
}

/// Records in a buffer of the thread's; no buffer while there are none.
#[derive(Default)]
struct RecordBuffer {
    buffer: Buffer,
    start: usize,
    end: usize,
}

impl RecordBuffer {
    fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    /// Room for `least` bytes after those that are there.
    fn room(&mut self, least: usize) -> &mut [u8] {
        if self.buffer.is_empty() {
            self.buffer = buffers::take();
        }
        if self.start > 0 && self.buffer.len() - self.end < least {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.len() < self.end + least {
            self.buffer.resize((self.end + least).max(TLS_RECORD), 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Moves to a large buffer, if one is to be had.
    fn enlarge(&mut self) {
        if self.buffer.enlarge(self.start..self.end) {
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    fn consume(&mut self, amount: usize) {
        self.start += amount;
        if self.start == self.end && !self.buffer.is_empty() {
            (self.start, self.end) = (0, 0);
            self.buffer = Buffer::default();
        }
    }
}

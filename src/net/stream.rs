//! One connection, to a client or to a host: a non-blocking socket, with TLS or without. It never waits; whoever uses it waits
//! for the socket and for whatever else matters to them.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use socket2::Socket;

use super::buffers::{self, SMALL};
use super::handshake_error::HandshakeError;
use super::poll::Ready;
use super::tls::Tls;

/// A connection.
#[derive(Debug)]
pub struct Stream {
    /// Shared with those who wait for it only: while a request is forwarded, for the client's hang-up.
    socket: Arc<Socket>,
    tls: Option<Box<Tls>>,
    /// Received and decrypted before it was asked for.
    read_ahead: Vec<u8>,
    /// Bytes of TLS records that came since the last that carried data.
    dataless: usize,
    first_byte: FirstByte,
}

/// What is known of a client that is expected to begin with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstByte {
    /// Nothing has come.
    Awaited,
    /// It was TLS, or TLS was not expected.
    Accepted,
    /// It was plain HTTP.
    PlainHttp,
}

/// Session tickets, key updates and empty records come now and then, a few hundred bytes each. Who sends nothing else keeps a
/// thread busy for nothing.
const MAX_DATALESS: usize = 64 * 1024;
/// What a client may send for a handshake, certificates included: a hello has 2 KiB at most, a chain 10. It counts against the
/// memory of a connection, since a message is kept until it is complete.
const MAX_HANDSHAKE: usize = 32 * 1024;

/// What a receive found.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes.
    Bytes(usize),
    /// The peer's proper end of stream: FIN, after close_notify where there is TLS.
    Eof,
    /// Nothing yet; wait until the socket is readable.
    WouldBlock,
}

/// A plain connection over a socket that is already non-blocking.
impl From<Arc<Socket>> for Stream {
    fn from(socket: Arc<Socket>) -> Self {
        Self { socket, tls: None, read_ahead: Vec::new(), dataless: 0, first_byte: FirstByte::Accepted }
    }
}

impl Stream {
    /// A connection with TLS, whose handshake is done; `read_ahead` came with that.
    pub(super) fn with_tls(socket: Socket, tls: Box<Tls>, read_ahead: Vec<u8>) -> Self {
        Self { tls: Some(tls), read_ahead, ..Self::from(Arc::new(socket)) }
    }

    /// A connection of a client that shall begin with a TLS handshake.
    pub(super) fn expecting_tls(socket: Arc<Socket>, tls: Box<Tls>) -> Self {
        Self { tls: Some(tls), first_byte: FirstByte::Awaited, ..Self::from(socket) }
    }

    /// Goes on with a client's TLS handshake, and says what to wait for; none when it is over, or when there is no TLS. Whoever
    /// receives at once need not call it: receiving goes on with it, too.
    ///
    /// # Errors
    ///
    /// The client broke it off, or violates the protocol: the alert that says so has left.
    pub(crate) fn poll_handshake(&mut self) -> Result<Option<Ready>, HandshakeError> {
        loop {
            let Some(tls) = &mut self.tls else { return Ok(None) };
            let opened = tls.decrypt(&mut [], &mut self.read_ahead);
            // After a fault, too: the client learns why from the alert that this sends.
            let flushed = tls.flush(&self.socket);
            opened.map_err(HandshakeError::Tls)?;
            if !flushed.map_err(HandshakeError::Io)? {
                return Ok(Some(Ready::WRITE));
            }
            if !tls.is_handshaking() {
                self.dataless = 0;
                return Ok(None);
            }
            if self.dataless > MAX_HANDSHAKE {
                return Err(HandshakeError::TooLong);
            }
            match self.fill() {
                Ok(0) if self.dataless == 0 => return Err(HandshakeError::Silent),
                Ok(0) => return Err(HandshakeError::Closed),
                Ok(_) => {}
                Err(error) if would_block(&error) => return Ok(Some(Ready::READ)),
                // Port checks often end with a reset.
                Err(_) if self.dataless == 0 => return Err(HandshakeError::Silent),
                Err(error) => return Err(HandshakeError::Io(error)),
            }
        }
    }

    /// The client does not speak TLS, but plain HTTP: it gets its response in the same way.
    pub(crate) fn is_plain_http(&self) -> bool {
        self.first_byte == FirstByte::PlainHttp
    }

    /// The name in the certificate that the client has proven to be its own.
    pub(crate) fn certificate_name(&self) -> Option<Arc<str>> {
        let certificate = self.tls.as_ref()?.state().peer_certificates()?.first()?;
        super::certificate_name::of(certificate).map(Arc::from)
    }

    /// Reads TLS records from the socket; 0 at its end.
    fn fill(&mut self) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return Err(io::ErrorKind::NotConnected.into()) };
        let count = tls.fill(&self.socket)?;
        self.dataless += count;
        if self.first_byte == FirstByte::Awaited && count > 0 {
            // A record begins with its type, which is no letter (RFC 8446 section 5.1); every method of HTTP does.
            if tls.received().first().is_some_and(u8::is_ascii_alphabetic) {
                self.read_ahead = tls.received().to_vec();
                (self.tls, self.first_byte) = (None, FirstByte::PlainHttp);
            } else {
                self.first_byte = FirstByte::Accepted;
            }
        }
        Ok(count)
    }

    /// The socket, to wait for.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The socket, to wait for it elsewhere.
    pub(crate) fn share_socket(&self) -> Arc<Socket> {
        Arc::clone(&self.socket)
    }

    /// Puts bytes back, to be read before what comes next.
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        self.read_ahead.splice(0..0, bytes.iter().copied());
    }

    /// Bytes that are here already, without a system call: poll(2) on the socket knows nothing of them.
    ///
    /// # Errors
    ///
    /// TLS alerts and protocol errors.
    pub(crate) fn receive_buffered(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        if !self.read_ahead.is_empty() {
            let n = self.read_ahead.len().min(buffer.len());
            buffer[..n].copy_from_slice(&self.read_ahead[..n]);
            if n == self.read_ahead.len() {
                // A connection may be idle for long from now on.
                self.read_ahead = Vec::new();
            } else {
                self.read_ahead.drain(..n);
            }
            return Ok(Received::Bytes(n));
        }
        let Some(tls) = &mut self.tls else {
            return Ok(Received::WouldBlock);
        };
        let opened = tls.decrypt(buffer, &mut self.read_ahead);
        Ok(match opened.map_err(|error| broken(tls, &self.socket, error))? {
            Some(n) => Received::Bytes(n),
            None if tls.ended() => Received::Eof,
            None => Received::WouldBlock,
        })
    }

    /// Whether [`Stream::receive_buffered`] can find anything: it cannot on a plain connection with nothing read ahead.
    pub(crate) fn may_have_buffered(&self) -> bool {
        self.tls.is_some() || !self.read_ahead.is_empty()
    }

    /// Bytes that are here or in the socket.
    ///
    /// # Errors
    ///
    /// The socket's, TLS alerts and protocol errors, and `UnexpectedEof` for an end without close_notify.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            match self.receive_buffered(buffer)? {
                Received::WouldBlock => {}
                found => {
                    self.dataless = 0;
                    return Ok(found);
                }
            }
            let Some(tls) = &mut self.tls else {
                return match (&*self.socket).read(buffer) {
                    Ok(0) => Ok(Received::Eof),
                    Ok(n) => Ok(Received::Bytes(n)),
                    Err(error) => nothing_if_blocked(error),
                };
            };
            // That it cannot be sent is no reason not to read what the peer has sent before.
            if tls.is_awaited() {
                let _ = tls.flush(&self.socket);
            }
            if self.dataless > if tls.is_handshaking() { MAX_HANDSHAKE } else { MAX_DATALESS } {
                let message = "TLS records without data, one after another";
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            match self.fill() {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => return nothing_if_blocked(error),
            }
        }
    }

    /// Gives bytes to the connection and says how many it took; 0 when it can take none before the socket is
    /// writable. What it took may still be on its way: see [`Stream::flush`].
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return (&*self.socket).write(bytes).or_else(zero_if_blocked);
        };
        if bytes.is_empty() || !tls.flush(&self.socket)? {
            return Ok(0);
        }
        let taken = tls.encrypt(bytes, &mut self.read_ahead);
        let taken = taken.map_err(|error| broken(tls, &self.socket, error))?;
        tls.flush(&self.socket)?;
        Ok(taken)
    }

    /// The same for several pieces, in one go where it can.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn send_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match pieces.iter().find(|piece| !piece.is_empty()) {
            None => Ok(0),
            Some(first) if pieces.len() == 1 => self.send(first),
            Some(first) if self.tls.is_some() => {
                if first.len() >= SMALL {
                    return self.send(first);
                }
                // A record for each would be a packet for each: the size of a chunk, the chunk, two bytes after it.
                let mut record = buffers::take();
                let mut length = 0;
                for piece in pieces {
                    let count = piece.len().min(SMALL - length);
                    record[length..length + count].copy_from_slice(&piece[..count]);
                    length += count;
                }
                self.send(&record[..length])
            }
            _ => (&*self.socket).write_vectored(pieces).or_else(zero_if_blocked),
        }
    }

    /// Pushes out what was taken; true when all of it has left.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn flush(&mut self) -> io::Result<bool> {
        self.tls.as_mut().map_or(Ok(true), |tls| tls.flush(&self.socket))
    }

    /// Ends our side: close_notify, then FIN. The other direction stays open. False when the socket has no room for
    /// it: to be called again when it is writable, or a full pipe would end in what looks like a cut.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn shutdown_write(&mut self) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            let closed = tls.close(&mut self.read_ahead);
            closed.map_err(|error| broken(tls, &self.socket, error))?;
        }
        if !self.flush()? {
            return Ok(false);
        }
        self.socket.shutdown(Shutdown::Write)?;
        Ok(true)
    }

    /// Says that nothing more will come, so that what has come is known to be complete. For a connection that is closed next;
    /// without TLS, FIN alone says it.
    pub(crate) fn close_notify(&mut self) {
        if let Some(tls) = &mut self.tls
            && tls.close(&mut self.read_ahead).is_ok()
        {
            let _ = tls.flush(&self.socket);
        }
    }

    /// A receive will return something that poll(2) on the socket does not report.
    pub fn has_buffered(&mut self) -> bool {
        // Bytes read ahead, the end, or a fault.
        let in_tls = self
            .tls
            .as_mut()
            .is_some_and(|tls| tls.decrypt(&mut [], &mut self.read_ahead).is_err() || tls.ended());
        in_tls || !self.read_ahead.is_empty()
    }

    /// Nothing has come on it, not even its end: only then may another request be sent on an idle one. TLS session tickets are
    /// taken in and do not count.
    pub(crate) fn is_reusable(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.receive(&mut byte), Ok(Received::WouldBlock))
    }
}

/// A broken session: the peer learns why from the alert that this sends.
fn broken(tls: &mut Tls, socket: &Socket, error: rustls::Error) -> io::Error {
    let _ = tls.flush(socket);
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn nothing_if_blocked(error: io::Error) -> io::Result<Received> {
    if would_block(&error) { Ok(Received::WouldBlock) } else { Err(error) }
}

fn zero_if_blocked(error: io::Error) -> io::Result<usize> {
    if would_block(&error) { Ok(0) } else { Err(error) }
}

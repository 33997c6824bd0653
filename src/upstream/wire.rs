//! One connection to Entra ID or the destination: a non-blocking socket, with TLS or without. It never waits;
//! whoever uses it waits for the socket and for whatever else matters to them.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::tls::Tls;

/// A connection.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
    tls: Option<Box<Tls>>,
    /// Received ahead of being asked for: the start of an early answer, or what followed a 101.
    ahead: Vec<u8>,
    /// Bytes of TLS records that came since the last that carried data.
    dataless: usize,
}

/// Session tickets, key updates and empty records come now and then, a few hundred bytes each. Who sends nothing else keeps a
/// thread busy for nothing.
const MAX_DATALESS: usize = 64 * 1024;

/// What a receive found.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes.
    Bytes(usize),
    /// The peer's proper end of stream: FIN, after close_notify where there is TLS.
    End,
    /// Nothing yet; wait until the socket is readable.
    Nothing,
}

impl Wire {
    /// A connection over a socket that is already non-blocking, its handshake done; `ahead` came with that.
    pub(super) fn new(socket: TcpStream, tls: Option<Box<Tls>>, ahead: Vec<u8>) -> Self {
        Self { socket, tls, ahead, dataless: 0 }
    }

    /// The socket, to wait for.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Puts bytes back in front of what comes next.
    pub(super) fn put_back(&mut self, bytes: Vec<u8>) {
        self.ahead.splice(0..0, bytes);
    }

    /// Bytes that are here already, without a system call.
    pub fn buffered(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        if !self.ahead.is_empty() {
            let n = self.ahead.len().min(buffer.len());
            buffer[..n].copy_from_slice(&self.ahead[..n]);
            self.ahead.drain(..n);
            return Ok(Received::Bytes(n));
        }
        let Some(tls) = &mut self.tls else {
            return Ok(Received::Nothing);
        };
        let opened = tls.open(buffer, &mut self.ahead);
        Ok(match opened.map_err(|error| broken(tls, &self.socket, error))? {
            Some(n) => Received::Bytes(n),
            None if tls.ended() => Received::End,
            None => Received::Nothing,
        })
    }

    /// Bytes that are here or in the socket.
    ///
    /// # Errors
    ///
    /// The socket's, TLS alerts and protocol errors, and `UnexpectedEof` for an end without close_notify.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            match self.buffered(buffer)? {
                Received::Nothing => {}
                found => {
                    self.dataless = 0;
                    return Ok(found);
                }
            }
            let Some(tls) = &mut self.tls else {
                return match self.socket.read(buffer) {
                    Ok(0) => Ok(Received::End),
                    Ok(n) => Ok(Received::Bytes(n)),
                    Err(error) => nothing_if_blocked(error),
                };
            };
            if self.dataless > MAX_DATALESS {
                let message = "TLS records without data, one after another";
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            match tls.fill(&self.socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.dataless += count,
                Err(error) => return nothing_if_blocked(error),
            }
        }
    }

    /// Gives bytes to the connection and says how many it took; 0 when it can take none before the socket is
    /// writable. What it took may still be on its way: see [`Wire::flush`].
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return match self.socket.write(bytes) {
                Ok(n) => Ok(n),
                Err(error) => zero_if_blocked(error),
            };
        };
        if bytes.is_empty() || !tls.flush(&self.socket)? {
            return Ok(0);
        }
        let taken = tls.seal(bytes, &mut self.ahead);
        let taken = taken.map_err(|error| broken(tls, &self.socket, error))?;
        tls.flush(&self.socket)?;
        Ok(taken)
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
    pub fn end(&mut self) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            let closed = tls.close(&mut self.ahead);
            closed.map_err(|error| broken(tls, &self.socket, error))?;
        }
        if !self.flush()? {
            return Ok(false);
        }
        self.socket.shutdown(std::net::Shutdown::Write)?;
        Ok(true)
    }

    /// A receive will find something without the socket, which does not tell.
    pub fn at_hand(&mut self) -> bool {
        // What it is told by: bytes ahead, the end, or a fault.
        let in_tls =
            self.tls.as_mut().is_some_and(|tls| tls.open(&mut [], &mut self.ahead).is_err() || tls.ended());
        in_tls || !self.ahead.is_empty()
    }

    /// An idle connection that has nothing to say: what pooled connections must be. TLS session tickets are
    /// taken in and do not count.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.receive(&mut byte), Ok(Received::Nothing))
    }
}

/// A broken session: the peer learns why from the alert that this sends.
fn broken(tls: &mut Tls, socket: &TcpStream, error: rustls::Error) -> io::Error {
    let _ = tls.flush(socket);
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn nothing_if_blocked(error: io::Error) -> io::Result<Received> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Received::Nothing),
        _ => Err(error),
    }
}

fn zero_if_blocked(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ => Err(error),
    }
}

//! What a client sends: a buffer in front of its socket, read with deadlines.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use crate::scratch::{self, Buffer, STEP};
use crate::sys::{self, Ready};

/// Where the bytes come from: a client's socket, or a script in its place.
pub trait Source {
    /// Reads at least one byte, waiting for it; 0 when the client has ended its side.
    ///
    /// # Errors
    ///
    /// `TimedOut` when `deadline` passed first, else the socket's.
    fn read(&mut self, into: &mut [u8], deadline: Instant) -> io::Result<usize>;
}

/// Bytes received and not yet used, in front of a non-blocking socket.
#[derive(Debug)]
pub struct Input<S = Arc<TcpStream>> {
    source: S,
    buffer: Buffer,
    start: usize,
    end: usize,
}

impl Input {
    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        &self.source
    }
}

impl<S: Source> Input<S> {
    /// Nothing was received yet.
    pub fn new(source: S) -> Self {
        Self { source, buffer: Buffer::default(), start: 0, end: 0 }
    }

    /// Bytes received and not yet used.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Drops the first `amount` of [`Input::bytes`].
    pub fn consume(&mut self, amount: usize) {
        self.start += amount;
        self.release();
    }

    /// Reads more bytes after those received; 0 when the client has ended its side.
    ///
    /// # Errors
    ///
    /// `TimedOut` when `deadline` passed first, else the socket's.
    pub fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        if self.start > 0 && self.buffer.len() - self.end < STEP / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.is_empty() {
            self.buffer = scratch::take();
        } else if self.buffer.len() < self.end + STEP / 2 {
            self.buffer.resize(self.end + STEP, 0);
        }
        let n = self.source.read(&mut self.buffer[self.end..], deadline)?;
        self.end += n;
        Ok(n)
    }

    /// Reads at least one byte: of those received, else straight from the source; 0 when the client has ended its side.
    ///
    /// # Errors
    ///
    /// As [`Input::fill`].
    pub(super) fn read(&mut self, into: &mut [u8], deadline: Instant) -> io::Result<usize> {
        if self.bytes().is_empty() {
            return self.source.read(into, deadline);
        }
        let count = self.bytes().len().min(into.len());
        into[..count].copy_from_slice(&self.bytes()[..count]);
        self.consume(count);
        Ok(count)
    }

    /// Takes all bytes received, and frees the buffer.
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = self.bytes().to_vec();
        self.consume(bytes.len());
        bytes
    }

    /// Gives the buffer back when nothing is in it.
    pub(super) fn release(&mut self) {
        if self.start == self.end && !self.buffer.is_empty() {
            (self.start, self.end) = (0, 0);
            self.buffer = Buffer::default();
        }
    }
}

/// A non-blocking socket.
impl Source for Arc<TcpStream> {
    fn read(&mut self, into: &mut [u8], deadline: Instant) -> io::Result<usize> {
        let mut stream: &TcpStream = self;
        loop {
            match stream.read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sys::wait_one(stream, Ready::READ, Some(deadline))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

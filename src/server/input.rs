//! What a client sends: a buffer over its connection, read with deadlines.

use std::io;
use std::time::Instant;

use crate::net::buffers::{self, Buffer, SMALL};
use crate::net::poll::{self, Ready};
use crate::net::{Received, Stream};

/// Where the bytes come from: a client's connection, or a script in a test.
pub trait Source {
    /// Reads at least one byte, waiting for it; 0 when the client has ended its side.
    ///
    /// # Errors
    ///
    /// `TimedOut` when `deadline` passed first, else the socket's.
    fn read(&mut self, into: &mut [u8], deadline: Instant) -> io::Result<usize>;
}

/// Bytes received and not yet used, and the source of those that follow.
#[derive(Debug)]
pub struct Input<S = Stream> {
    source: S,
    buffer: Buffer,
    start: usize,
    end: usize,
}

impl Input {
    pub(super) fn stream(&self) -> &Stream {
        &self.source
    }

    pub(super) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.source
    }

    /// Adds what the connection has received and decrypted, of which poll(2) on its socket knows nothing.
    ///
    /// # Errors
    ///
    /// As [`Stream::receive_buffered`].
    pub(super) fn fill_buffered(&mut self) -> io::Result<Received> {
        if !self.source.may_have_buffered() {
            return Ok(Received::WouldBlock);
        }
        self.reserve();
        let received = self.source.receive_buffered(&mut self.buffer[self.end..]);
        if let Ok(Received::Bytes(count)) = received {
            self.end += count;
        }
        self.release();
        received
    }

    /// The connection, with the bytes received and not used put back, so that they are read first.
    pub(super) fn rewind(&mut self) -> &mut Stream {
        self.source.unread(&self.buffer[self.start..self.end]);
        self.start = self.end;
        self.release();
        &mut self.source
    }
}

impl<S: Source> Input<S> {
    /// An empty buffer over this source.
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
        self.reserve();
        let n = self.source.read(&mut self.buffer[self.end..], deadline)?;
        self.end += n;
        Ok(n)
    }

    /// Makes room after the bytes received.
    fn reserve(&mut self) {
        if self.start > 0 && self.buffer.len() - self.end < SMALL / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.is_empty() {
            self.buffer = buffers::take();
        } else if self.buffer.len() < self.end + SMALL / 2 {
            self.buffer.resize(self.end + SMALL, 0);
        }
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

    /// Gives the buffer back when nothing is in it.
    pub(super) fn release(&mut self) {
        if self.start == self.end && !self.buffer.is_empty() {
            (self.start, self.end) = (0, 0);
            self.buffer = Buffer::default();
        }
    }
}

/// A connection, which never waits by itself.
impl Source for Stream {
    fn read(&mut self, into: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            match self.receive(into)? {
                Received::Bytes(count) => return Ok(count),
                Received::Eof => return Ok(0),
                Received::WouldBlock => poll::wait_one(self.socket(), Ready::READ, Some(deadline))?,
            };
        }
    }
}

//! Writes responses: the head, the framing, and writes that leave at once.

use std::io::{self, IoSlice, Write};
use std::time::Duration;

use http::{Method, StatusCode, Version};

use super::limits::{Limits, MinRate};
use super::{Head, Length};
use crate::fields::Fields;
use crate::http1::chunked;
use crate::net::Stream;
use crate::net::poll::{self, Ready};

#[derive(Debug)]
pub(super) struct ResponseWriter {
    /// The head and chunk framing that wait for the next write.
    out: Vec<u8>,
    framing: Framing,
    /// The connection closes after this response.
    close: bool,
    /// How long the connection stays open for another request, in whole seconds: clients that know it do not send one on a
    /// connection that is just being closed.
    keep_alive: u64,
    version: Version,
    /// The client does not expect a body: its request was HEAD.
    head_only: bool,
    /// How fast the client has to take what waits for it.
    rate: MinRate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    NotStarted,
    /// This many bytes may still be written.
    Counted(u64),
    Chunked,
    UntilClose,
    Finished,
}

impl ResponseWriter {
    pub(super) fn new(head: &Head, close: bool, limits: &Limits) -> Self {
        Self {
            out: Vec::with_capacity(1024),
            framing: Framing::NotStarted,
            close,
            keep_alive: limits.keep_alive.as_secs(),
            version: head.version,
            head_only: head.method == Method::HEAD,
            rate: MinRate::new(limits.write_timeout),
        }
    }

    /// For a request whose head could not be parsed: the last response of its connection.
    pub(super) fn for_error(write_timeout: Duration) -> Self {
        Self {
            out: Vec::with_capacity(512),
            framing: Framing::NotStarted,
            close: true,
            keep_alive: 0,
            version: Version::HTTP_11,
            head_only: false,
            rate: MinRate::new(write_timeout),
        }
    }

    pub(super) fn has_started(&self) -> bool {
        self.framing != Framing::NotStarted
    }

    /// The whole response was sent.
    pub(super) fn is_finished(&self) -> bool {
        self.framing == Framing::Finished
    }

    /// The body ends where the connection ends, so that a truncated one looks complete.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    /// A truncated body shows as such.
    #[cfg(feature = "tiny_http")]
    pub(super) fn is_chunked(&self) -> bool {
        self.framing == Framing::Chunked
    }

    pub(super) fn closes(&self) -> bool {
        self.close
    }

    /// Closes the connection after this response. Only before it has started.
    pub(super) fn close_after(&mut self) {
        self.close = true;
    }

    pub(super) fn start(&mut self, status: StatusCode, headers: &Fields, length: Length) {
        let switching = status == StatusCode::SWITCHING_PROTOCOLS;
        self.framing = match length {
            Length::Empty => Framing::Counted(0),
            Length::Known(n) => Framing::Counted(if self.head_only { 0 } else { n }),
            Length::Unknown if self.head_only => Framing::Counted(0),
            Length::Unknown if self.version == Version::HTTP_10 => {
                self.close = true;
                Framing::UntilClose
            }
            Length::Unknown => Framing::Chunked,
        };
        let out = &mut self.out;
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
        headers.write(out);
        if let Length::Known(n) = length {
            let _ = write!(out, "content-length: {n}\r\n");
        }
        if self.framing == Framing::Chunked {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        if switching {
            self.close = true;
        } else if self.close {
            out.extend_from_slice(b"connection: close\r\n");
        } else {
            if self.version == Version::HTTP_10 {
                out.extend_from_slice(b"connection: keep-alive\r\n");
            }
            let _ = write!(out, "keep-alive: timeout={}\r\n", self.keep_alive);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Sends a 100 response, which says that the body may come (RFC 9110 section 15.2.1).
    pub(super) fn send_continue(&mut self, sink: &mut impl ResponseSink) -> io::Result<()> {
        self.send(sink, b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    }

    pub(super) fn write(&mut self, sink: &mut impl ResponseSink, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        match &mut self.framing {
            Framing::Chunked => {
                chunked::write_size(bytes.len(), &mut self.out);
                return self.send(sink, bytes, chunked::CHUNK_END);
            }
            // The response to HEAD has no body, whatever the service writes.
            Framing::Counted(_) if self.head_only => return Ok(()),
            Framing::Counted(left) => {
                let n = bytes.len() as u64;
                *left = left.checked_sub(n).ok_or(io::ErrorKind::InvalidData)?;
            }
            Framing::UntilClose => {}
            Framing::NotStarted | Framing::Finished => return Err(io::ErrorKind::InvalidInput.into()),
        }
        self.send(sink, bytes, b"")
    }

    pub(super) fn flush(&mut self, sink: &mut impl ResponseSink) -> io::Result<()> {
        self.send(sink, b"", b"")
    }

    pub(super) fn finish(&mut self, sink: &mut impl ResponseSink) -> io::Result<()> {
        match self.framing {
            Framing::Counted(0) | Framing::UntilClose => {}
            Framing::Chunked => self.out.extend_from_slice(chunked::LAST_CHUNK),
            // Bytes are missing: this cannot be finished.
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
        self.flush(sink)?;
        self.framing = Framing::Finished;
        Ok(())
    }

    /// Writes what is buffered, then `bytes`, then `tail`.
    fn send(&mut self, sink: &mut impl ResponseSink, bytes: &[u8], tail: &[u8]) -> io::Result<()> {
        sink.send([&self.out, bytes, tail], &mut self.rate)?;
        self.out.clear();
        Ok(())
    }
}

/// Where a response is written.
pub(super) trait ResponseSink {
    /// Sends all of the parts, in one go where it can. The client has to take them as fast as `rate` asks.
    ///
    /// # Errors
    ///
    /// The client's connection broke, or it was too slow.
    fn send(&mut self, parts: [&[u8]; 3], rate: &mut MinRate) -> io::Result<()>;
}

/// A connection, which never waits by itself.
impl ResponseSink for Stream {
    fn send(&mut self, parts: [&[u8]; 3], rate: &mut MinRate) -> io::Result<()> {
        let mut slices = parts.map(IoSlice::new);
        let mut left = &mut slices[..];
        IoSlice::advance_slices(&mut left, 0);
        loop {
            let taken = self.send_vectored(left)?;
            rate.record(taken);
            IoSlice::advance_slices(&mut left, taken);
            if left.is_empty() && self.flush()? {
                return Ok(());
            }
            if taken == 0 {
                let waited = poll::wait_one(self.socket(), Ready::WRITE, Some(rate.deadline()));
                // Reset it, or the system would keep what the client does not read for minutes more.
                waited.inspect_err(|_| drop(self.socket().set_linger(Some(Duration::ZERO))))?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::net;

    /// An unread earlier response must not fail the next request.
    #[test]
    fn a_100_response_waits_for_room() {
        let (mut server, mut client) = net::pair();
        let mut filled = 0;
        while let Ok(n @ 1..) = server.send(&[b'x'; 65536]) {
            filled += n;
        }
        let sending = std::thread::spawn(move || {
            ResponseWriter::for_error(Duration::from_secs(20))
                .send_continue(&mut server)
                .map_err(|error| error.to_string())
        });
        client.read_exact(&mut vec![0; filled]).unwrap();
        let mut response = [0; 25];
        client.read_exact(&mut response).unwrap();
        assert_eq!(&response, b"HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(sending.join().unwrap(), Ok(()));
    }
}

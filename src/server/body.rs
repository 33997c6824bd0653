//! Request bodies: exactly so many bytes, or chunks, read strictly (RFC 9112 sections 6 and 7).

use std::io;
use std::time::Instant;

use super::Length;
use super::input::{Input, Source};

/// A chunk-size line: the size, and an extension that nobody reads.
const MAX_CHUNK_LINE: usize = 1024;

/// Where in its body a request is.
#[derive(Debug)]
pub struct Body {
    state: State,
    /// Bytes that trailers and chunk extensions may still take.
    overhead: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes are left.
    Counted(u64),
    /// In front of a chunk-size line.
    ChunkSize,
    /// So many bytes of a chunk are left.
    Chunk(u64),
    /// In front of the line end behind a chunk.
    ChunkEnd,
    /// In front of a trailer field or the empty line that ends the body.
    Trailers,
    Done,
    /// The client left or broke the rules.
    Broken,
}

impl Body {
    /// The body of a request with this length; `overhead` bounds the bytes of its trailers and chunk extensions.
    pub fn new(length: Length, overhead: usize) -> Self {
        let state = match length {
            Length::Empty | Length::Known(0) => State::Done,
            Length::Known(n) => State::Counted(n),
            Length::Unknown => State::ChunkSize,
        };
        Self { state, overhead }
    }

    /// The whole body was read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The most bytes still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Counted(n) => Some(n),
            _ => None,
        }
    }

    /// What comes next is no byte of the body.
    pub(super) fn is_at_framing(&self) -> bool {
        matches!(self.state, State::ChunkSize | State::ChunkEnd | State::Trailers)
    }

    /// The next read will not wait: bytes of the body, its end or a fault are among `bytes`, which were received.
    /// Framing alone is not enough, or a read would wait for what comes behind it.
    pub(super) fn is_at_hand(&self, bytes: &[u8]) -> bool {
        match self.state {
            State::Done | State::Broken => true,
            State::Counted(_) | State::Chunk(_) => !bytes.is_empty(),
            State::ChunkSize => self.is_chunk_at_hand(bytes),
            State::ChunkEnd => split_line(bytes).is_some_and(|(_, rest)| self.is_chunk_at_hand(rest)),
            State::Trailers => self.is_end_at_hand(bytes),
        }
    }

    fn is_chunk_at_hand(&self, bytes: &[u8]) -> bool {
        match split_line(bytes).map(|(line, rest)| (chunk_size(line), rest)) {
            None => bytes.len() > MAX_CHUNK_LINE,
            Some((Ok((0, _)), rest)) => self.is_end_at_hand(rest),
            Some((Ok(_), rest)) => !rest.is_empty(),
            Some((Err(_), _)) => true,
        }
    }

    fn is_end_at_hand(&self, mut bytes: &[u8]) -> bool {
        while let Some((line, rest)) = split_line(bytes) {
            if line.is_empty() {
                return true;
            }
            bytes = rest;
        }
        bytes.len() > self.overhead
    }

    /// Reads some of the body; 0 at its end.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`, `InvalidData`, `TimedOut`, or the socket's; then it is broken for good.
    pub fn read<S: Source>(
        &mut self,
        input: &mut Input<S>,
        into: &mut [u8],
        deadline: Instant,
    ) -> io::Result<usize> {
        let read = self.step(input, into, deadline);
        if read.is_err() {
            self.state = State::Broken;
        }
        read
    }

    fn step<S: Source>(
        &mut self,
        input: &mut Input<S>,
        into: &mut [u8],
        deadline: Instant,
    ) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::Done => return Ok(0),
                State::Broken => return Err(io::ErrorKind::UnexpectedEof.into()),
                State::Counted(left) => {
                    let n = take(input, into, left, deadline)?;
                    self.state = if n == left { State::Done } else { State::Counted(left - n) };
                    return Ok(to_usize(n));
                }
                State::Chunk(left) => {
                    let n = take(input, into, left, deadline)?;
                    self.state = if n == left { State::ChunkEnd } else { State::Chunk(left - n) };
                    return Ok(to_usize(n));
                }
                State::ChunkSize => {
                    let line = self.line(input, MAX_CHUNK_LINE, deadline)?;
                    let (size, extension) = chunk_size(&line)?;
                    self.spend(extension)?;
                    self.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
                }
                State::ChunkEnd => {
                    if !self.line(input, 2, deadline)?.is_empty() {
                        return Err(invalid("a chunk is longer than its size"));
                    }
                    self.state = State::ChunkSize;
                }
                State::Trailers => {
                    let line = self.line(input, self.overhead, deadline)?;
                    if line.is_empty() {
                        self.state = State::Done;
                    } else {
                        trailer(&line)?;
                        self.spend(line.len() + 2)?;
                    }
                }
            }
        }
    }

    fn spend(&mut self, bytes: usize) -> io::Result<()> {
        self.overhead = self.overhead.checked_sub(bytes).ok_or_else(|| invalid("too many trailers"))?;
        Ok(())
    }

    /// One line without its CR LF.
    fn line<S: Source>(&self, input: &mut Input<S>, max: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        let mut seen = 0;
        loop {
            let bytes = input.bytes();
            if let Some(i) = bytes[seen..].iter().position(|b| *b == b'\n').map(|i| seen + i) {
                let line = match bytes[..i].strip_suffix(b"\r") {
                    Some(line) if !line.contains(&b'\r') => line.to_vec(),
                    _ => return Err(invalid("bare CR or LF in a chunked body")),
                };
                if line.len() > max {
                    return Err(invalid("a line of a chunked body is too long"));
                }
                input.consume(i + 1);
                return Ok(line);
            }
            seen = bytes.len();
            if seen > max + 1 {
                return Err(invalid("a line of a chunked body is too long"));
            }
            if input.fill(deadline)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The first line without its line end, and what follows.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    Some((bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]), &bytes[end + 1..]))
}

/// Reads at most `left` bytes and at least one.
fn take<S: Source>(input: &mut Input<S>, into: &mut [u8], left: u64, deadline: Instant) -> io::Result<u64> {
    let most = into.len().min(to_usize(left));
    let n = if input.bytes().is_empty() {
        input.read_direct(&mut into[..most], deadline)?
    } else {
        let n = input.bytes().len().min(most);
        into[..n].copy_from_slice(&input.bytes()[..n]);
        input.consume(n);
        n
    };
    if n == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(n as u64) }
}

/// `chunk-size [ chunk-ext ]`: the size, and how many bytes the extension takes.
fn chunk_size(line: &[u8]) -> io::Result<(u64, usize)> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits);
    if digits.is_empty() || digits.len() > 16 {
        return Err(invalid("a chunk size is not a number"));
    }
    // White space is allowed in front of the semicolon, and nowhere else (section 7.1.1).
    let bare = extension.trim_ascii_start();
    let well_formed = extension.is_empty() || bare.starts_with(b";");
    if !well_formed || extension.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
        return Err(invalid("a chunk extension is malformed"));
    }
    let size = digits.iter().fold(0, |size, digit| size << 4 | u64::from(hex(*digit)));
    Ok((size, extension.len()))
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Trailers are read and dropped; a line that is none shows a client that counts otherwise than we do.
fn trailer(line: &[u8]) -> io::Result<()> {
    let name = line.split(|b| *b == b':').next().unwrap_or_default();
    let well_formed = name.len() < line.len() && http::HeaderName::from_bytes(name).is_ok();
    if well_formed { Ok(()) } else { Err(invalid("a trailer is malformed")) }
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;

//! What the destination sends, made readable for ureq, in place: interim answers are dropped, of which ureq refuses
//! 100 with fields; chunk-size lines lose their extensions, of which ureq refuses more than 18 bytes; trailers are
//! dropped, which ureq does not limit. Strict where ureq is not: no sign, no white space in front of a size.

use std::mem::MaybeUninit;

use http::StatusCode;

use crate::fields::{Fields, is};

/// Fields of a head; ureq takes no more.
const MAX_FIELDS: usize = 128;
/// The longest head accepted.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// Bytes of one chunk extension, of all trailers, and of all interim answers to one request.
const MAX_OVERHEAD: usize = 64 * 1024;
/// Digits of a chunk size: 64 bits.
const MAX_DIGITS: usize = 16;

/// Where in an answer a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In front of or within a head; so many bytes of interim answers were dropped.
    Head(usize),
    /// In a body that is not chunked, or in what ureq will refuse.
    Plain,
    /// Within a chunk-size line: its digits so far, and the size they say.
    Size {
        digits: usize,
        size: u64,
    },
    /// Behind the digits of that size; so many bytes of an extension were dropped.
    Extension {
        size: u64,
        dropped: usize,
    },
    /// Behind the CR of that line.
    SizeEnd(u64),
    /// So many bytes of a chunk are left.
    Chunk(u64),
    /// In front of the CR, then the LF, behind a chunk.
    ChunkCr,
    ChunkLf,
    /// In front of a trailer or of the empty line; so many bytes of trailers were dropped.
    TrailerStart(usize),
    TrailerName(usize),
    Trailer(usize),
    /// Behind the CR of a trailer.
    TrailerLf(usize),
    /// In front of the LF of the empty line.
    LastLf,
    /// Nothing more belongs to this answer.
    Ended,
    /// What came is no answer.
    Broken,
}

/// The filter of one connection.
#[derive(Debug)]
pub struct Filter {
    state: State,
    /// ureq gets no fields but those it reads the answer by.
    pass_by: bool,
    /// All fields of the answer that begins, if they pass ureq by.
    fields: Option<Fields>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { state: State::Head(0), pass_by: false, fields: None }
    }
}

impl Filter {
    /// A new request: what comes next is a head, whose fields pass ureq by, or do not.
    pub fn restart(&mut self, pass_by: bool) {
        *self = Self { pass_by, ..Self::default() };
    }

    /// The fields of the answer's head, once it is whole, if they pass ureq by.
    pub fn take_fields(&mut self) -> Option<Fields> {
        self.fields.take()
    }

    /// The answer's head is not whole yet.
    pub fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// The chunks make no sense from here on.
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Takes what ureq has not consumed, of which the last `new` bytes have just come, and says how many bytes of
    /// it are left after the filter, moved to its beginning.
    pub fn pass(&mut self, bytes: &mut [u8], new: usize) -> usize {
        let mut length = bytes.len();
        let mut from = length - new;
        if let State::Head(mut dropped) = self.state {
            from = loop {
                match head(&bytes[..length], self.pass_by) {
                    Head::Incomplete => return length,
                    Head::Interim(end) => {
                        bytes.copy_within(end..length, 0);
                        length -= end;
                        dropped += end;
                        self.state =
                            if dropped > MAX_OVERHEAD { State::Broken } else { State::Head(dropped) };
                        if self.is_broken() {
                            return 0;
                        }
                    }
                    Head::Final(end, state, fields) => {
                        self.state = state;
                        // One that is too long ureq shall see, and refuse.
                        let Some(fields) = fields.filter(|_| end <= MAX_HEAD) else { break end };
                        self.fields = Some(fields);
                        let left = thin(&mut bytes[..end]);
                        bytes.copy_within(end..length, left);
                        length -= end - left;
                        break left;
                    }
                }
            };
        }
        if self.state == State::Plain { length } else { from + self.chunks(&mut bytes[from..length]) }
    }

    fn chunks(&mut self, bytes: &mut [u8]) -> usize {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() {
            if let State::Chunk(left) = self.state {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - from);
                bytes.copy_within(from..from + count, to);
                (from, to) = (from + count, to + count);
                let left = left - count as u64;
                self.state = if left == 0 { State::ChunkCr } else { State::Chunk(left) };
                continue;
            }
            let byte = bytes[from];
            let (state, passes) = next(self.state, byte);
            self.state = state;
            if state == State::Broken {
                return to;
            }
            if passes {
                bytes[to] = byte;
                to += 1;
            }
            from += 1;
        }
        to
    }
}

/// What a byte of chunk framing leads to, and whether ureq needs to see it.
fn next(state: State, byte: u8) -> (State, bool) {
    match (state, byte) {
        (State::Size { digits, size }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < MAX_DIGITS => {
            let value = char::from(byte).to_digit(16).unwrap_or_default();
            (State::Size { digits: digits + 1, size: size << 4 | u64::from(value) }, true)
        }
        (State::Size { digits: 1.., size } | State::Extension { size, .. }, b'\r') => {
            (State::SizeEnd(size), true)
        }
        (State::Size { digits: 1.., size }, b';' | b' ' | b'\t') => {
            (State::Extension { size, dropped: 1 }, false)
        }
        (State::Extension { size, dropped }, _) if is_text(byte) && dropped < MAX_OVERHEAD => {
            (State::Extension { size, dropped: dropped + 1 }, false)
        }
        (State::SizeEnd(0), b'\n') => (State::TrailerStart(0), true),
        (State::SizeEnd(size), b'\n') => (State::Chunk(size), true),
        (State::ChunkCr, b'\r') => (State::ChunkLf, true),
        (State::ChunkLf, b'\n') => (State::Size { digits: 0, size: 0 }, true),
        (State::TrailerStart(_), b'\r') => (State::LastLf, true),
        (State::LastLf, b'\n') => (State::Ended, true),
        (State::TrailerStart(dropped) | State::TrailerName(dropped), _)
            if is_token(byte) && dropped < MAX_OVERHEAD =>
        {
            (State::TrailerName(dropped + 1), false)
        }
        (State::TrailerName(dropped), b':') => (State::Trailer(dropped + 1), false),
        (State::Trailer(dropped), b'\r') => (State::TrailerLf(dropped + 1), false),
        (State::TrailerLf(dropped), b'\n') => (State::TrailerStart(dropped + 1), false),
        (State::Trailer(dropped), _) if is_text(byte) && dropped < MAX_OVERHEAD => {
            (State::Trailer(dropped + 1), false)
        }
        // Bytes behind the answer: ureq sees that some are left and does not use the connection again.
        (State::Ended, _) => (State::Ended, true),
        _ => (State::Broken, false),
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

enum Head {
    Incomplete,
    /// An interim answer that ends here.
    Interim(usize),
    /// The answer's head ends here; the state behind it, and its fields if they are wanted and make sense.
    Final(usize, State, Option<Fields>),
}

fn head(bytes: &[u8], want_fields: bool) -> Head {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut fields,
    );
    match parsed {
        Ok(httparse::Status::Complete(end)) => {
            let code = response.code.unwrap_or_default();
            if (100..200).contains(&code) && code != StatusCode::SWITCHING_PROTOCOLS.as_u16() {
                return Head::Interim(end);
            }
            let chunked = response.version == Some(1) && response.headers.iter().any(is_chunked);
            let state = if chunked { State::Size { digits: 0, size: 0 } } else { State::Plain };
            let fields = want_fields.then(|| {
                let mut fields = Fields::with_capacity(response.headers.len(), end);
                response.headers.iter().for_each(|field| fields.push(field.name, field.value));
                fields
            });
            Head::Final(end, state, fields)
        }
        Ok(httparse::Status::Partial) => Head::Incomplete,
        // ureq says what is wrong with it.
        Err(_) => Head::Final(bytes.len(), State::Plain, None),
    }
}

/// By these ureq reads an answer.
const READ_BY: [&str; 3] = ["content-length", "transfer-encoding", "connection"];

/// Leaves of a head, in place, what ureq needs of it, and says where that ends.
fn thin(head: &mut [u8]) -> usize {
    let (mut from, mut to, mut in_fields) = (0, 0, false);
    while let Some(length) = memchr::memchr(b'\n', &head[from..]).map(|end| end + 1) {
        let line = &head[from..from + length];
        let is_empty = line.trim_ascii().is_empty();
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if is_empty || !in_fields || READ_BY.iter().any(|wanted| is(name, wanted)) {
            head.copy_within(from..from + length, to);
            to += length;
        }
        // Empty lines may come in front of the status line.
        in_fields |= !is_empty;
        from += length;
    }
    to
}

/// The only coding that is passed on; see `proxy::relay`.
fn is_chunked(field: &httparse::Header<'_>) -> bool {
    is(field.name.as_bytes(), "transfer-encoding") && is(field.value.trim_ascii(), "chunked")
}

/// Where the interim answer ends that `bytes` begin with, if they do.
pub(super) fn interim(bytes: &[u8]) -> Option<usize> {
    match head(bytes, false) {
        Head::Interim(end) => Some(end),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

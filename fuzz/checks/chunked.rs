//! Request bodies: the same bytes come out however they arrive, no more than the framing holds, and as a naive reader
//! of the whole reads them.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::time::Instant;

use auth_proxy::testing::{Body, Input, Length, Source};

use super::pieces::{self, Pieces, Random};
use super::reference::{self, End};

/// Far less than in the program, so that short inputs reach it.
const ALLOWANCE: usize = 100;

/// `data` is what a client sends after a head.
pub fn check(data: &[u8]) {
    let expected = reference::chunks(data, ALLOWANCE);
    for pieces in pieces::ways(data) {
        assert_eq!(read(Length::Unknown, data, pieces), expected, "read otherwise than by the naive reader");
    }
    let length = Random::of(data).below(data.len() + 2);
    let body = data[..length.min(data.len())].to_vec();
    let end = if length > data.len() { End::Cut } else { End::Whole(length) };
    for pieces in pieces::ways(data) {
        assert_eq!(read(Length::Known(length as u64), data, pieces), (body.clone(), end.clone()));
    }
}

/// Reads a body to its end or fault.
fn read(length: Length, data: &[u8], pieces: Pieces) -> (Vec<u8>, End) {
    let mut random = Random::of(data);
    let (reads, taken) = (Cell::new(0), Cell::new(0));
    let mut input = Input::new(Script { data, pieces, reads: &reads, taken: &taken });
    let mut body = Body::new(length, ALLOWANCE);
    let mut read = Vec::new();
    let mut buffer = [0; 50];
    loop {
        let into = &mut buffer[..1 + random.below(50)];
        // A fault is there to be read, too.
        let (is_ready, reads_before) = (body.poll(&mut input).unwrap_or(true), reads.get());
        let step = body.read(&mut input, into, Instant::now());
        assert!(!is_ready || reads.get() == reads_before, "waited, although the next bytes were there");
        let end = match step.map_err(|error| error.kind()) {
            Ok(0) => End::Whole(taken.get() - input.bytes().len()),
            Ok(n) => {
                read.extend_from_slice(&into[..n]);
                continue;
            }
            Err(ErrorKind::UnexpectedEof) => End::Cut,
            Err(ErrorKind::InvalidData) => End::Wrong,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(body.is_complete(), matches!(end, End::Whole(_)));
        let again = body.read(&mut input, into, Instant::now());
        assert_eq!(again.is_ok(), body.is_complete(), "an end that does not last");
        return (read, end);
    }
}

/// A client that sends `data` and leaves.
struct Script<'a> {
    data: &'a [u8],
    pieces: Pieces,
    reads: &'a Cell<usize>,
    taken: &'a Cell<usize>,
}

impl Source for Script<'_> {
    fn read(&mut self, into: &mut [u8], _deadline: Instant) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        let rest = &self.data[self.taken.get()..];
        if rest.is_empty() {
            return Ok(0);
        }
        let piece = self.pieces.next(rest.len().min(into.len()));
        into[..piece].copy_from_slice(&rest[..piece]);
        self.taken.set(self.taken.get() + piece);
        Ok(piece)
    }
}

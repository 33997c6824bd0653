//! Request bodies: exactly as many bytes as announced, or chunks (RFC 9112 sections 6 and 7).

use std::io;
use std::time::Instant;

use super::Length;
use super::input::{Input, Source};
use crate::http1::chunked::{Decoder, Next};

/// The position of a request within its body.
#[derive(Debug)]
pub struct Body(BodyState);

#[derive(Debug)]
enum BodyState {
    /// This many bytes remain.
    Counted(u64),
    Chunked(Decoder),
    /// The client left, was too slow or sent malformed framing, and what was wrong with it.
    Broken(Option<&'static str>),
}

impl Body {
    /// The body of a request with this length; `allowance` is that of [`Decoder::new`].
    pub fn new(length: Length, allowance: usize) -> Self {
        Self(match length {
            Length::Empty => BodyState::Counted(0),
            Length::Known(n) => BodyState::Counted(n),
            Length::Unknown => BodyState::Chunked(Decoder::new(allowance)),
        })
    }

    /// The whole body was read.
    pub fn is_complete(&self) -> bool {
        match &self.0 {
            BodyState::Counted(left) => *left == 0,
            BodyState::Chunked(decoder) => decoder.is_complete(),
            BodyState::Broken(_) => false,
        }
    }

    /// The remaining bytes, where that is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        match &self.0 {
            BodyState::Counted(left) => Some(*left),
            BodyState::Chunked(decoder) if decoder.is_complete() => Some(0),
            _ => None,
        }
    }

    /// Consumes the framing that was received, and returns whether the next read will not wait: data or the end of the body
    /// were received.
    ///
    /// # Errors
    ///
    /// `InvalidData` when what was received is no framing; `UnexpectedEof` when the body is broken already.
    pub fn poll<S: Source>(&mut self, input: &mut Input<S>) -> io::Result<bool> {
        Ok(match &self.0 {
            BodyState::Counted(left) => *left == 0 || !input.bytes().is_empty(),
            _ => match self.take_framing(input)? {
                Next::Data(_) => !input.bytes().is_empty(),
                Next::End => true,
                Next::Framing => false,
            },
        })
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
        let read = self.read_data(input, into, deadline);
        if read.is_err() && !matches!(self.0, BodyState::Broken(_)) {
            self.0 = BodyState::Broken(None);
        }
        read
    }

    fn read_data<S: Source>(
        &mut self,
        input: &mut Input<S>,
        into: &mut [u8],
        deadline: Instant,
    ) -> io::Result<usize> {
        loop {
            let left = match &self.0 {
                BodyState::Counted(left) => *left,
                BodyState::Broken(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => match self.take_framing(input)? {
                    Next::Data(left) => left,
                    Next::End => 0,
                    // One deadline for all of it: framing does not count as progress.
                    Next::Framing if input.fill(deadline)? > 0 => continue,
                    Next::Framing => return Err(io::ErrorKind::UnexpectedEof.into()),
                },
            };
            let max = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if max == 0 {
                return Ok(0);
            }
            let count = input.read(&mut into[..max], deadline)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match &mut self.0 {
                BodyState::Counted(left) => *left -= count as u64,
                BodyState::Chunked(decoder) => decoder.take_data(count),
                BodyState::Broken(_) => {}
            }
            return Ok(count);
        }
    }

    /// Consumes the framing that was received.
    fn take_framing<S: Source>(&mut self, input: &mut Input<S>) -> io::Result<Next> {
        let malformed = match &mut self.0 {
            BodyState::Chunked(decoder) => match decoder.decode(input.bytes()) {
                Ok((count, next)) => {
                    input.consume(count);
                    return Ok(next);
                }
                Err(malformed) => malformed.0,
            },
            BodyState::Broken(Some(why)) => why,
            BodyState::Counted(_) | BodyState::Broken(None) => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        self.0 = BodyState::Broken(Some(malformed));
        Err(io::Error::new(io::ErrorKind::InvalidData, malformed))
    }
}

#[cfg(test)]
mod tests;

//! The chunked transfer coding (RFC 9112 section 7.1): one decoder for both sides, byte by byte.
//!
//! ```text
//!  Size --digits--> Size --CR--> SizeLf --LF--> Data --(all taken)--> DataCr --> DataLf --> Size
//!    |                              |
//!    |' ' '\t' ';'                  '--LF, size 0--> TrailerStart --CR--> EndLf --LF--> End
//!    '--> Extension --CR--> SizeLf                    |      ^
//!                                                     '-name-> TrailerName -> TrailerValue -> TrailerLf
//! ```
//!
//! Framing is taken in as it comes and never collected: there is nothing to wait for and nothing to scan again. What
//! breaks the grammar is malformed at its first wrong byte.

use std::fmt;

/// A size has at most 64 bits.
const MAX_DIGITS: u8 = 16;
/// Bytes of one chunk's extensions. Nobody sends any.
const MAX_EXTENSION: u16 = 1024;

/// Why bytes are not what the grammar asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// What follows the framing that was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This many bytes of data, at least one.
    Data(u64),
    /// Nothing: the body is complete.
    End,
    /// More framing, of which no byte is here yet.
    Framing,
}

/// Where in a body the decoder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DecoderState {
    /// Within the digits of a chunk size.
    Size {
        digits: u8,
        size: u64,
    },
    /// After white space that only an extension may follow.
    BeforeExtension {
        size: u64,
        length: u16,
    },
    Extension {
        size: u64,
        length: u16,
    },
    /// After the CR of a chunk-size line.
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// After a chunk's data.
    DataCr,
    DataLf,
    /// Before a trailer field or the empty line.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// After the CR of the empty line.
    EndLf,
    End,
    Malformed(Malformed),
}

/// Decodes one body.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: DecoderState,
    /// Bytes that extensions and trailers may still take.
    allowance: usize,
    max_allowance: usize,
}

impl Decoder {
    /// A decoder before the first chunk size. Extensions and trailers may take `allowance` bytes more than twice as
    /// many as the data: "a recipient ought to limit the total length of chunk extensions received in a request to an
    /// amount reasonable for the services provided" (RFC 9112 section 7.1.1).
    pub fn new(allowance: usize) -> Self {
        Self { state: DecoderState::Size { digits: 0, size: 0 }, allowance, max_allowance: allowance }
    }

    /// Takes in the framing at the start of `bytes`: how many bytes that was, and what follows.
    ///
    /// # Errors
    ///
    /// The bytes are not framing; the body is malformed for good.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<(usize, Next), Malformed> {
        let mut taken = 0;
        loop {
            match self.state {
                DecoderState::Data { left } => return Ok((taken, Next::Data(left))),
                DecoderState::End => return Ok((taken, Next::End)),
                DecoderState::Malformed(why) => return Err(why),
                _ => {}
            }
            let Some(byte) = bytes.get(taken) else { return Ok((taken, Next::Framing)) };
            self.state = self.step(*byte).unwrap_or_else(DecoderState::Malformed);
            taken += 1;
        }
    }

    /// Notes that `count` bytes of data were taken: no more than [`Next::Data`] said.
    pub fn take_data(&mut self, count: usize) {
        let DecoderState::Data { left } = self.state else { return };
        let left = left.saturating_sub(count as u64);
        self.state = if left == 0 { DecoderState::DataCr } else { DecoderState::Data { left } };
        self.allowance = self.allowance.saturating_add(2 * count).min(self.max_allowance);
    }

    /// The body is complete.
    pub fn is_complete(&self) -> bool {
        self.state == DecoderState::End
    }

    /// Bytes of framing have come that no data and no end has followed yet.
    pub fn is_in_framing(&self) -> bool {
        !matches!(
            self.state,
            DecoderState::Size { digits: 0, .. } | DecoderState::Data { .. } | DecoderState::End
        )
    }

    fn step(&mut self, byte: u8) -> Result<DecoderState, Malformed> {
        Ok(match (self.state, byte) {
            (DecoderState::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                if digits == MAX_DIGITS {
                    return Err(Malformed("a chunk size is too large"));
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                DecoderState::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (DecoderState::Size { digits: 0, .. }, _) => {
                return Err(Malformed("a chunk size is not a number"));
            }
            (DecoderState::Size { size, .. } | DecoderState::Extension { size, .. }, b'\r') => {
                DecoderState::SizeLf { size }
            }
            (DecoderState::Size { size, .. }, b';') => {
                DecoderState::Extension { size, length: self.extend(0)? }
            }
            // `chunk-ext = *( BWS ";" BWS chunk-ext-name … )`: white space is allowed before the semicolon.
            (DecoderState::Size { size, .. }, b' ' | b'\t') => {
                DecoderState::BeforeExtension { size, length: self.extend(0)? }
            }
            (DecoderState::Size { .. }, _) => return Err(Malformed("a chunk size is not a number")),
            (DecoderState::BeforeExtension { size, length }, b' ' | b'\t') => {
                DecoderState::BeforeExtension { size, length: self.extend(length)? }
            }
            (DecoderState::BeforeExtension { size, length }, b';') => {
                DecoderState::Extension { size, length: self.extend(length)? }
            }
            (DecoderState::Extension { size, length }, _) if is_text(byte) => {
                DecoderState::Extension { size, length: self.extend(length)? }
            }
            (DecoderState::BeforeExtension { .. } | DecoderState::Extension { .. }, _) => {
                return Err(Malformed("a chunk extension is malformed"));
            }
            (DecoderState::SizeLf { size: 0 }, b'\n') => DecoderState::TrailerStart,
            (DecoderState::SizeLf { size }, b'\n') => DecoderState::Data { left: size },
            (DecoderState::DataCr, b'\r') => DecoderState::DataLf,
            (DecoderState::DataLf, b'\n') => DecoderState::Size { digits: 0, size: 0 },
            (DecoderState::DataCr | DecoderState::DataLf, _) => {
                return Err(Malformed("a chunk is longer than its size"));
            }
            (DecoderState::TrailerStart, b'\r') => DecoderState::EndLf,
            (DecoderState::EndLf, b'\n') => DecoderState::End,
            (DecoderState::TrailerStart | DecoderState::TrailerName, _) if super::is_token(byte) => {
                self.spend()?;
                DecoderState::TrailerName
            }
            (DecoderState::TrailerName, b':') => {
                self.spend()?;
                DecoderState::TrailerValue
            }
            (DecoderState::TrailerValue, b'\r') => DecoderState::TrailerLf,
            (DecoderState::TrailerLf, b'\n') => DecoderState::TrailerStart,
            (DecoderState::TrailerValue, _) if is_text(byte) => {
                self.spend()?;
                DecoderState::TrailerValue
            }
            (DecoderState::TrailerStart | DecoderState::TrailerName | DecoderState::TrailerValue, _) => {
                return Err(Malformed("a trailer field is malformed"));
            }
            (DecoderState::SizeLf { .. } | DecoderState::TrailerLf | DecoderState::EndLf, _) => {
                return Err(Malformed("a bare CR in the framing of a chunked body"));
            }
            (DecoderState::Data { .. } | DecoderState::End | DecoderState::Malformed(_), _) => self.state,
        })
    }

    /// One more byte of an extension that has this length; its new one.
    fn extend(&mut self, length: u16) -> Result<u16, Malformed> {
        self.spend()?;
        if length == MAX_EXTENSION {
            return Err(Malformed("a chunk extension is too long"));
        }
        Ok(length + 1)
    }

    fn spend(&mut self) -> Result<(), Malformed> {
        self.allowance =
            self.allowance.checked_sub(1).ok_or(Malformed("too many chunk extensions or trailers"))?;
        Ok(())
    }
}

/// What [`decode_in_place`] made of bytes.
#[derive(Debug)]
pub struct Decoded {
    /// Bytes of data, at the front.
    pub data: usize,
    /// Bytes that belong to the body: fewer than there were when more follows its end.
    pub taken: usize,
    /// What comes next, or what is wrong after the data.
    pub next: Result<Next, Malformed>,
}

/// Decodes in place what was received of a body: moves the data in `bytes` to their front.
pub fn decode_in_place(decoder: &mut Decoder, bytes: &mut [u8]) -> Decoded {
    let (mut taken, mut data) = (0, 0);
    loop {
        let next = decoder.decode(&bytes[taken..]);
        if let Ok((framing, _)) = next {
            taken += framing;
        }
        match next {
            Ok((_, Next::Data(left))) if taken < bytes.len() => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - taken);
                bytes.copy_within(taken..taken + count, data);
                (taken, data) = (taken + count, data + count);
                decoder.take_data(count);
            }
            next => return Decoded { data, taken, next: next.map(|(_, next)| next) },
        }
    }
}

/// What ends a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";
/// What ends a body: the last chunk, and no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes the line that comes before `size` bytes of data, at least one.
pub fn write_size(size: usize, out: &mut Vec<u8>) {
    use std::io::Write as _;
    debug_assert!(size > 0, "a chunk without data ends the body");
    // A Vec takes everything.
    let _ = write!(out, "{size:x}\r\n");
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of a body that comes in pieces of `step` bytes, and how it ended: how many bytes belong to it.
    fn decoded(sent: &[u8], step: usize, allowance: usize) -> Result<(Vec<u8>, Option<usize>), Malformed> {
        let mut decoder = Decoder::new(allowance);
        let (mut data, mut at) = (Vec::new(), 0);
        loop {
            let piece = &sent[at..(at + step).min(sent.len())];
            let (framing, next) = decoder.decode(piece)?;
            at += framing;
            match next {
                Next::End => return Ok((data, Some(at))),
                Next::Framing if at == sent.len() => return Ok((data, None)),
                Next::Data(left) => {
                    let piece = &piece[framing..];
                    let count = piece.len().min(usize::try_from(left).unwrap());
                    if count == 0 && at == sent.len() {
                        return Ok((data, None));
                    }
                    data.extend_from_slice(&piece[..count]);
                    decoder.take_data(count);
                    at += count;
                }
                Next::Framing => {}
            }
        }
    }

    #[test]
    fn bodies_are_the_same_however_they_arrive() {
        for (sent, data, rest) in [
            ("4\r\nabcd\r\n0\r\n\r\n", "abcd", Some("")),
            ("0\r\n\r\nGET", "", Some("GET")),
            (
                "A;a=b\r\n0123456789\r\n2 ; q=\"x\"\r\nef\r\n00\r\nT: 1\r\nU:\r\n\r\nX",
                "0123456789ef",
                Some("X"),
            ),
            ("0000000000000001\r\na\r\n0\r\n\r\n", "a", Some("")),
            ("8\r\n\r\n0\r\n\r\nx\r\n0\r\n\r\n", "\r\n0\r\n\r\nx", Some("")),
            ("4\r\nab", "ab", None),
            ("4\r\nabcd\r\n0\r\nT: 1\r\n", "abcd", None),
            ("", "", None),
        ] {
            for step in [1, 2, 7, 1000] {
                let (found, end) = decoded(sent.as_bytes(), step, 64).unwrap();
                assert_eq!(found, data.as_bytes(), "{sent:?} by {step}");
                assert_eq!(end.map(|end| &sent[end..]), rest, "{sent:?} by {step}");

                let mut decoder = Decoder::new(64);
                let mut found = Vec::new();
                for piece in sent.as_bytes().chunks(step) {
                    let mut piece = piece.to_vec();
                    let decoded = decode_in_place(&mut decoder, &mut piece);
                    decoded.next.unwrap();
                    found.extend_from_slice(&piece[..decoded.data]);
                }
                assert_eq!((found.as_slice(), decoder.is_complete()), (data.as_bytes(), rest.is_some()));
            }
        }
    }

    /// Each with the part that is right: the byte after it is wrong, whatever would follow.
    #[test]
    fn what_breaks_the_grammar_is_malformed_at_its_first_wrong_byte() {
        for (right, wrong) in [
            ("", "+4\r\n"),
            ("", "-4\r\n"),
            ("", " 4\r\n"),
            ("", "\r\n"),
            ("", ";x\r\n"),
            ("", "x\r\n"),
            ("0", "x4\r\n"),
            ("4", "_0\r\n"),
            ("4 ", "\r\n"),
            ("4", "\n"),
            ("4\r", "x"),
            ("4;x", "\n"),
            ("4;x\r", "y"),
            ("4;", "\0"),
            ("4\r\nabcd", "XX"),
            ("4\r\nabcd", "\n"),
            ("4\r\nabcd\r", "x"),
            ("0000000000000000", "1"),
            ("0\r\n\r", "x"),
            ("0\r\n", "\n"),
            ("0\r\n", ": 1"),
            ("0\r\ngarbage", "\r\n"),
            ("0\r\nno", " colon"),
            ("0\r\nT", " : 1"),
            ("0\r\nT: ", "\0"),
            ("0\r\nT: 1", "\n"),
            ("0\r\nT: 1\r\n", " folded"),
        ] {
            for step in [1, 1000] {
                assert!(decoded(right.as_bytes(), step, 64).is_ok(), "{right:?}");
                let sent = [right, &wrong[..1]].concat();
                assert!(decoded(sent.as_bytes(), step, 64).is_err(), "{sent:?} by {step}");
            }
        }
    }

    #[test]
    fn extensions_and_trailers_are_limited_and_data_earns_more() {
        let extension = |length: usize| format!("1;{}\r\na\r\n", "x".repeat(length - 1));
        let trailer = |length: usize| format!("0\r\nT:{}\r\n\r\n", "x".repeat(length - 2));
        for (sent, is_ok) in [
            (extension(64), true),
            (extension(65), false),
            (trailer(64), true),
            (trailer(65), false),
            ("0\r\n".to_owned() + &"X: y\r\n".repeat(17), false),
            // Each of these may spend what its data has earned.
            ("1;x\r\na\r\n".repeat(1000), true),
            ("1;xx\r\na\r\n".repeat(1000), false),
            ("40;xxxxxxxx\r\n".to_owned() + &"a".repeat(64) + "\r\n" + &trailer(64), true),
        ] {
            assert_eq!(decoded(sent.as_bytes(), 9, 64).is_ok(), is_ok, "{sent:.60}");
        }
    }

    #[test]
    fn one_chunk_has_one_kilobyte_of_extensions() {
        let extension = |length: usize| format!("1;{}\r\na\r\n", "x".repeat(length - 1));
        for (length, is_ok) in [(1024, true), (1025, false)] {
            let sent = extension(length);
            assert_eq!(decoded(sent.as_bytes(), 1000, usize::MAX / 2).is_ok(), is_ok, "{length}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut sent = Vec::new();
        for data in ["a", &"b".repeat(300)] {
            write_size(data.len(), &mut sent);
            sent.extend_from_slice(data.as_bytes());
            sent.extend_from_slice(CHUNK_END);
        }
        sent.extend_from_slice(LAST_CHUNK);
        assert_eq!(decoded(&sent, 1000, 0).unwrap().0, ["a", &"b".repeat(300)].concat().into_bytes());
    }
}

//! Reads BER (X.690): what PFX files and encrypted keys are written in. Most are DER, in which every length is known
//! beforehand; Firefox writes lengths that are not, and cuts octet strings into pieces.

use zeroize::Zeroizing;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
/// `[0]` with other elements in it.
pub(super) const CONTEXT_0: u8 = 0xa0;

/// Set in the tag of an element that consists of elements.
const CONSTRUCTED: u8 = 0x20;
/// How deep elements may lie in each other; the files that we know go to 12.
pub(super) const MAX_DEPTH: usize = 16;

/// One element: its tag and what is in it.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
}

impl<'a> Element<'a> {
    /// The elements in it.
    pub(super) fn inner(self) -> Elements<'a> {
        Elements(self.content)
    }

    /// The octets of an octet string, which may come in pieces (X.690 section 8.7.3).
    pub(super) fn octets(self) -> Option<Zeroizing<Vec<u8>>> {
        // Capacity for all of it: growing would leave copies that are not wiped.
        let mut octets = Zeroizing::new(Vec::with_capacity(self.content.len()));
        self.append_octets(&mut octets, MAX_DEPTH)?;
        Some(octets)
    }

    fn append_octets(self, octets: &mut Vec<u8>, depth: usize) -> Option<()> {
        if self.tag & CONSTRUCTED == 0 {
            octets.extend_from_slice(self.content);
            return Some(());
        }
        let mut pieces = self.inner();
        while !pieces.is_empty() {
            let piece = pieces.next()?;
            if piece.tag & !CONSTRUCTED != OCTET_STRING {
                return None;
            }
            piece.append_octets(octets, depth.checked_sub(1)?)?;
        }
        Some(())
    }

    /// A number that is not negative and fits.
    pub(super) fn number(self) -> Option<u64> {
        let digits = match self.content {
            [0, rest @ ..] => rest,
            [0..0x80, ..] => self.content,
            _ => return None,
        };
        (self.tag == INTEGER && digits.len() <= 8)
            .then(|| digits.iter().fold(0, |number, digit| number << 8 | u64::from(*digit)))
    }
}

/// Elements one after the other.
#[derive(Clone, Copy)]
pub(super) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next one, of whatever kind; none at the end and when it is damaged.
    pub(super) fn next(&mut self) -> Option<Element<'a>> {
        let header = Header::of(self.0)?;
        let rest = &self.0[header.size..];
        let (content, rest) = match header.length {
            Some(length) => rest.split_at_checked(length)?,
            None => {
                let (content, rest) = rest.split_at(end_of_contents(rest)?);
                (content, &rest[2..])
            }
        };
        self.0 = rest;
        Some(Element { tag: header.tag, content })
    }

    /// The next one, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }
}

/// The only element, without anything behind it.
pub(super) fn only(bytes: &[u8], tag: u8) -> Option<Element<'_>> {
    let mut elements = Elements::of(bytes);
    elements.take(tag).filter(|_| elements.is_empty())
}

/// Tag and length.
struct Header {
    tag: u8,
    /// None when only two zero octets mark the end.
    length: Option<usize>,
    size: usize,
}

impl Header {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (&[tag, first], rest) = bytes.split_first_chunk()?;
        // No tag in these files takes more than one octet.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let more = match first {
            0..0x80 => return Some(Self { tag, length: Some(first.into()), size: 2 }),
            0x80 if tag & CONSTRUCTED != 0 => return Some(Self { tag, length: None, size: 2 }),
            0x81..=0x84 => usize::from(first & 0x7f),
            _ => return None,
        };
        let digits = rest.get(..more)?;
        let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        Some(Self { tag, length: Some(length), size: 2 + more })
    }
}

/// Where the two zero octets stand that end an element of unknown length. Elements of known length are skipped whole, so
/// that a level costs one pass at most, and levels are counted.
fn end_of_contents(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0);
    loop {
        let rest = bytes.get(at..)?;
        if rest.starts_with(&[0, 0]) {
            if depth == 0 {
                return Some(at);
            }
            depth -= 1;
            at += 2;
            continue;
        }
        let header = Header::of(rest)?;
        at = at.checked_add(header.size)?.checked_add(header.length.unwrap_or(0))?;
        if header.length.is_none() {
            depth += 1;
            if depth > MAX_DEPTH {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_form_are_read() {
        for (bytes, expected) in [
            (&b"\x04\x02ab"[..], Some(&b"ab"[..])),
            (b"\x04\x81\x02ab", Some(b"ab")),
            (b"\x04\x84\0\0\0\x02ab", Some(b"ab")),
            (b"\x24\x80\x04\x01a\x24\x80\x04\x01b\0\0\0\0", Some(b"ab")),
            (b"\x24\x06\x04\x01a\x04\x01b", Some(b"ab")),
            // Cut off, no end, a piece of another kind, a length of five octets, a primitive one without length.
            (b"\x04\x03ab", None),
            (b"\x24\x80\x04\x01a\0", None),
            (b"\x24\x03\x02\x01a", None),
            (b"\x04\x85\0\0\0\0\x02ab", None),
            (b"\x04\x80ab\0\0", None),
            (b"\x1f\x02ab", None),
            (b"\x04", None),
        ] {
            let octets = Elements::of(bytes).next().and_then(Element::octets);
            assert_eq!(octets.as_deref().map(Vec::as_slice), expected, "{bytes:x?}");
        }
        assert!(only(b"\x04\x00x", OCTET_STRING).is_none(), "something behind it");
    }

    #[test]
    fn numbers_are_small_and_not_negative() {
        for (content, expected) in [
            (&b"\x07"[..], Some(7)),
            (b"\0\xff", Some(255)),
            (b"\x01\0\0", Some(65536)),
            (b"\xff", None),
            (b"", None),
            (b"\x01\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(Element { tag: INTEGER, content }.number(), expected, "{content:x?}");
        }
    }

    /// Half a mebibyte of elements that begin and never end: neither the stack nor the time runs out.
    #[test]
    fn depth_is_bounded() {
        let deep = [0x24, 0x80].repeat(1 << 18);
        assert!(Elements::of(&deep).next().is_none());
        let mut nested = b"\x04\x01a".to_vec();
        for _ in 0..MAX_DEPTH {
            nested = [&[0x24, u8::try_from(nested.len()).unwrap()], &nested[..]].concat();
        }
        assert!(Elements::of(&nested).next().unwrap().octets().is_some());
        nested = [&[0x24, u8::try_from(nested.len()).unwrap()], &nested[..]].concat();
        assert!(Elements::of(&nested).next().unwrap().octets().is_none());
    }
}

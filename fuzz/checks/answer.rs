//! Answers on their way to ureq: the filter leaves the same bytes however they arrive, and what it makes of chunks is
//! strict, holds the same body, and ends where the original ends.

use auth_proxy::fields::Fields;
use auth_proxy::upstream::answer::Filter;

use super::pieces::{self, Pieces, Random};
use super::reference::{self, End};

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// `data` is what a destination sends; and once more what it sends behind the head of a chunked answer.
pub fn check(data: &[u8]) {
    check_pass_by(data);
    check_pieces(data);
    let whole = [CHUNKED, data].concat();
    let (kept, broken) = check_pieces(&whole);
    let kept = kept.strip_prefix(CHUNKED).expect("the head stays");

    let (body, end) = naive_body(data);
    let (seen, seen_end) = reference::chunks(kept, 0);
    assert!(body.starts_with(&seen), "ureq sees another body");
    if !broken {
        assert_eq!(seen, body, "ureq sees less");
        assert_eq!(matches!(seen_end, End::Whole(_)), end.is_some(), "ureq sees another end");
    }
    if let (End::Whole(length), Some(end)) = (seen_end, end) {
        assert_eq!(kept[length..], data[end..], "what follows is not what follows");
    }
}

/// Where fields pass ureq by, it gets the same otherwise: the same status line, some of the lines, the same body.
fn check_pass_by(data: &[u8]) {
    let (mut plain, mut thin) = (Filter::default(), Filter::default());
    thin.restart(true);
    let [all, some] = [&mut plain, &mut thin].map(|filter| {
        let mut bytes = data.to_vec();
        let left = filter.pass(&mut bytes, data.len());
        bytes.truncate(left);
        bytes
    });
    assert_eq!((plain.is_in_head(), plain.is_broken()), (thin.is_in_head(), thin.is_broken()));
    let Some(fields) = thin.take_fields() else { return assert_eq!(all, some) };
    let (mut lines, mut kept) = (split_lines(&all), split_lines(&some));
    // Behind the empty lines and the status line, a line for each field.
    while lines.first() == kept.first() && !kept.is_empty() && !is_field_of(&fields, lines[0]) {
        lines.remove(0);
        kept.remove(0);
    }
    let (head, rest) = lines.split_at(fields.iter().count().min(lines.len()));
    let read_by = ["content-length", "transfer-encoding", "connection"];
    let is_read_by =
        |line: &&&[u8]| read_by.iter().any(|name| name_of(line).eq_ignore_ascii_case(name.as_bytes()));
    let expected: Vec<&[u8]> = head.iter().filter(is_read_by).chain(rest).copied().collect();
    assert_eq!(kept, expected, "ureq sees other lines");
}

fn split_lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|b| *b == b'\n').collect()
}

fn name_of(line: &[u8]) -> &[u8] {
    line.split(|b| *b == b':').next().unwrap_or_default()
}

fn is_field_of(fields: &Fields, line: &[u8]) -> bool {
    fields.iter().next().is_some_and(|(name, _)| name == name_of(line))
}

/// What is left for ureq, and whether the chunks made no sense.
fn check_pieces(data: &[u8]) -> (Vec<u8>, bool) {
    let [whole, others @ ..] = pieces::ways(data);
    let expected = filter(data, whole);
    for pieces in others {
        assert_eq!(filter(data, pieces), expected, "it depends on how the bytes arrive");
    }
    expected
}

fn filter(data: &[u8], mut pieces: Pieces) -> (Vec<u8>, bool) {
    let mut random = Random::of(data);
    let mut filter = Filter::default();
    let (mut consumed, mut waiting) = (Vec::new(), Vec::new());
    let mut rest = data;
    while !rest.is_empty() && !filter.is_broken() {
        let (now, later) = rest.split_at(pieces.next(rest.len()));
        rest = later;
        waiting.extend_from_slice(now);
        let left = filter.pass(&mut waiting, now.len());
        waiting.truncate(left);
        // ureq consumes nothing before the head is whole.
        if !filter.is_in_head() {
            consumed.extend(waiting.drain(..random.below(waiting.len() + 1)));
        }
    }
    consumed.append(&mut waiting);
    (consumed, filter.is_broken())
}

/// The body in chunks as a lenient reader sees it, and where it ends.
fn naive_body(data: &[u8]) -> (Vec<u8>, Option<usize>) {
    let mut body = Vec::new();
    let end = read_chunks(data, &mut body).map(|rest| data.len() - rest.len());
    (body, end)
}

fn read_chunks<'a>(data: &'a [u8], body: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut rest = data;
    loop {
        let line = line(&mut rest)?;
        let digits = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
        let size = u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok()?;
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        if line(&mut rest)?.is_empty() {
            return Some(rest);
        }
    }
}

fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|b| *b == b'\n')?;
    let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
    *rest = &rest[end + 1..];
    Some(line)
}

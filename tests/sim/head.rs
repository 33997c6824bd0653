//! Reads a request head, strictly: what a lenient server would guess is an error here, because a proxy has sent it.

use std::io;

use super::conn::Conn;
use super::record::latin1;

const LIMIT: usize = 1 << 20;

/// A request line with its headers.
pub struct Head {
    pub raw: Vec<u8>,
    pub method: String,
    pub target: Vec<u8>,
    pub version: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub framing: Framing,
}

/// How the body is delimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    Absent,
    Length(u64),
    Chunked,
    /// Contradictory or unreadable, with the reason.
    Bad(String),
}

/// The next head, or `None` when the connection ended between requests.
pub fn read(conn: &mut Conn) -> io::Result<Option<Head>> {
    let mut searched = 0;
    let end = loop {
        let bytes = conn.available();
        if let Some(found) = find(&bytes[searched..], b"\r\n\r\n") {
            break searched + found + 4;
        }
        searched = bytes.len().saturating_sub(3);
        if bytes.len() > LIMIT {
            return Err(io::Error::other("request head above 1 MiB"));
        }
        let empty = bytes.is_empty();
        if conn.fill()? == 0 {
            return if empty { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    };
    let raw = conn.available()[..end].to_vec();
    conn.consume(end);
    Ok(Some(parse(raw)))
}

impl Head {
    /// Every value of this header, as text.
    pub fn values(&self, name: &str) -> Vec<String> {
        let values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        values.map(|(_, value)| latin1(value)).collect()
    }

    /// The first value of this header, or nothing.
    pub fn value(&self, name: &str) -> String {
        self.values(name).into_iter().next().unwrap_or_default()
    }

    /// Whether this comma-separated header names the token.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .iter()
            .flat_map(|value| value.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    }
}

fn parse(raw: Vec<u8>) -> Head {
    let mut fault = None;
    let mut lines = split_lines(&raw[..raw.len() - 4], &mut fault).into_iter();
    let line = lines.next().unwrap_or_default();
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let mut part = || parts.next().unwrap_or_default().to_vec();
    let (method, target, version) = (latin1(&part()), part(), latin1(&part()));
    if !matches!(version.as_str(), "HTTP/1.1" | "HTTP/1.0") {
        fault = Some(format!("request line ends in {version:?}"));
    }
    let headers = fields(lines, &mut fault);
    let framing = fault.map_or_else(|| framing(&headers), Framing::Bad);
    Head { raw, method, target, version, headers, framing }
}

/// Name and value of each line; used for trailers too.
pub fn fields<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    fault: &mut Option<String>,
) -> Vec<(String, Vec<u8>)> {
    let mut fields = Vec::new();
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(0);
        let name = &line[..colon];
        if name.is_empty()
            || !name.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        {
            *fault = Some(format!("header line {:?}", latin1(line)));
            continue;
        }
        fields.push((latin1(name), line[colon + 1..].trim_ascii().to_vec()));
    }
    fields
}

/// Splits at CR LF; a CR or LF alone is a fault, because servers disagree on it.
pub fn split_lines<'a>(text: &'a [u8], fault: &mut Option<String>) -> Vec<&'a [u8]> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = find(rest, b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    if let Some(line) = lines.iter().find(|line| line.iter().any(|&byte| matches!(byte, b'\r' | b'\n' | 0))) {
        *fault = Some(format!("a bare CR, LF or NUL in {:?}", latin1(line)));
    }
    lines
}

fn framing(headers: &[(String, Vec<u8>)]) -> Framing {
    let values = |name: &str| -> Vec<String> {
        headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| latin1(v)).collect()
    };
    let hosts = values("host").len();
    if hosts != 1 {
        return Framing::Bad(format!("{hosts} Host headers"));
    }
    match (values("content-length").as_slice(), values("transfer-encoding").as_slice()) {
        ([], []) => Framing::Absent,
        ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map_or_else(|_| Framing::Bad(format!("Content-Length {length}")), Framing::Length)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
        (lengths, codings) => {
            Framing::Bad(format!("Content-Length {lengths:?}, Transfer-Encoding {codings:?}"))
        }
    }
}

/// Where `needle` begins.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    // Looking for the first byte first keeps an unoptimised build fast enough for large bodies.
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| *byte == needle[0]) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

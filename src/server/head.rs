//! Request heads: httparse, and the rules of RFC 9112 that keep two readers of the same bytes from seeing two
//! different messages.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};

use super::refusal::Refusal;
use super::{Head, Length};

/// More fields than any client sends.
const MAX_FIELDS: usize = 128;
/// How a TLS connection begins (RFC 8446 section 5.1): a record of type handshake, version 3.x.
const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];

/// Looks for the end of the head in the first bytes of `bytes`; `seen` of them held no end the last time.
///
/// # Errors
///
/// 400 for a bare CR or LF (RFC 9112 section 2.2 lets a recipient take LF alone; readers that do not are fooled).
pub fn find_end(bytes: &[u8], seen: usize) -> Result<Option<usize>, Refusal> {
    if bytes.starts_with(TLS_HANDSHAKE) {
        return Err(bad(
            "the client speaks TLS to a port of plain HTTP: its base URL must begin with http://",
        ));
    }
    // Three bytes back: the end may straddle two reads.
    let mut at = seen.saturating_sub(3);
    while let Some(found) = memchr::memchr2(b'\r', b'\n', &bytes[at..]) {
        let i = at + found;
        match (bytes[i], bytes.get(i + 1)) {
            (b'\r', Some(b'\n')) if i >= 2 && bytes[i - 2..i] == *b"\r\n" => return Ok(Some(i + 2)),
            (b'\r', Some(b'\n')) if matches!(bytes.get(i + 2), Some(b' ' | b'\t')) => {
                return Err(bad("a header field is folded over several lines"));
            }
            (b'\r', Some(b'\n')) => at = i + 2,
            (b'\r', None) => return Ok(None),
            // Only a look back into bytes already judged can start in the middle of a line end.
            (b'\n', _) if i > 0 && bytes[i - 1] == b'\r' => at = i + 1,
            _ => return Err(bad("bare CR or LF in the request head")),
        }
    }
    Ok(None)
}

/// Parses a whole head.
///
/// # Errors
///
/// The refusal that the request deserves; the connection cannot be used after it.
pub fn parse(bytes: &[u8]) -> Result<Head, Refusal> {
    // Copied once, for all field values together.
    let shared = Bytes::copy_from_slice(bytes);
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(&shared, &mut fields) {
        Ok(httparse::Status::Complete(n)) if n == bytes.len() => {}
        Ok(_) => return Err(bad("the request head is malformed")),
        Err(error) => return Err(malformed(bytes, error)),
    }
    let version = if request.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let fields = request.headers.iter().map(|field| (field.name.as_bytes(), shared.slice_ref(field.value)));
    assemble(request.method.unwrap_or_default(), request.path.unwrap_or_default(), version, fields)
}

/// Judges the parts of a head.
///
/// # Errors
///
/// As [`parse`].
pub(super) fn assemble<'a>(
    method: &str,
    target: &str,
    version: Version,
    fields: impl Iterator<Item = (&'a [u8], Bytes)>,
) -> Result<Head, Refusal> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| bad("the method is malformed"))?;
    if method == Method::CONNECT {
        let message =
            "CONNECT is not supported: auth-proxy is a base URL for API clients, not their HTTPS_PROXY";
        return Err(refuse(StatusCode::NOT_IMPLEMENTED, "method_not_supported", message));
    }
    let headers = headers(fields)?;
    let host = host(&headers, version)?;
    let target = origin_form(target, host)?;
    let length = length(&headers, version)?;
    Ok(Head { method, target, version, headers, length })
}

/// The refusal for a head larger than `limit`; it may have come in part only.
pub(super) fn too_large(bytes: &[u8], limit: usize) -> Refusal {
    if bytes.windows(2).take(limit).any(|w| w == b"\r\n") {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        refuse(
            status,
            "headers_too_large",
            "the request head is larger than 64 KiB: send fewer or shorter header fields",
        )
    } else {
        refuse(StatusCode::URI_TOO_LONG, "uri_too_long", "the request target is longer than 64 KiB")
    }
}

fn headers<'a>(fields: impl Iterator<Item = (&'a [u8], Bytes)>) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(fields.size_hint().0);
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name).map_err(|_| bad("a header field name is malformed"))?;
        let value =
            HeaderValue::from_maybe_shared(value).map_err(|_| bad("a header field value is malformed"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// RFC 9112 section 3.2: exactly one Host in HTTP/1.1, and a well-formed one.
fn host(headers: &HeaderMap, version: Version) -> Result<&[u8], Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.as_bytes(),
        (None, _) if version == Version::HTTP_10 => b"",
        (None, _) => return Err(bad("the Host header is missing")),
        (Some(_), Some(_)) => return Err(bad("there is more than one Host header")),
    };
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%:[]".contains(b);
    if host.iter().all(allowed) { Ok(host) } else { Err(bad("the Host header is malformed")) }
}

/// The target in origin form. Absolute form (RFC 9112 section 3.2.2) is accepted when it names the same authority
/// as Host; the asterisk and authority forms have no meaning for a destination behind a base path.
fn origin_form(target: &str, host: &[u8]) -> Result<String, Refusal> {
    if target.starts_with('/') {
        return Ok(target.to_owned());
    }
    let scheme_end =
        target.find("://").filter(|&i| matches!(&*target[..i].to_ascii_lowercase(), "http" | "https"));
    let Some(i) = scheme_end else {
        return Err(bad("the request target is not a path"));
    };
    let rest = &target[i + 3..];
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() || !authority.as_bytes().eq_ignore_ascii_case(host) {
        return Err(bad("the request target names another authority than the Host header"));
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

/// RFC 9112 section 6.3, without the leniencies that request smuggling lives on.
fn length(headers: &HeaderMap, version: Version) -> Result<Length, Refusal> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (encoding, length) = (encodings.next(), lengths.next());
    if encodings.next().is_some() || lengths.next().is_some() {
        return Err(bad("Content-Length or Transfer-Encoding is given more than once"));
    }
    match (encoding, length) {
        (None, None) => Ok(Length::Empty),
        (Some(_), Some(_)) => Err(bad("both Transfer-Encoding and Content-Length are given")),
        (None, Some(length)) => {
            let digits = length.as_bytes();
            let value = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
            match value {
                Some(n) if digits.iter().all(u8::is_ascii_digit) => Ok(Length::Known(n)),
                _ => Err(bad("Content-Length is not a number")),
            }
        }
        (Some(_), None) if version == Version::HTTP_10 => {
            Err(bad("Transfer-Encoding in an HTTP/1.0 request"))
        }
        (Some(encoding), None) if encoding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(Length::Unknown),
        (Some(_), None) => Err(refuse(
            StatusCode::NOT_IMPLEMENTED,
            "transfer_encoding_not_supported",
            "the only Transfer-Encoding supported is chunked",
        )),
    }
}

fn malformed(bytes: &[u8], error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => refuse(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            format!("the request has more than {MAX_FIELDS} header fields"),
        ),
        httparse::Error::Version if names_a_version(bytes) => refuse(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "http_version_not_supported",
            "only HTTP/1.1 and HTTP/1.0 are supported: let the client speak HTTP/1.1",
        ),
        error => bad(&format!("the request head is malformed: {error}")),
    }
}

/// The request line has its three parts, and the last is `HTTP/` and a digit: another version, not another protocol.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|b| *b == b' ');
    let version = parts.nth(2).unwrap_or_default();
    parts.next().is_none() && version.starts_with(b"HTTP/") && version.get(5).is_some_and(u8::is_ascii_digit)
}

fn bad(message: &str) -> Refusal {
    refuse(StatusCode::BAD_REQUEST, "bad_request", message)
}

fn refuse(status: StatusCode, code: &str, message: impl Into<String>) -> Refusal {
    Refusal::request(status, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> u16 {
        match find_end(head.as_bytes(), 0).and_then(|end| {
            assert_eq!(end, Some(head.len()), "{head:?}");
            parse(head.as_bytes())
        }) {
            Ok(_) => 200,
            Err(refusal) => refusal.status.as_u16(),
        }
    }

    #[test]
    fn heads_and_what_they_deserve() {
        for (expected, head) in [
            (200, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (200, "FOO /x?y=%zz HTTP/1.1\r\nHost:\r\n\r\n"),
            (200, "GET / HTTP/1.0\r\n\r\n"),
            (200, "GET http://A:1/x HTTP/1.1\r\nHost: a:1\r\n\r\n"),
            (200, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
            (400, "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, "GET /a  HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
            (501, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
            (505, "PRI * HTTP/2.0\r\n\r\n"),
            (505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
            (400, "GET / FTP/1.1\r\nHost: a\r\n\r\n"),
        ] {
            assert_eq!(status(head), expected, "{head:?}");
        }
    }

    #[test]
    fn the_end_is_found_however_the_bytes_arrive() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for split in 0..head.len() {
            assert_eq!(find_end(&head[..split], 0), Ok(None), "{split}");
            assert_eq!(find_end(head, split), Ok(Some(head.len())), "{split}");
        }
    }

    #[test]
    fn bare_line_ends_are_refused_wherever_they_are() {
        for head in ["GET / HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", "\n\n", "\r\r"] {
            assert!(find_end(head.as_bytes(), 0).is_err(), "{head:?}");
        }
    }

    #[test]
    fn a_client_that_speaks_tls_is_known_by_its_first_bytes() {
        assert!(find_end(b"\x16\x03\x01\x02\x00", 0).unwrap_err().message.contains("http://"));
        assert_eq!(find_end(b"\x16", 0), Ok(None));
    }
}

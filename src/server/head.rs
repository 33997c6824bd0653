//! Request heads: httparse, and the rules of RFC 9112 that keep two readers of the same bytes from seeing two
//! different messages.

use std::mem::MaybeUninit;

use http::{Method, StatusCode, Version};

use super::refusal::Refusal;
use super::{Head, Length, authority};
use crate::fields::{self, Fields};

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
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(n)) if n == bytes.len() => {}
        Ok(_) => return Err(bad("the request head is malformed")),
        Err(error) => return Err(malformed(bytes, error)),
    }
    let version = if request.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = Fields::with_capacity(request.headers.len(), bytes.len());
    request.headers.iter().for_each(|field| headers.push(field.name, field.value));
    assemble(request.method.unwrap_or_default(), request.path.unwrap_or_default(), version, headers)
}

/// Judges the parts of a head.
///
/// # Errors
///
/// As [`parse`].
pub(super) fn assemble(
    method: &str,
    target: &str,
    version: Version,
    headers: Fields,
) -> Result<Head, Refusal> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| bad("the method is malformed"))?;
    let unsupported = match method {
        Method::CONNECT => {
            Some("CONNECT is not supported: auth-proxy is a base URL for API clients, not their HTTPS_PROXY")
        }
        // RFC 9110 section 9.3.8: what is answered is the request, with the credentials that it got on its way.
        Method::TRACE => Some("TRACE is not supported: its answer would show credentials"),
        _ => None,
    };
    if let Some(message) = unsupported {
        return Err(refuse(StatusCode::NOT_IMPLEMENTED, "method_not_supported", message));
    }
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
    } else if !bytes.contains(&b' ') {
        bad("the request does not begin with a method")
    } else {
        refuse(StatusCode::URI_TOO_LONG, "uri_too_long", "the request target is longer than 64 KiB")
    }
}

/// RFC 9112 section 3.2: exactly one Host, which an HTTP/1.0 client may leave out, and a well-formed one. An empty
/// one says nothing that a client of ours can mean; nginx refuses it, too.
fn host(headers: &Fields, version: Version) -> Result<Option<&[u8]>, Refusal> {
    let mut hosts = headers.get_all("host");
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if authority::is_valid(host) => Ok(Some(host)),
        (Some(_), None) => Err(bad("the Host header is not a host with or without a port")),
        (None, _) if version == Version::HTTP_10 => Ok(None),
        (None, _) => Err(bad("the Host header is missing")),
        (Some(_), Some(_)) => Err(bad("there is more than one Host header")),
    }
}

/// The target in origin form. Absolute form (RFC 9112 section 3.2.2) is accepted when it names the same authority
/// as Host, where there is one; the asterisk and authority forms have no meaning for a destination behind a base
/// path.
fn origin_form(target: &str, host: Option<&[u8]>) -> Result<String, Refusal> {
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
    let authority = authority.as_bytes();
    let is_ours = match host {
        Some(host) => authority.eq_ignore_ascii_case(host),
        None => authority::is_valid(authority),
    };
    if !is_ours {
        return Err(bad("the request target names no authority, or another than the Host header"));
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

/// RFC 9112 section 6.3, without the leniencies that request smuggling lives on.
fn length(headers: &Fields, version: Version) -> Result<Length, Refusal> {
    let mut encodings = headers.get_all("transfer-encoding");
    let mut lengths = headers.get_all("content-length");
    let (encoding, length) = (encodings.next(), lengths.next());
    if encodings.next().is_some() || lengths.next().is_some() {
        return Err(bad("Content-Length or Transfer-Encoding is given more than once"));
    }
    match (encoding, length) {
        (None, None) => Ok(Length::Empty),
        (Some(_), Some(_)) => Err(bad("both Transfer-Encoding and Content-Length are given")),
        (None, Some(digits)) => {
            let value = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
            match value {
                Some(n) if digits.iter().all(u8::is_ascii_digit) => Ok(Length::Known(n)),
                _ => Err(bad("Content-Length is not a number")),
            }
        }
        (Some(_), None) if version == Version::HTTP_10 => {
            Err(bad("Transfer-Encoding in an HTTP/1.0 request"))
        }
        (Some(encoding), None) => coding(encoding),
    }
}

/// RFC 9112 section 6.3: 400 unless chunked comes last, and once; section 6.1: 501 for what we do not understand in
/// front of it.
fn coding(encoding: &[u8]) -> Result<Length, Refusal> {
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings = fields::elements(encoding).rev();
    if !codings.next().as_ref().is_some_and(is_chunked) {
        return Err(bad("Transfer-Encoding does not end with chunked"));
    }
    let others: Vec<&[u8]> = codings.collect();
    if others.iter().any(is_chunked) {
        return Err(bad("Transfer-Encoding names chunked more than once"));
    }
    if others.is_empty() {
        return Ok(Length::Unknown);
    }
    Err(refuse(
        StatusCode::NOT_IMPLEMENTED,
        "transfer_encoding_not_supported",
        "the only Transfer-Encoding supported is chunked",
    ))
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

/// The request line has its three parts, and the last is `HTTP/`, a digit, a dot and a digit: another version, not
/// another protocol.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|b| *b == b' ');
    let version = parts.nth(2).unwrap_or_default();
    let is_version = matches!(version, [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']);
    parts.next().is_none() && is_version
}

fn bad(message: &str) -> Refusal {
    refuse(StatusCode::BAD_REQUEST, "bad_request", message)
}

fn refuse(status: StatusCode, code: &str, message: impl Into<String>) -> Refusal {
    Refusal::request(status, code, message)
}

#[cfg(test)]
mod tests;

//! Heads of requests and responses: httparse, and the rules of RFC 9112 that keep two recipients of the same bytes from
//! seeing two different messages.
//!
//! A head is judged as it arrives. Its end is looked for in new bytes only; what there is of it is parsed when a line
//! has ended or twice as much has come, so that a fault shows at once and no peer makes us read the same bytes again and
//! again.

use std::mem::MaybeUninit;

use http::{Method, StatusCode, Version};

use super::authority;
use super::chunked::Malformed;
use super::fields::Fields;
use super::framing::{self, Length, RequestFault, ResponseFraming};

/// As many fields as nearly every response has.
const FEW_FIELDS: usize = 32;
/// More fields than any client or server sends.
const MAX_FIELDS: usize = 128;
/// How a TLS connection begins (RFC 8446 section 5.1): a record of type handshake, version 3.x.
const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];
/// How a load balancer begins that speaks HAProxy's PROXY protocol, version 1.
const PROXY_PROTOCOL: &[u8] = b"PROXY ";

/// A request's head.
#[derive(Debug)]
pub struct RequestHead {
    /// The method, standard or not; never CONNECT or TRACE.
    pub method: Method,
    /// The request target in origin form, byte for byte: it begins with a slash. Or `*`, of OPTIONS alone.
    pub target: String,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Every field, as it came.
    pub headers: Fields,
    /// How the body is framed.
    pub length: Length,
}

impl RequestHead {
    /// The path: the target up to its query. Up to a fragment, too, which no target may have: what stands there is as
    /// private as a query.
    pub fn path(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }
}

/// Why a request's head is refused. The connection cannot be used after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadFault {
    pub kind: FaultKind,
    /// For a person; nothing of the head but its method is quoted.
    pub message: String,
}

/// What response a fault deserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// 400.
    BadRequest,
    /// 431.
    FieldsTooLarge,
    /// 501: CONNECT and TRACE.
    MethodNotSupported,
    /// 501.
    TransferCodingNotSupported,
    /// 414.
    UriTooLong,
    /// 505.
    VersionNotSupported,
}

/// Finds the end of a head in what a connection has received, and says when to parse what there is.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Bytes of empty lines before a response's head.
    empty: usize,
    /// Bytes that hold no end.
    seen: usize,
    /// Bytes that were there when they were parsed the last time.
    parsed: usize,
    /// A line has ended since.
    line_ended: bool,
}

/// A CR without its LF, an LF without its CR, or a folded line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineFault {
    Bare,
    Folded,
}

impl Scan {
    /// The end of the head that `bytes` begin with, which are those of the last time and perhaps more. With `bare_lf` a
    /// line may end in LF alone: "a recipient MAY recognize a single LF as a line terminator" (RFC 9112 section 2.2).
    fn find_end(&mut self, bytes: &[u8], bare_lf: bool) -> Result<Option<usize>, LineFault> {
        // Three bytes back: the end may straddle two reads.
        let mut at = self.seen.saturating_sub(3);
        self.seen = bytes.len();
        while let Some(found) = memchr::memchr2(b'\r', b'\n', &bytes[at..]) {
            let i = at + found;
            self.line_ended = true;
            match (bytes[i], bytes.get(i + 1)) {
                (b'\r', Some(b'\n')) if i >= 1 && bytes[i - 1] == b'\n' => return Ok(Some(i + 2)),
                (b'\r', Some(b'\n')) if matches!(bytes.get(i + 2), Some(b' ' | b'\t')) => {
                    return Err(LineFault::Folded);
                }
                (b'\r', Some(b'\n')) => at = i + 2,
                (b'\r', None) => return Ok(None),
                // Only a look back into bytes already judged can start in the middle of a line end.
                (b'\n', _) if i > 0 && bytes[i - 1] == b'\r' => at = i + 1,
                (b'\n', _) if bare_lf && i >= 1 && bytes[i - 1] == b'\n' => return Ok(Some(i + 1)),
                (b'\n', Some(b' ' | b'\t')) if bare_lf => return Err(LineFault::Folded),
                (b'\n', _) if bare_lf => at = i + 1,
                _ => return Err(LineFault::Bare),
            }
        }
        Ok(None)
    }

    /// Whether to parse a head of which this much is here: at its first bytes, at a line's end, when it has doubled. At
    /// most [`MAX_FIELDS`] lines make sense, so the work is linear in what was sent.
    fn is_due(&mut self, length: usize) -> bool {
        let is_due = self.line_ended || length >= 2 * self.parsed;
        if is_due {
            (self.parsed, self.line_ended) = (length, false);
        }
        is_due
    }
}

/// Reads the request head that `bytes` begin with, and says how long it is; none when more of it has to come.
/// `scan` is that of the same head.
///
/// # Errors
///
/// It is no head that may be served, whatever else would come; or it is longer than `max_length`.
pub fn read_request(
    bytes: &[u8],
    scan: &mut Scan,
    max_length: usize,
) -> Result<Option<(RequestHead, usize)>, HeadFault> {
    if bytes.starts_with(TLS_HANDSHAKE) {
        return Err(bad(
            "the client speaks TLS to a port of plain HTTP: its base URL must begin with http://",
        ));
    }
    if bytes.starts_with(PROXY_PROTOCOL) {
        return Err(bad(
            "the client speaks the PROXY protocol, which is not supported: switch it off in the load balancer",
        ));
    }
    let end = scan.find_end(bytes, false).map_err(|fault| match fault {
        LineFault::Bare => bad("bare CR or LF in the request head"),
        LineFault::Folded => bad("a header field is folded over several lines"),
    })?;
    match end {
        Some(end) if end > max_length => Err(too_large(&bytes[..end], max_length)),
        Some(end) => parse_request(&bytes[..end]).map(|head| Some((head, end))),
        None if bytes.len() > max_length => Err(too_large(bytes, max_length)),
        None if scan.is_due(bytes.len()) => {
            let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
            let mut request = httparse::Request::new(&mut []);
            let parsed = request.parse_with_uninit_headers(bytes, &mut fields);
            parsed.map(|_| None).map_err(|error| malformed(bytes, error))
        }
        None => Ok(None),
    }
}

/// Parses a whole head.
///
/// # Errors
///
/// As [`read_request`].
pub fn parse_request(bytes: &[u8]) -> Result<RequestHead, HeadFault> {
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
/// As [`read_request`].
pub(crate) fn assemble(
    method: &str,
    target: &str,
    version: Version,
    headers: Fields,
) -> Result<RequestHead, HeadFault> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| bad("the method is malformed"))?;
    let unsupported = match method {
        Method::CONNECT => {
            Some("CONNECT is not supported: auth-proxy is a base URL for API clients, not their HTTPS_PROXY")
        }
        // RFC 9110 section 9.3.8: the response is the request, with the credentials that it got on its way.
        Method::TRACE => Some("TRACE is not supported: its response would show credentials"),
        _ => None,
    };
    if let Some(message) = unsupported {
        return Err(fault(FaultKind::MethodNotSupported, message));
    }
    let host = host(&headers, version)?;
    let target = origin_form(&method, target, host)?;
    let length = framing::of_request(&headers, version).map_err(|why| match why {
        RequestFault::Malformed(message) => bad(message),
        RequestFault::UnknownCoding => {
            fault(FaultKind::TransferCodingNotSupported, "the only Transfer-Encoding supported is chunked")
        }
    })?;
    Ok(RequestHead { method, target, version, headers, length })
}

/// The fault of a head longer than `max_length`; it may have come in part only.
fn too_large(bytes: &[u8], max_length: usize) -> HeadFault {
    if bytes.windows(2).take(max_length).any(|two| two == b"\r\n") {
        fault(
            FaultKind::FieldsTooLarge,
            format!(
                "the request head is larger than {} KiB: send fewer or shorter header fields",
                max_length / 1024
            ),
        )
    } else if !bytes.contains(&b' ') {
        bad("the request does not begin with a method")
    } else {
        fault(FaultKind::UriTooLong, format!("the request target is longer than {} KiB", max_length / 1024))
    }
}

/// RFC 9112 section 3.2: exactly one Host, which an HTTP/1.0 client may leave out, and a well-formed one. An empty
/// one says nothing that a client of ours can mean; nginx refuses it, too.
fn host(headers: &Fields, version: Version) -> Result<Option<&[u8]>, HeadFault> {
    let mut hosts = headers.get_all("host");
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if authority::is_valid(host) => Ok(Some(host)),
        (Some(_), None) => Err(bad("the Host header is not a host with or without a port")),
        (None, _) if version == Version::HTTP_10 => Ok(None),
        (None, _) => Err(bad("the Host header is missing")),
        (Some(_), Some(_)) => Err(bad("there is more than one Host header")),
    }
}

/// The target in origin form (RFC 9112 section 3.2). Absolute form is accepted when it names the same authority as Host,
/// where there is one; the asterisk is for OPTIONS; authority form is for CONNECT.
fn origin_form(method: &Method, target: &str, host: Option<&[u8]>) -> Result<String, HeadFault> {
    if target.starts_with('/') || target == "*" && method == Method::OPTIONS {
        return Ok(target.to_owned());
    }
    let (scheme, rest) = target.split_once("://").unwrap_or_default();
    let default_port = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => 80,
        _ if scheme.eq_ignore_ascii_case("https") => 443,
        _ => return Err(bad("the request target is not a path")),
    };
    let (named, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let is_ours = authority::is_valid(named.as_bytes())
        && host.is_none_or(|host| authority::is_equivalent(named.as_bytes(), host, default_port));
    if !is_ours {
        return Err(bad("the request target names no authority, or another than the Host header"));
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

fn malformed(bytes: &[u8], error: httparse::Error) -> HeadFault {
    match error {
        httparse::Error::TooManyHeaders => {
            fault(FaultKind::FieldsTooLarge, format!("the request has more than {MAX_FIELDS} header fields"))
        }
        httparse::Error::Version if names_a_version(bytes) => fault(
            FaultKind::VersionNotSupported,
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

fn bad(message: &str) -> HeadFault {
    fault(FaultKind::BadRequest, message)
}

fn fault(kind: FaultKind, message: impl Into<String>) -> HeadFault {
    HeadFault { kind, message: message.into() }
}

/// A response's head.
#[derive(Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Every field, as it came.
    pub headers: Fields,
}

impl ResponseHead {
    /// How the body is delimited, if this is the response to a request of this method.
    ///
    /// # Errors
    ///
    /// As `framing::of_response`.
    pub fn framing(&self, method: &Method) -> Result<ResponseFraming, Malformed> {
        framing::of_response(method, self.status, self.version, &self.headers)
    }

    /// Whether the connection can be used for another request after this response (RFC 9112 section 9.3).
    pub fn keeps_connection(&self) -> bool {
        let options = || self.headers.get_all("connection").flat_map(super::fields::elements);
        let names = |option: &str| options().any(|named| super::fields::is(named, option));
        !names("close") && (self.version == Version::HTTP_11 || names("keep-alive"))
    }
}

/// Reads the response head that `bytes` begin with, and says how long it is; none when more of it has to come.
/// `scan` is that of the same head. Servers have always been forgiven empty lines before a head, lines that end in LF
/// alone, and white space before a colon, which "a proxy MUST remove … from a response message before forwarding the
/// message downstream" (RFC 9112 section 5.1).
///
/// # Errors
///
/// It is no head of HTTP/1.1, whatever else would come; or it is longer than `max_length`.
pub fn read_response(
    bytes: &[u8],
    scan: &mut Scan,
    max_length: usize,
) -> Result<Option<(ResponseHead, usize)>, Malformed> {
    // Each is looked at once, however the bytes arrive.
    scan.empty += empty_lines(&bytes[scan.empty..]);
    let empty = scan.empty;
    if empty > max_length {
        return Err(Malformed("it begins with too many empty lines"));
    }
    let head = &bytes[empty..];
    if matches!(head, b"" | b"\r") {
        return Ok(None);
    }
    let end = scan.find_end(head, true).map_err(|fault| match fault {
        LineFault::Bare => Malformed("its head has a bare CR"),
        LineFault::Folded => Malformed("a header field is folded over several lines"),
    })?;
    let is_whole = end.is_some();
    let length = end.unwrap_or(head.len());
    if empty + length > max_length {
        return Err(Malformed("its head is larger than 64 KiB"));
    }
    if !is_whole && !scan.is_due(length) {
        return Ok(None);
    }
    let head = &head[..length];
    // Few on the stack, which once used stays with the thread: this lies below ureq's main loop.
    let parsed = match parse_response(head, &mut [const { MaybeUninit::uninit() }; FEW_FIELDS]) {
        Err(httparse::Error::TooManyHeaders) => parse_response(head, &mut Box::new_uninit_slice(MAX_FIELDS)),
        parsed => parsed,
    };
    match parsed {
        Ok(Some(head)) => Ok(Some((head, empty + length))),
        Ok(None) if !is_whole => Ok(None),
        Ok(None) => Err(Malformed("its head is malformed")),
        Err(httparse::Error::TooManyHeaders) => Err(Malformed("it has more than 128 header fields")),
        Err(httparse::Error::Version) => Err(Malformed("it is not HTTP/1.1")),
        Err(httparse::Error::Status) => Err(Malformed("its status line is malformed")),
        Err(_) => Err(Malformed("its head is malformed")),
    }
}

/// How many bytes of empty lines these begin with. A bare CR is none (RFC 9112 section 2.2).
fn empty_lines(bytes: &[u8]) -> usize {
    let mut count = 0;
    loop {
        match &bytes[count..] {
            [b'\r', b'\n', ..] => count += 2,
            [b'\n', ..] => count += 1,
            _ => return count,
        }
    }
}

/// Parses a head, if these bytes are all of it.
fn parse_response<'b>(
    bytes: &'b [u8],
    fields: &mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<Option<ResponseHead>, httparse::Error> {
    let mut response = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true);
    let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, fields)?;
    if parsed != httparse::Status::Complete(bytes.len()) {
        return Ok(None);
    }
    // Three digits, but those below 100 are no status.
    let status =
        StatusCode::from_u16(response.code.unwrap_or_default()).map_err(|_| httparse::Error::Status)?;
    let version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = Fields::with_capacity(response.headers.len(), bytes.len());
    response.headers.iter().for_each(|field| headers.push(field.name, field.value));
    Ok(Some(ResponseHead { status, version, headers }))
}

#[cfg(test)]
mod tests;

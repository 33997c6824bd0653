//! Responses that we accept, and ureq's own reading of them: the same status, fields, body and end. Ours reads first, so that
//! where the two differ, one of them is wrong. What ours refuses never reaches ureq.

use auth_proxy::testing::{Decoder, ResponseFraming, ResponseHead, Scan, chunked, read_response};
use http::{Method, Request};
use ureq_proto::Error;
use ureq_proto::client::{Call, RecvBodyResult, RecvResponseResult, SendRequestResult, state};

use super::pieces::{self, Pieces};
use super::reference::{self, End, Fields};

/// As in the program.
const MAX_HEAD: usize = 64 * 1024;
const ALLOWANCE: usize = 64 * 1024;

/// What ureq refuses and we accept, each for its reason. None excuses that it reads something else.
const EXCEPTIONS: [(&str, Excuse); 4] = [
    // "A proxy MUST remove any such whitespace from a response message before forwarding the message downstream" (RFC 9112
    // section 5.1).
    ("white space before a colon", |read, error| {
        matches!(error, Error::HttpParseFail(_)) && read.heads.iter().any(|head| has_spaced_name(head))
    }),
    // RFC 9110 section 15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final response",
    // and a 100 may have fields as any other response.
    ("100 with fields", |_, error| matches!(error, Error::HeadersWith100)),
    // There is no body that they could be about, and they are dropped with the response.
    ("framing fields of a 1xx response", |read, error| {
        let is_framing = matches!(error, Error::BadContentLengthHeader | Error::TooManyContentLengthHeaders);
        is_framing && read.heads.len() > 1
    }),
    // ureq takes 20 bytes; "A recipient MUST ignore unrecognized chunk extensions" (RFC 9112 section 7.1.1).
    ("long chunk extension", |read, error| {
        matches!(error, Error::ChunkExpectedCrLf) && has_long_size(&read.data[read.body_start..])
    }),
];

/// The one exception that is another reading: ureq looks past a `Connection` field with bytes beyond ASCII, and so does not
/// see the `keep-alive` of an HTTP/1.0 response in it.
const OPAQUE_CONNECTION: &str = "Connection beyond ASCII";

type Excuse = fn(&Ours<'_>, &Error) -> bool;

/// What came of a comparison.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Both read this.
    Same(Response),
    /// Ours takes it for no response, or not for a whole head.
    Refused,
    /// ureq refuses it, or would not use the connection again; the name of the exception that says why.
    Excused(&'static str),
    Disagreement(String),
}

/// A response as somebody has read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub status: u16,
    /// Sorted by their lower-case names.
    pub fields: Fields,
    pub body: Vec<u8>,
    /// Bytes up to the end of the body; none when it is cut short or, by our reading, malformed.
    pub end: Option<usize>,
    /// Another request can follow on the connection.
    pub is_reusable: bool,
}

/// `data` is what an upstream sends until it closes the connection.
pub fn check(data: &[u8]) {
    for method in [Method::GET, Method::HEAD] {
        if let Verdict::Disagreement(what) = compare(data, &method) {
            panic!("{method}: {what}");
        }
    }
}

/// Reads the response to a request of this method twice.
pub fn compare(data: &[u8], method: &Method) -> Verdict {
    let Some(ours) = Ours::read(data, method) else { return Verdict::Refused };
    let mut excused = None;
    for pieces in pieces::ways(data) {
        let (ureqs, error) = read_with_ureq(data, method, pieces);
        let exception =
            error.as_ref().and_then(|error| EXCEPTIONS.iter().find(|(_, excuses)| excuses(&ours, error)));
        let is_same = match (&ureqs, &error) {
            (None, Some(_)) => exception.is_some(),
            (None, None) => false,
            (Some(ureqs), _) if !ours.has_head_of(ureqs) => false,
            // What we refuse has no end to agree on.
            (Some(ureqs), _) if ours.is_malformed => {
                let (one, other) = (&ours.response.body, &ureqs.body);
                one.starts_with(other) || other.starts_with(one)
            }
            (Some(ureqs), Some(_)) => exception.is_some() && ours.response.body.starts_with(&ureqs.body),
            (Some(ureqs), None) => {
                // We may close what could be used again.
                let is_reuse_same = ureqs.is_reusable || !ours.response.is_reusable;
                if !is_reuse_same && ours.has_opaque_connection() {
                    excused = Some(OPAQUE_CONNECTION);
                }
                let is_reusable = ours.response.is_reusable;
                (is_reuse_same || excused == Some(OPAQUE_CONNECTION))
                    && Response { is_reusable, ..ureqs.clone() } == ours.response
            }
        };
        if !is_same {
            let found = (&ours.response, &ureqs, &error);
            return Verdict::Disagreement(format!("ours, ureq's, ureq's error: {found:?}"));
        }
        excused = excused.or_else(|| exception.map(|(name, _)| *name));
    }
    match excused {
        _ if ours.is_malformed => Verdict::Refused,
        Some(name) => Verdict::Excused(name),
        None => Verdict::Same(ours.response),
    }
}

struct Ours<'a> {
    data: &'a [u8],
    /// Those of 1xx responses and the last, with the empty lines before each.
    heads: Vec<&'a [u8]>,
    body_start: usize,
    response: Response,
    /// The body is refused after what there is of it.
    is_malformed: bool,
}

impl<'a> Ours<'a> {
    /// As `upstream/lease.rs` does.
    fn read(data: &'a [u8], method: &Method) -> Option<Self> {
        let (mut heads, mut at) = (Vec::new(), 0);
        let head = loop {
            let (head, length) = read_response(&data[at..], &mut Scan::default(), MAX_HEAD).ok()??;
            heads.push(&data[at..at + length]);
            at += length;
            if !head.status.is_informational() || head.status == http::StatusCode::SWITCHING_PROTOCOLS {
                break head;
            }
        };
        let framing = head.framing(method).ok()?;
        let (body, end) = read_body(&data[at..], framing);
        let response = Response {
            status: head.status.as_u16(),
            fields: reference::fields(&head.headers),
            body,
            end: if let End::Whole(length) = end { Some(at + length) } else { None },
            is_reusable: matches!(end, End::Whole(_)) && is_reusable(&head, framing),
        };
        Some(Self { data, heads, body_start: at, response, is_malformed: end == End::Wrong })
    }

    fn has_opaque_connection(&self) -> bool {
        self.response.fields.iter().any(|(name, value)| name == b"connection" && !value.is_ascii())
    }

    fn has_head_of(&self, ureqs: &Response) -> bool {
        (self.response.status, &self.response.fields) == (ureqs.status, &ureqs.fields)
    }
}

fn is_reusable(head: &ResponseHead, framing: ResponseFraming) -> bool {
    let is_tunnel = head.status == http::StatusCode::SWITCHING_PROTOCOLS;
    head.keeps_connection() && framing != ResponseFraming::UntilClose && !is_tunnel
}

fn read_body(sent: &[u8], framing: ResponseFraming) -> (Vec<u8>, End) {
    match framing {
        ResponseFraming::Empty => (Vec::new(), End::Whole(0)),
        ResponseFraming::UntilClose => (sent.to_vec(), End::Whole(sent.len())),
        ResponseFraming::Length(length) => {
            match usize::try_from(length).ok().and_then(|length| sent.get(..length)) {
                Some(body) => (body.to_vec(), End::Whole(body.len())),
                None => (sent.to_vec(), End::Cut),
            }
        }
        ResponseFraming::Chunked => {
            let (mut decoder, mut bytes) = (Decoder::new(ALLOWANCE), sent.to_vec());
            let decoded = chunked::decode_in_place(&mut decoder, &mut bytes);
            bytes.truncate(decoded.data);
            let end = match decoded.next {
                Err(_) => End::Wrong,
                Ok(_) if decoder.is_complete() => End::Whole(decoded.taken),
                Ok(_) => End::Cut,
            };
            (bytes, end)
        }
    }
}

/// Whether white space comes between the name of a field and its colon.
fn has_spaced_name(head: &[u8]) -> bool {
    let mut lines =
        head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty());
    let _status_line = lines.next();
    lines.any(|line| {
        line.split(|byte| *byte == b':')
            .next()
            .is_some_and(|name| name.ends_with(b" ") || name.ends_with(b"\t"))
    })
}

/// Whether one of the lines with chunk sizes is longer than ureq takes.
fn has_long_size(mut sent: &[u8]) -> bool {
    while let Some(line) = sent.windows(2).position(|two| two == b"\r\n") {
        let digits = sent.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size =
            str::from_utf8(&sent[..digits]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let after = size.and_then(|size| size.checked_add(line + 4)).and_then(|at| sent.get(at..));
        match after {
            _ if line > 20 => return true,
            Some(after) if size != Some(0) => sent = after,
            _ => return false,
        }
    }
    false
}

/// The response as ureq's state machine reads it, as far as it comes, and why it comes no further.
fn read_with_ureq(data: &[u8], method: &Method, mut pieces: Pieces) -> (Option<Response>, Option<Error>) {
    let mut call = receive_response(method);
    let (mut at, mut here) = (0, 0);
    let head = loop {
        match call.try_response(&data[at..here], false) {
            Ok((used, Some(head))) => {
                at += used;
                break head;
            }
            Ok((used, None)) if used > 0 => at += used,
            Ok(_) if here == data.len() => return (None, None),
            Ok(_) => here += pieces.next(data.len() - here),
            Err(error) => return (None, Some(error)),
        }
    };
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())
    };
    let mut fields: Fields = head.headers().iter().map(field).collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    let status = head.status().as_u16();
    let mut response = Response { status, fields, body: Vec::new(), end: Some(at), is_reusable: false };
    let mut call = match call.proceed().expect("a head was read") {
        RecvResponseResult::RecvBody(call) => call,
        RecvResponseResult::Redirect(call) => {
            response.is_reusable = !call.must_close_connection();
            return (Some(response), None);
        }
        RecvResponseResult::Cleanup(call) => {
            response.is_reusable = !call.must_close_connection();
            return (Some(response), None);
        }
    };
    let mut buffer = vec![0; data.len() + 1];
    loop {
        match call.read(&data[at..here], &mut buffer) {
            Ok((0, 0)) if here == data.len() => break,
            Ok((0, 0)) => here += pieces.next(data.len() - here),
            Ok((used, made)) => {
                at += used;
                response.body.extend_from_slice(&buffer[..made]);
            }
            Err(error) => return (Some(response), Some(error)),
        }
    }
    response.end = call.can_proceed().then_some(at);
    response.is_reusable = match call.proceed() {
        None => false,
        Some(RecvBodyResult::Redirect(call)) => !call.must_close_connection(),
        Some(RecvBodyResult::Cleanup(call)) => !call.must_close_connection(),
    };
    (Some(response), None)
}

/// ureq after a request of this method was sent.
fn receive_response(method: &Method) -> Call<state::RecvResponse> {
    let request = Request::builder().method(method).uri("http://upstream.test/").body(());
    let mut call = Call::new(request.expect("a valid request")).expect("a valid request").proceed();
    call.write(&mut [0; 256]).expect("room for the head");
    match call.proceed() {
        Ok(Some(SendRequestResult::RecvResponse(call))) => call,
        other => panic!("the request has no body: {}", other.is_ok()),
    }
}

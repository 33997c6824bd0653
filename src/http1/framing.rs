//! How long a message's body is: RFC 9112 section 6.3, once for requests and once for responses, without the leniencies
//! that request smuggling lives on.

use http::{Method, StatusCode, Version};

use super::chunked::Malformed;
use super::fields::{self, Fields};

/// How long a message body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// There is none; whatever the fields say is about another message (HEAD, 304).
    Empty,
    /// This many bytes.
    Known(u64),
    /// Known when it ends: chunked, or, towards an HTTP/1.0 client, until the connection closes.
    Unknown,
}

/// How the body of a response is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is no body.
    Empty,
    /// This many bytes.
    Length(u64),
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

impl ResponseFraming {
    /// What a recipient of the same response needs to know.
    pub fn length(self) -> Length {
        match self {
            Self::Empty => Length::Empty,
            Self::Length(n) => Length::Known(n),
            Self::Chunked | Self::UntilClose => Length::Unknown,
        }
    }
}

/// Why a request's framing is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestFault {
    /// 400: two recipients could read it differently.
    Malformed(&'static str),
    /// 501: "A server that receives a request message with a transfer coding it does not understand SHOULD respond with
    /// 501 (Not Implemented)" (RFC 9112 section 6.1).
    UnknownCoding,
}

/// The length of a request's body.
///
/// # Errors
///
/// The framing is ambiguous, malformed or not understood: the connection cannot be used any further.
pub(crate) fn of_request(fields: &Fields, version: Version) -> Result<Length, RequestFault> {
    use RequestFault::Malformed;
    let mut codings = fields.get_all("transfer-encoding");
    let mut lengths = fields.get_all("content-length");
    let (coding, length) = (codings.next(), lengths.next());
    if codings.next().is_some() || lengths.next().is_some() {
        return Err(Malformed("Content-Length or Transfer-Encoding is given more than once"));
    }
    match (coding, length) {
        // 7. "If this is a request message and none of the above are true, then the message body length is zero."
        (None, None) => Ok(Length::Empty),
        // 3. "If a message is received with both … Such a message might indicate an attempt to perform request smuggling
        // … A server MAY reject".
        (Some(_), Some(_)) => Err(Malformed("both Transfer-Encoding and Content-Length are given")),
        // 6. "If a valid Content-Length header field is present without Transfer-Encoding, its decimal value defines the
        // expected message body length in octets."
        (None, Some(digits)) => {
            number(digits).map(Length::Known).ok_or(Malformed("Content-Length is not a number"))
        }
        // Section 6.1: "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header field
        // MUST treat the message as if the framing is faulty".
        (Some(_), None) if version == Version::HTTP_10 => {
            Err(Malformed("Transfer-Encoding in an HTTP/1.0 request"))
        }
        (Some(coding), None) => chunked_alone(coding).map(|()| Length::Unknown),
    }
}

/// Item 4: "If a Transfer-Encoding header field is present in a request and the chunked transfer coding is not the final
/// encoding, the message body length cannot be determined reliably; the server MUST respond with the 400 status code."
fn chunked_alone(codings: &[u8]) -> Result<(), RequestFault> {
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings = fields::elements(codings).rev();
    if !codings.next().as_ref().is_some_and(is_chunked) {
        return Err(RequestFault::Malformed("Transfer-Encoding does not end with chunked"));
    }
    match codings.next() {
        None => Ok(()),
        // Section 7.1: "a sender MUST NOT apply the chunked transfer coding more than once".
        Some(first) if is_chunked(&first) || codings.any(|coding| is_chunked(&coding)) => {
            Err(RequestFault::Malformed("Transfer-Encoding names chunked more than once"))
        }
        Some(_) => Err(RequestFault::UnknownCoding),
    }
}

/// How the body of the response to a request of this method is delimited.
///
/// # Errors
///
/// Two recipients could see different bodies: the response must not be passed on.
pub(crate) fn of_response(
    method: &Method,
    status: StatusCode,
    version: Version,
    fields: &Fields,
) -> Result<ResponseFraming, Malformed> {
    let mut codings = fields.get_all("transfer-encoding");
    let chunked = match (codings.next(), codings.next()) {
        (None, _) => false,
        // Other codings would have to be undone or announced; nobody sends any.
        (Some(coding), None) if version == Version::HTTP_11 && fields::is(coding, "chunked") => true,
        _ => return Err(Malformed("its Transfer-Encoding is not chunked alone")),
    };
    let length = content_length(fields)?;
    // 1. "Any response to a HEAD request and any response with a 1xx (Informational), 204 (No Content), or 304 (Not
    // Modified) status code is always terminated by the first empty line after the header fields".
    let is_bodiless = method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(match length {
        _ if is_bodiless => ResponseFraming::Empty,
        // 3. "the Transfer-Encoding overrides the Content-Length".
        _ if chunked => ResponseFraming::Chunked,
        Some(length) => ResponseFraming::Length(length),
        // 8. "Otherwise, this is a response message without a declared message body length, so the message body length is
        // determined by the number of octets received prior to the server closing the connection."
        None => ResponseFraming::UntilClose,
    })
}

/// Item 5: "If a message is received without Transfer-Encoding and with an invalid Content-Length header field, then the
/// message framing is invalid … unless the field value can be successfully parsed as a comma-separated list … and all
/// values in the list are the same".
fn content_length(fields: &Fields) -> Result<Option<u64>, Malformed> {
    let mut found = None;
    for value in fields.get_all("content-length").flat_map(fields::elements) {
        let value = number(value).ok_or(Malformed("its Content-Length is not a number"))?;
        if found.is_some_and(|found| found != value) {
            return Err(Malformed("it has two different values of Content-Length"));
        }
        found = Some(value);
    }
    Ok(found)
}

/// `1*DIGIT` in 64 bits. (std takes `+1`, too.)
fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_requests() {
        use RequestFault::UnknownCoding;
        const BAD: Result<Length, ()> = Err(());
        for (lines, expected) in [
            (&[][..], Ok(Length::Empty)),
            (&[("content-length", "0")], Ok(Length::Known(0))),
            (&[("Content-Length", "007")], Ok(Length::Known(7))),
            (&[("content-length", "18446744073709551615")], Ok(Length::Known(u64::MAX))),
            (&[("content-length", "18446744073709551616")], BAD),
            (&[("content-length", "+1")], BAD),
            (&[("content-length", "")], BAD),
            (&[("content-length", "1, 1")], BAD),
            (&[("content-length", "1"), ("content-length", "1")], BAD),
            (&[("content-length", "1"), ("transfer-encoding", "chunked")], BAD),
            (&[("transfer-encoding", "Chunked")], Ok(Length::Unknown)),
            (&[("transfer-encoding", "")], BAD),
            (&[("transfer-encoding", "gzip")], BAD),
            (&[("transfer-encoding", "chunked, gzip")], BAD),
            (&[("transfer-encoding", "chunked, chunked")], BAD),
            (&[("transfer-encoding", "chunked, gzip, chunked")], BAD),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], BAD),
        ] {
            let fields = fields(lines);
            assert_eq!(of_request(&fields, Version::HTTP_11).map_err(drop), expected, "{lines:?}");
            let in_10 = of_request(&fields, Version::HTTP_10).map_err(drop);
            assert_eq!(in_10, if fields.contains("transfer-encoding") { BAD } else { expected }, "{lines:?}");
        }
        let gzip = fields(&[("transfer-encoding", "gzip, chunked")]);
        assert_eq!(of_request(&gzip, Version::HTTP_11), Err(UnknownCoding));
    }

    #[test]
    fn of_responses() {
        use ResponseFraming::{Chunked, Empty, Length, UntilClose};
        const BAD: Result<ResponseFraming, ()> = Err(());
        for (lines, expected) in [
            (&[][..], Ok(UntilClose)),
            (&[("content-length", "0")], Ok(Length(0))),
            (&[("content-length", "0002")], Ok(Length(2))),
            (&[("content-length", "2"), ("content-length", "2")], Ok(Length(2))),
            (&[("content-length", "2, 2")], Ok(Length(2))),
            (&[("content-length", "2, 3")], BAD),
            (&[("content-length", "2"), ("content-length", "")], BAD),
            (&[("content-length", "2,")], BAD),
            (&[("content-length", "-2")], BAD),
            (&[("transfer-encoding", "chunked")], Ok(Chunked)),
            (&[("transfer-encoding", "chunked"), ("content-length", "2")], Ok(Chunked)),
            (&[("transfer-encoding", "chunked"), ("content-length", "x")], BAD),
            (&[("transfer-encoding", "gzip")], BAD),
            (&[("transfer-encoding", "gzip, chunked")], BAD),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], BAD),
        ] {
            let fields = fields(lines);
            let of = |method: Method, status: u16, version| {
                of_response(&method, StatusCode::from_u16(status).unwrap(), version, &fields).map_err(drop)
            };
            assert_eq!(of(Method::GET, 200, Version::HTTP_11), expected, "{lines:?}");
            let bodiless = expected.map(|_| Empty);
            assert_eq!(of(Method::HEAD, 200, Version::HTTP_11), bodiless, "{lines:?}");
            for status in [101, 204, 304] {
                assert_eq!(of(Method::GET, status, Version::HTTP_11), bodiless, "{lines:?}");
            }
            let in_10 = if fields.contains("transfer-encoding") { BAD } else { expected };
            assert_eq!(of(Method::GET, 200, Version::HTTP_10), in_10, "{lines:?}");
        }
    }

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        lines.iter().for_each(|(name, value)| fields.push(name, value.as_bytes()));
        fields
    }
}

//! The destination's answer on its way to the client: each read is written at once, nothing is collected, and an
//! answer that was cut short never looks complete.

use std::io::{self, Read};

use http::{Method, StatusCode, Version};

use super::headers;
use crate::fields::{Fields, elements, is};
use crate::scratch::{self, STEP};
use crate::server::{Exchange, Length};
use crate::upstream::{Call, Fault};

/// How an answer went.
#[derive(Debug)]
pub(super) struct Relayed {
    /// Bytes of the body that the client was sent.
    pub(super) bytes: u64,
    /// What cut it short, and on which side.
    pub(super) cut: Option<Cut>,
}

/// Where an answer was cut short.
#[derive(Debug)]
pub(super) enum Cut {
    /// The destination ended or broke the connection in the middle.
    Destination(io::Error),
    /// The client did.
    Client(io::Error),
}

/// The framing of an answer (RFC 9112 section 6.3), as ureq reads it. None for one that must not be trusted: an
/// encoding that is not chunked alone, or any in HTTP/1.0.
pub(super) fn length(
    method: &Method,
    version: Version,
    status: StatusCode,
    headers: &Fields,
) -> Option<Length> {
    let mut encodings = headers.get_all("transfer-encoding");
    let chunked = match (encodings.next(), encodings.next()) {
        (None, _) => false,
        (Some(encoding), None) if version == Version::HTTP_11 && is(encoding, "chunked") => true,
        _ => return None,
    };
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless || method == Method::HEAD || status.is_informational() {
        return Some(Length::Empty);
    }
    if chunked {
        return Some(Length::Unknown);
    }
    // ureq has seen that every element of every value is this number.
    let first = |value| std::str::from_utf8(elements(value).next()?).ok()?.parse().ok();
    let declared = headers.get("content-length").and_then(first);
    Some(declared.map_or(Length::Unknown, Length::Known))
}

/// Sends the answer on.
pub(super) fn relay(
    status: StatusCode,
    mut headers: Fields,
    mut body: impl Read,
    length: Length,
    call: &Call,
    exchange: &mut dyn Exchange,
) -> Relayed {
    let chunked = headers.contains("transfer-encoding");
    headers::strip_response(&mut headers, length != Length::Empty || status == StatusCode::NO_CONTENT);
    exchange.start(status, &headers, length);
    drop(headers);

    let mut relayed = Relayed { bytes: 0, cut: None };
    // Otherwise the head leaves together with the first bytes of the body.
    if length != Length::Empty
        && !call.more_at_hand()
        && let Err(error) = exchange.flush()
    {
        relayed.cut = Some(Cut::Client(error));
        return relayed;
    }
    relayed.cut = match length {
        Length::Empty => None,
        _ => copy(&mut body, call, exchange, &mut relayed.bytes).err(),
    };
    if relayed.cut.is_none() && chunked && call.ended() {
        // ureq takes "0 CRLF" and the end of the connection for a whole chunked body.
        relayed.cut = Some(Cut::Destination(io::ErrorKind::UnexpectedEof.into()));
    }
    if relayed.cut.is_none() {
        relayed.cut = exchange.finish().err().map(Cut::Client);
    }
    relayed
}

/// Pieces of an event stream are seldom longer. While nobody knows when the next one comes, no larger buffer is held.
const PIECE: usize = 2048;

// Not part of its caller's frame: that lies below the TLS handshake, and stack once used stays with the thread.
#[inline(never)]
fn copy(body: &mut impl Read, call: &Call, exchange: &mut dyn Exchange, bytes: &mut u64) -> Result<(), Cut> {
    let mut piece = [0; PIECE];
    let (mut much, mut flows) = (call.more_at_hand(), false);
    loop {
        let n = if much {
            pass(body, &mut scratch::take_for(flows), exchange)?
        } else {
            pass(body, &mut piece, exchange)?
        };
        if n == 0 {
            return Ok(());
        }
        *bytes += n as u64;
        much = n >= PIECE || call.more_at_hand();
        flows = n >= STEP;
    }
}

/// Passes on what one read finds, and says how much; 0 at the end.
fn pass(body: &mut impl Read, buffer: &mut [u8], exchange: &mut dyn Exchange) -> Result<usize, Cut> {
    match body.read(buffer) {
        Ok(0) => Ok(0),
        Ok(n) => exchange.write(&buffer[..n]).map(|()| n).map_err(Cut::Client),
        // While it waits for the destination it watches the client, too.
        Err(error) if matches!(Fault::inside_io(&error), Some(Fault::ClientGone)) => Err(Cut::Client(error)),
        Err(error) => Err(Cut::Destination(error)),
    }
}

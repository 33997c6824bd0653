//! Relays the upstream's response to the client: each read is written at once, nothing is collected, and a truncated
//! response never looks complete.

use std::io::{self, Read};

use http::StatusCode;

use super::failure::{self, Failure};
use super::headers;
use super::upstream_errors::ErrorBody;
use crate::http1::framing::ResponseFraming;
use crate::http1::head::ResponseHead;
use crate::net::buffers::{self, Buffer, SMALL};
use crate::server::Exchange;
use crate::upstream::{Fault, Lease};

/// How relaying a response ended.
#[derive(Debug)]
pub(super) struct Relayed {
    /// Bytes of the body sent to the client.
    pub(super) bytes: u64,
    /// Which side ended it early, if one did.
    pub(super) aborted_by: Option<Aborted>,
    /// The body, if it is that of an error that somebody has to look at.
    pub(super) error: Option<ErrorBody>,
}

/// The side that ended a response early.
#[derive(Debug)]
pub(super) enum Aborted {
    /// The upstream closed or reset the connection in the middle of the body.
    Upstream(io::Error),
    Client(io::Error),
}

/// Chunks of an event stream are seldom longer. While it is unknown when the next one comes, no larger buffer is held.
const PIECE_BYTES: usize = 2048;

/// Relays the response.
///
/// # Errors
///
/// Its body turned out to be malformed while nothing had been sent yet.
// A frame of its own: see the invariants in lib.rs.
#[inline(never)]
pub(super) fn relay(
    head: ResponseHead,
    framing: ResponseFraming,
    mut body: impl Read,
    lease: &Lease,
    exchange: &mut dyn Exchange,
) -> Result<Relayed, Failure> {
    let mut piece = [0; PIECE_BYTES];
    let mut large = Buffer::default();
    // The first bytes of the body may turn out to be malformed. So they are read before the head is sent: then the client
    // can still get a 502, and otherwise head and body leave in one write.
    let first = match framing {
        ResponseFraming::Empty => Some(0),
        _ if lease.has_body_begun() => {
            if lease.buffered() > PIECE_BYTES {
                large = buffers::take();
            }
            let buffer = if large.is_empty() { &mut piece[..] } else { &mut large[..] };
            Some(body.read(buffer).map_err(|error| failure::from_body(&error))?)
        }
        _ => None,
    };
    let ResponseHead { status, mut headers, .. } = head;
    let error = ErrorBody::of(status, &headers);
    let length = framing.length();
    // The server generates the length itself. Where there is no body, as in a response to HEAD, the upstream's own
    // `Content-Length` stays.
    let says_length = framing != ResponseFraming::Empty || status == StatusCode::NO_CONTENT;
    headers::strip_response(&mut headers, says_length);
    exchange.start(status, &headers, length);
    drop(headers);

    let mut relayed = Relayed { bytes: 0, aborted_by: None, error };
    let sent = match first {
        Some(count) if large.is_empty() => send(exchange, &piece[..count], &mut relayed),
        Some(count) => send(exchange, &large[..count], &mut relayed),
        None => exchange.flush().map_err(Aborted::Client),
    };
    drop(large);
    let copied = sent.and_then(|()| match first {
        Some(0) => Ok(()),
        _ => copy(&mut body, &mut piece, lease, exchange, &mut relayed),
    });
    relayed.aborted_by = copied.and_then(|()| exchange.finish().map_err(Aborted::Client)).err();
    Ok(relayed)
}

fn copy(
    body: &mut impl Read,
    piece: &mut [u8; PIECE_BYTES],
    lease: &Lease,
    exchange: &mut dyn Exchange,
    relayed: &mut Relayed,
) -> Result<(), Aborted> {
    let (mut has_more, mut bulk) = (lease.buffered() > 0, false);
    loop {
        let count = if has_more {
            copy_once(body, &mut buffers::take_for(bulk), exchange, relayed)?
        } else {
            copy_once(body, piece, exchange, relayed)?
        };
        if count == 0 {
            return Ok(());
        }
        has_more = count >= PIECE_BYTES || lease.buffered() > 0;
        bulk = count >= SMALL;
    }
}

/// Relays what one read returns; 0 at the end.
fn copy_once(
    body: &mut impl Read,
    buffer: &mut [u8],
    exchange: &mut dyn Exchange,
    relayed: &mut Relayed,
) -> Result<usize, Aborted> {
    let count = body.read(buffer).map_err(|error| match Fault::inside_io(&error) {
        // Waiting for the upstream also watches the client.
        Some(Fault::ClientGone) => Aborted::Client(error),
        _ => Aborted::Upstream(error),
    })?;
    send(exchange, &buffer[..count], relayed).map(|()| count)
}

fn send(exchange: &mut dyn Exchange, bytes: &[u8], relayed: &mut Relayed) -> Result<(), Aborted> {
    if !bytes.is_empty() {
        exchange.write(bytes).map_err(Aborted::Client)?;
        relayed.bytes += bytes.len() as u64;
        if let Some(error) = &mut relayed.error {
            error.push(bytes);
        }
    }
    Ok(())
}

//! The request body: read from the client while both sides are watched, and kept while it is small, so that it can be sent
//! again.
//!
//! ```text
//!            the client sends             ureq sends it
//!  waiting ------------------> reading ----------------> waiting … end
//!     |
//!     | the upstream responds or closes
//!     +-- 2xx: it may want the rest --> waiting, the upstream is not polled any more
//!     '-- else: it wants no more --> EarlyResponse: nothing more is sent, the response is read
//! ```

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::retry::Replay;
use crate::net::Socket;
use crate::server::{Exchange, Length};
use crate::upstream::{EarlyResponse, Fault, Lease};

/// The largest body that is kept for a retry.
const MAX_REPLAY_BYTES: usize = 64 * 1024;
/// What all requests together keep: retries are rare, and memory for them must be bounded.
const MAX_REPLAY_TOTAL: usize = 16 << 20;
static REPLAY_TOTAL: AtomicUsize = AtomicUsize::new(0);

/// What was read of a request body, while it is small.
#[derive(Debug)]
pub(super) struct ReplayBuffer {
    bytes: Vec<u8>,
    /// The whole body was read.
    is_complete: bool,
    /// More was read than was kept.
    is_lost: bool,
    /// Its announced length is above the limit, so nothing is kept.
    is_too_large: bool,
    /// Bytes read from the client, kept or not.
    read: u64,
}

impl ReplayBuffer {
    pub(super) fn new(length: Length) -> Self {
        let is_complete = matches!(length, Length::Empty | Length::Known(0));
        let is_too_large = matches!(length, Length::Known(n) if n > MAX_REPLAY_BYTES as u64);
        Self { bytes: Vec::new(), is_complete, is_lost: false, is_too_large, read: 0 }
    }

    pub(super) fn state(&self) -> Replay {
        match (self.is_lost, self.is_complete) {
            (true, _) => Replay::Lost,
            (false, true) => Replay::Complete,
            (false, false) => Replay::SoFar,
        }
    }

    pub(super) fn read(&self) -> u64 {
        self.read
    }

    fn record(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
        if self.is_lost || bytes.is_empty() {
            return;
        }
        let total = REPLAY_TOTAL.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        self.bytes.extend_from_slice(bytes);
        if self.is_too_large || self.bytes.len() > MAX_REPLAY_BYTES || total > MAX_REPLAY_TOTAL {
            self.is_lost = true;
            self.clear();
        }
    }

    fn clear(&mut self) {
        REPLAY_TOTAL.fetch_sub(std::mem::take(&mut self.bytes).len(), Ordering::Relaxed);
    }
}

impl Drop for ReplayBuffer {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The body as ureq reads it, in one attempt.
pub(super) struct RequestBody<'a> {
    exchange: &'a mut dyn Exchange,
    client: Option<Arc<Socket>>,
    lease: &'a Lease,
    replay: &'a mut ReplayBuffer,
    /// Bytes of `replay` already returned.
    replayed: usize,
    /// Bytes still to be returned, where that is known.
    remaining: Option<u64>,
    /// Called when all of it was read.
    at_end: &'a mut dyn FnMut(),
    /// A 2xx response has begun: the rest of the body is sent without polling the upstream.
    stop_polling: bool,
}

impl<'a> RequestBody<'a> {
    pub(super) fn new(
        exchange: &'a mut dyn Exchange,
        lease: &'a Lease,
        replay: &'a mut ReplayBuffer,
        length: Length,
        at_end: &'a mut dyn FnMut(),
    ) -> Self {
        let remaining = if let Length::Known(n) = length { Some(n) } else { None };
        let client = exchange.client();
        Self { exchange, client, lease, replay, replayed: 0, remaining, at_end, stop_polling: false }
    }

    /// Waits until the client has sent something or the upstream has responded.
    fn wait(&mut self) -> io::Result<EarlyResponse> {
        let Some(client) = &self.client else { return Ok(EarlyResponse::None) };
        while !self.stop_polling && !self.exchange.has_buffered_body()? {
            let deadline = self.exchange.send_continue()?;
            let (is_readable, early) = self.lease.wait_for_either(client, deadline)?;
            match early {
                EarlyResponse::None => {}
                // An upstream may begin a 2xx response and still read the body, as for a transcription: keep sending. The
                // connection stays readable from now on, so polling it would be a busy loop.
                EarlyResponse::Success => self.stop_polling = true,
                // Anything else means that it does not want the rest (RFC 9112 section 9.5).
                EarlyResponse::Refused => return Ok(early),
            }
            if is_readable && self.exchange.poll_body()? {
                break;
            }
            // Framing without data does not move the deadline.
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(EarlyResponse::None)
    }
}

impl Read for RequestBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A final response may have arrived while ureq wrote the last bytes.
        if self.lease.is_early() {
            return Err(Fault::EarlyResponse.into());
        }
        let to_replay = self.replay.bytes.get(self.replayed..).unwrap_or_default();
        let count = if to_replay.is_empty() {
            if self.wait().map_err(Fault::RequestBody)? == EarlyResponse::Refused {
                return Err(Fault::EarlyResponse.into());
            }
            let count = self.exchange.read_body(buffer).map_err(Fault::RequestBody)?;
            self.replay.record(&buffer[..count]);
            self.replayed = self.replay.bytes.len();
            count
        } else {
            let count = to_replay.len().min(buffer.len());
            buffer[..count].copy_from_slice(&to_replay[..count]);
            self.replayed += count;
            count
        };
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(count as u64);
        }
        self.replay.is_complete |= count == 0 || self.remaining == Some(0);
        if self.replay.is_complete {
            (self.at_end)();
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_can_be_sent_again_while_it_is_small() {
        let small = [b'x'; 1000];
        for (length, reads, expected) in [
            (Length::Empty, 0, Replay::Complete),
            (Length::Known(0), 0, Replay::Complete),
            (Length::Known(2000), 0, Replay::SoFar),
            (Length::Known(2000), 1, Replay::SoFar),
            (Length::Unknown, 60, Replay::SoFar),
            (Length::Unknown, 70, Replay::Lost),
            // Of a large one nothing is kept, but nothing is lost before it was read.
            (Length::Known(1 << 30), 0, Replay::SoFar),
            (Length::Known(1 << 30), 1, Replay::Lost),
        ] {
            let mut replay = ReplayBuffer::new(length);
            (0..reads).for_each(|_| replay.record(&small));
            assert_eq!(replay.state(), expected, "{length:?} after {reads} reads");
            assert_eq!(replay.read(), 1000 * reads);
        }
    }
}

//! The buffers that ureq reads from and writes into. They grow to what a message needs, within its limits, and are given
//! back when there is nothing in them.

use std::io;
use std::ops::Range;

use ureq::unversioned::transport::Buffers;

use super::lease::{Bypass, Lease};
use crate::net::buffers::{self, Buffer, SMALL};

/// Input and output of one connection.
#[derive(Debug)]
pub(super) struct TransportBuffers {
    /// It wants to know whether there is more of the body.
    lease: Lease,
    input: Buffer,
    /// Consumed bytes of `input`.
    start: usize,
    /// Filled bytes of `input`.
    end: usize,
    /// Where the response's body begins in `input`, while ureq has not read its head.
    body_start: usize,
    output: Buffer,
    /// Bytes of `output` that wait for the next write.
    deferred: usize,
    /// Much came with the last read, and more is likely there already.
    bulk_in: bool,
    /// The last use consumed something, so that what is left may be enough for the next.
    progress: bool,
    /// Room that ureq needs for its part of a request's head.
    head_capacity: usize,
}

impl TransportBuffers {
    pub(super) fn new(lease: Lease) -> Self {
        let head_capacity = lease.lock().head_capacity();
        Self {
            lease,
            input: Buffer::default(),
            start: 0,
            end: 0,
            body_start: 0,
            output: Buffer::default(),
            deferred: 0,
            bulk_in: false,
            progress: false,
            head_capacity,
        }
    }

    /// Keeps the first `amount` bytes back for the next write.
    pub(super) fn defer(&mut self, amount: usize) {
        self.deferred += amount;
    }

    /// Forgets what was written.
    pub(super) fn discard(&mut self) {
        self.deferred = 0;
    }

    /// The bytes to write: what was deferred and `amount` more.
    pub(super) fn pending(&mut self, amount: usize) -> &[u8] {
        let total = self.deferred + amount;
        self.deferred = 0;
        &self.output[..total]
    }

    /// Bytes are waiting for the next write.
    pub(super) fn has_pending(&self) -> bool {
        self.deferred > 0
    }

    /// Completes the head that `amount` bytes of output are: the target in place of ureq's, the lines after its own. Says
    /// how many bytes it has now.
    ///
    /// # Errors
    ///
    /// These bytes are no whole head as ureq writes it.
    pub(super) fn complete_head(&mut self, amount: usize, bypass: &Bypass) -> Result<usize, ureq::Error> {
        let head = &self.output[..amount];
        // Around ureq's target are the first two spaces; a line end before them means that there is none.
        let mut around = memchr::memchr2_iter(b' ', b'\n', head);
        let (Some(from), Some(to), true) = (around.next(), around.next(), head.ends_with(b"\r\n\r\n")) else {
            return Err(ureq::Error::Io(io::Error::other("the request's head is incomplete")));
        };
        let rest = to..amount - 2;
        let (lines, target) = (&bypass.header_lines, bypass.target.as_bytes());
        let length = from + 1 + target.len() + rest.len() + lines.len() + 2;
        self.reserve(length.max(amount));
        let output = &mut self.output[..];
        let moved = from + 1 + target.len();
        output.copy_within(rest.clone(), moved);
        output[from + 1..moved].copy_from_slice(target);
        let at = moved + rest.len();
        output[at..at + lines.len()].copy_from_slice(lines);
        output[at + lines.len()..length].copy_from_slice(b"\r\n");
        Ok(length)
    }

    /// Takes the response in: its head as ureq gets it, then the bytes of the body that are in `range` of `body`.
    pub(super) fn begin_response(&mut self, head: &[u8], body: Buffer, range: Range<usize>) {
        self.input = body;
        (self.start, self.end) = (range.start, range.end);
        if self.input.is_empty() {
            self.input = buffers::take();
        }
        if self.start < head.len() {
            // Seldom: the upstream's own head is longer, as a rule.
            let length = self.end - self.start;
            if self.input.len() < head.len() + length {
                self.input.resize(head.len() + length, 0);
            }
            self.input.copy_within(self.start..self.end, head.len());
            (self.start, self.end) = (head.len(), head.len() + length);
        }
        self.body_start = self.start;
        self.start -= head.len();
        self.input[self.start..self.body_start].copy_from_slice(head);
    }

    /// Bytes of the response's body that are here.
    pub(super) fn body_len(&self) -> usize {
        self.end.saturating_sub(self.start.max(self.body_start))
    }

    /// Room for a read.
    pub(super) fn read_buf(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end, self.body_start) = (0, 0, 0);
            if self.bulk_in {
                self.input.enlarge(0..0);
            }
            if self.input.is_empty() {
                self.input = buffers::take();
            }
        } else if self.start > 0 && self.input.len() - self.end < SMALL / 2 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end, self.body_start) = (0, self.end - self.start, 0);
        }
        if self.input.len() < self.end + SMALL / 2 {
            self.input.resize(self.end + SMALL, 0);
        }
        &mut self.input[self.end..]
    }

    /// Takes in `count` bytes that were read into [`TransportBuffers::read_buf`].
    pub(super) fn received(&mut self, count: usize) {
        self.bulk_in = count > SMALL / 2;
        self.end += count;
    }

    /// While much comes: there is room for more to go along.
    pub(super) fn takes_more(&self) -> bool {
        self.bulk_in && self.input.len() - self.end >= SMALL
    }

    /// Gives output room for `amount` bytes after those deferred.
    fn reserve(&mut self, amount: usize) {
        if self.output.is_empty() {
            self.output = buffers::take();
        }
        if self.output.len() < self.deferred + amount {
            self.output.resize(self.deferred + amount, 0);
        }
    }

    /// Everything was sent: a response is waited for.
    pub(super) fn release_output(&mut self) {
        if !self.output.is_empty() && self.deferred == 0 {
            self.output = Buffer::default();
        }
    }

    /// Gives memory back while nothing is in it.
    pub(super) fn release(&mut self) {
        self.release_output();
        if self.start == self.end && !self.input.is_empty() {
            (self.start, self.end) = (0, 0);
            self.input = Buffer::default();
        }
    }
}

impl Buffers for TransportBuffers {
    fn output(&mut self) -> &mut [u8] {
        // ureq asks for this when it writes a head; a line that does not fit is an error there.
        self.reserve(self.head_capacity);
        &mut self.output[self.deferred..]
    }

    fn input(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.read_buf()
    }

    fn input_appended(&mut self, amount: usize) {
        self.received(amount);
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.start += amount;
        self.lease.lock().buffered = self.body_len();
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        // After a head that was deferred there is room enough for the first bytes.
        self.reserve(SMALL.saturating_sub(self.deferred).max(SMALL / 4));
        self.read_buf();
        (&mut self.input[self.end..], &mut self.output[self.deferred..])
    }

    fn can_use_input(&self) -> bool {
        self.start < self.end && self.progress
    }
}

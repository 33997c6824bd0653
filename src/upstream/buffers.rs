//! The buffers that ureq reads from and writes into. They grow to what a message needs, within its limits, and
//! are given back when the connection rests in the pool.

use ureq::unversioned::transport::Buffers;

use super::Call;
use super::answer::Filter;
use crate::scratch::{self, Buffer, STEP};

/// The same once the destination has refused the body and ureq only counts to its end, without a byte being moved.
const SKIP: usize = 256 * 1024;

/// Input and output of one connection.
#[derive(Debug, Default)]
pub(super) struct Elastic {
    input: Buffer,
    /// Consumed bytes of `input`.
    start: usize,
    /// Filled bytes of `input`.
    end: usize,
    output: Buffer,
    /// Bytes of `output` that wait for the next write.
    held: usize,
    /// Much came with the last read, and more is likely there already.
    flows_in: bool,
    /// Much left with the last write.
    flows_out: bool,
    /// The last use consumed something, so that what is left may be enough for the next.
    progress: bool,
    filter: Filter,
}

impl Elastic {
    /// Keeps the first `amount` bytes back for the next write.
    pub(super) fn hold(&mut self, amount: usize) {
        self.held += amount;
    }

    /// The bytes to write: what was held and `amount` more.
    pub(super) fn outgoing(&mut self, amount: usize) -> &[u8] {
        let total = self.held + amount;
        self.held = 0;
        self.flows_out = total > STEP / 2;
        &self.output[..total]
    }

    /// Bytes are waiting for the next write.
    pub(super) fn holds(&self) -> bool {
        self.held > 0
    }

    /// Room for a read, grown while a message head does not fit.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.flows_in {
                self.input.enlarge(0..0);
            }
            if self.input.is_empty() {
                self.input = scratch::take();
            }
        } else if self.start > 0 && self.input.len() - self.end < STEP / 2 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.input.len() < self.end + STEP / 2 {
            self.input.resize(self.end + STEP, 0);
        }
        &mut self.input[self.end..]
    }

    /// A new request begins: what comes next is its answer, whose fields pass ureq by, or do not.
    pub(super) fn restart(&mut self, pass_by: bool) {
        self.filter.restart(pass_by);
    }

    /// Adds lines to the end of the head that `amount` bytes of output are, and says how many it has now.
    ///
    /// # Errors
    ///
    /// These bytes are no whole head.
    pub(super) fn end_head(&mut self, amount: usize, lines: &[u8]) -> Result<usize, ureq::Error> {
        if lines.is_empty() {
            return Ok(amount);
        }
        let end = self.held + amount;
        let Some(at) = self.output[..end].ends_with(b"\r\n\r\n").then(|| end - 2) else {
            return Err(ureq::Error::Io(std::io::Error::other("the request's head is not whole")));
        };
        self.reserve(amount + lines.len());
        self.output[at..at + lines.len()].copy_from_slice(lines);
        self.output[at + lines.len()..][..2].copy_from_slice(b"\r\n");
        Ok(amount + lines.len())
    }

    /// Takes in `amount` bytes that were read into [`Elastic::room`]; true when there is something new for ureq.
    pub(super) fn received(&mut self, amount: usize) -> bool {
        self.flows_in = amount > STEP / 2;
        let end = self.end + amount;
        let in_head = self.filter.is_in_head();
        let length = self.filter.pass(&mut self.input[self.start..end], amount);
        let more = length > if in_head { 0 } else { self.end - self.start };
        self.end = self.start + length;
        if let (Some(fields), Some(call)) = (self.filter.take_fields(), Call::current()) {
            call.note_answer(fields);
        }
        more
    }

    /// Much came with the last read: a read that waits for nothing is worth a try.
    pub(super) fn flows(&self) -> bool {
        self.flows_in
    }

    /// While much comes: there is room for more to go along.
    pub(super) fn takes_more(&self) -> bool {
        self.flows_in && self.input.len() - self.end >= STEP
    }

    /// What was received makes no sense behind the bytes at hand.
    pub(super) fn is_broken(&self) -> bool {
        self.filter.is_broken()
    }

    /// Gives output room for `amount` bytes behind those held.
    fn reserve(&mut self, amount: usize) {
        if self.output.is_empty() {
            self.output = scratch::take();
        }
        if self.output.len() < self.held + amount {
            self.output.resize(self.held + amount, 0);
        }
    }

    /// Takes what was received and not consumed.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.input[self.start..self.end].to_vec();
        (self.start, self.end) = (0, 0);
        rest
    }

    /// Everything was sent: an answer is waited for.
    pub(super) fn release_output(&mut self) {
        if !self.output.is_empty() && self.held == 0 {
            self.output = Buffer::default();
        }
    }

    /// Gives memory back while the connection is idle.
    pub(super) fn release(&mut self) {
        self.release_output();
        if self.start == self.end && !self.input.is_empty() {
            (self.start, self.end) = (0, 0);
            self.input = Buffer::default();
        }
    }
}

impl Buffers for Elastic {
    fn output(&mut self) -> &mut [u8] {
        // ureq asks for this when it writes a head; a header line that does not fit is an error there.
        let head = Call::current().map_or(0, |call| call.head_size());
        self.reserve(head.max(STEP));
        &mut self.output[self.held..]
    }

    fn input(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.room()
    }

    fn input_appended(&mut self, amount: usize) {
        self.received(amount);
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.start += amount;
        if let Some(call) = Call::current() {
            call.note_more(self.start < self.end);
        }
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        let skipping = Call::current().is_some_and(|call| call.answered_early());
        if !skipping && self.held == 0 {
            if self.flows_out {
                self.output.enlarge(0..0);
            } else if self.output.is_large() {
                self.output = Buffer::default();
            }
        }
        // Behind a head that was held there is room enough for the first bytes.
        self.reserve(if skipping { SKIP } else { STEP.saturating_sub(self.held).max(STEP / 4) });
        self.room();
        (&mut self.input[self.end..], &mut self.output[self.held..])
    }

    fn can_use_input(&self) -> bool {
        self.start < self.end && self.progress
    }
}

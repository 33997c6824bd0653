//! The request body on its way: read from the client, watched on both sides, kept while it is small so that it can
//! be sent again.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::server::{Exchange, Length};
use crate::sys::{self, Ready};
use crate::upstream::{Ahead, Call, Fault};

/// The largest body that is kept for a second sending.
const KEEP: usize = 64 * 1024;
/// What all requests together keep: a repetition is rare, and memory is not for what is rare.
const KEEP_TOGETHER: usize = 16 << 20;
static KEPT_TOGETHER: AtomicUsize = AtomicUsize::new(0);
/// A refused body larger than this, which nobody sends, is not counted to its end for ureq's sake.
const MAX_SKIP: u64 = 1 << 36;

/// A request body, sent once or, while all of it is kept, again.
#[derive(Debug)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    whole: bool,
    /// More was read than is kept.
    overflowed: bool,
    /// Bytes that were read, kept or not.
    read: u64,
}

impl Kept {
    pub(super) fn new(length: Length) -> Self {
        let empty = matches!(length, Length::Empty | Length::Known(0));
        let too_large = matches!(length, Length::Known(n) if n > KEEP as u64);
        Self { bytes: Vec::new(), whole: empty, overflowed: too_large, read: 0 }
    }

    /// What was read so far can be sent again.
    pub(super) fn can_resume(&self) -> bool {
        !self.overflowed
    }

    /// The whole body can be sent again.
    pub(super) fn is_whole(&self) -> bool {
        self.whole && !self.overflowed
    }

    /// Bytes that were read from the client.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
        if self.overflowed {
            return;
        }
        let together = KEPT_TOGETHER.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > KEEP || together > KEEP_TOGETHER {
            self.overflowed = true;
            self.forget();
        }
    }

    fn forget(&mut self) {
        KEPT_TOGETHER.fetch_sub(std::mem::take(&mut self.bytes).len(), Ordering::Relaxed);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The body as ureq reads it.
pub(super) struct Upload<'a> {
    exchange: &'a mut dyn Exchange,
    call: Rc<Call>,
    kept: &'a mut Kept,
    /// Bytes of `kept` already given.
    resent: usize,
    /// Bytes that the destination was told to expect and that were not given.
    owed: Option<u64>,
    /// The destination no longer says anything of interest before the body ends.
    deaf: bool,
}

impl<'a> Upload<'a> {
    pub(super) fn new(
        exchange: &'a mut dyn Exchange,
        call: Rc<Call>,
        kept: &'a mut Kept,
        length: Length,
    ) -> Self {
        let owed = if let Length::Known(n) = length { Some(n) } else { None };
        Self { exchange, call, kept, resent: 0, owed, deaf: false }
    }

    /// Waits until the client sent something or the destination answered.
    fn wait(&mut self) -> io::Result<()> {
        let (Some(client), Some(wire)) = (self.exchange.client(), self.call.wire()) else {
            return Ok(());
        };
        while !self.deaf && !self.exchange.body_at_hand() {
            let deadline = self.exchange.expect_body()?;
            let mut wire = wire.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = [(client.as_fd(), Ready::READ), (wire.socket().as_fd(), Ready::READ)];
            let [sent, answered] = sys::wait(wanted, deadline)?;
            if answered.readable() {
                match wire.listen_ahead() {
                    Ahead::Silent => {}
                    Ahead::Fine => self.deaf = true,
                    Ahead::Final => {
                        self.call.note_answered_early();
                        return Ok(());
                    }
                }
            }
            drop(wire);
            if sent.readable() && self.exchange.receive_body()? {
                return Ok(());
            }
            if !sent.any() && !answered.any() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// The destination refused the body while it was being sent. ureq reads the answer only when it has sent all
    /// that was announced, so it is given the rest without anything being read or sent.
    fn skip(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.owed {
            None => Ok(0),
            Some(left) if *left > MAX_SKIP => {
                Err(Fault::RequestBody(io::ErrorKind::FileTooLarge.into()).into())
            }
            Some(left) => {
                let n = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= n as u64;
                Ok(n)
            }
        }
    }
}

impl Read for Upload<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.call.answered_early() {
            return self.skip(buffer);
        }
        let n = if self.resent < self.kept.bytes.len() {
            let again = &self.kept.bytes[self.resent..];
            let n = again.len().min(buffer.len());
            buffer[..n].copy_from_slice(&again[..n]);
            self.resent += n;
            n
        } else {
            self.wait().map_err(Fault::RequestBody)?;
            if self.call.answered_early() {
                return self.skip(buffer);
            }
            let n = self.exchange.read_body(buffer).map_err(Fault::RequestBody)?;
            self.kept.keep(&buffer[..n]);
            self.resent = self.kept.bytes.len();
            n
        };
        if let Some(owed) = &mut self.owed {
            *owed -= (n as u64).min(*owed);
        }
        self.kept.whole |= n == 0 || self.owed == Some(0);
        Ok(n)
    }
}

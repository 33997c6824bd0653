//! ureq's view of a lease: "here are your buffers, send this, wait for input".
//!
//! ureq is given the response as if its body ended with the connection: the lease knows where it ends, and decodes it.

use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::Fault;
use super::buffers::TransportBuffers;
use super::lease::{EarlyResponse, Exchange, ExchangeState, Head, Lease, Polled};
use crate::net::poll::Ready;

/// A lease as ureq's transport.
#[derive(Debug)]
pub(super) struct Connection {
    lease: Lease,
    buffers: TransportBuffers,
    /// What went wrong after bytes that ureq gets first.
    fault: Option<Fault>,
}

impl Connection {
    pub(super) fn new(lease: Lease) -> Self {
        Self { buffers: TransportBuffers::new(lease.clone()), lease, fault: None }
    }

    /// Writes what was deferred and `amount` bytes more. A response that refuses the request, or a connection that takes no
    /// more, ends it: what the upstream said is read next.
    fn write(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let mut exchange = self.lease.lock();
        let mut bytes = self.buffers.pending(amount);
        let mut is_listening = true;
        let mut until = None;
        loop {
            match exchange.send(&mut bytes) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(_) => {
                    exchange.stop_sending();
                    return Ok(());
                }
            }
            let wanted = if is_listening { Ready::READ_WRITE } else { Ready::WRITE };
            let found = wait(&exchange, wanted, *until.get_or_insert_with(|| deadline(timeout)), timeout)?;
            if is_listening && found.readable() {
                match exchange.poll_early_response() {
                    EarlyResponse::None => {}
                    EarlyResponse::Success => is_listening = false,
                    EarlyResponse::Refused => return Ok(()),
                }
            }
        }
    }

    /// Waits for the response's head, which ureq gets in its own words.
    fn await_head(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let mut exchange = self.lease.lock();
        let mut until = deadline(timeout);
        // The upstream takes longer than we do: to look before waiting would be a system call for nothing.
        if exchange.is_silent() {
            exchange.release_input();
            wait(&exchange, Ready::READ, until, timeout).inspect_err(|_| exchange.fail())?;
        }
        loop {
            match exchange.poll_head() {
                Ok(Head::Complete(_)) => {
                    let head = exchange.head_for_ureq();
                    let (body, range) = exchange.take_input().inspect_err(|_| exchange.fail())?;
                    self.buffers.begin_response(&head, body, range);
                    exchange.buffered = self.buffers.body_len();
                    return Ok(true);
                }
                // It says that the upstream is at work.
                Ok(Head::Interim) => until = deadline(timeout),
                Ok(Head::Pending) => {
                    exchange.release_input();
                    wait(&exchange, Ready::READ, until, timeout).inspect_err(|_| exchange.fail())?;
                }
                Err(fault) => {
                    exchange.fail();
                    return Err(fault.into());
                }
            }
        }
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let mut exchange = self.lease.lock();
        if exchange.state == ExchangeState::Early {
            self.buffers.discard();
            return Ok(());
        }
        let mut amount = amount;
        if let Some(bypass) = exchange.take_bypass() {
            amount = self.buffers.complete_head(amount, &bypass)?;
            if std::mem::take(&mut exchange.defer_head) {
                self.buffers.defer(amount);
                return Ok(());
            }
        }
        drop(exchange);
        self.write(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        if self.buffers.has_pending() {
            self.write(0, timeout)?;
        }
        self.buffers.release_output();
        if matches!(self.lease.lock().state, ExchangeState::Sending | ExchangeState::Early) {
            return self.await_head(timeout);
        }
        if let Some(fault) = self.fault.take() {
            return Err(fault.into());
        }
        let mut exchange = self.lease.lock();
        let until = deadline(timeout);
        loop {
            match exchange.poll_body(self.buffers.read_buf()) {
                Ok(Polled::Data(0)) => {}
                Ok(Polled::Data(count)) => {
                    self.buffers.received(count);
                    // While much comes, more goes along if it is here already.
                    while self.buffers.takes_more() {
                        match exchange.poll_body(self.buffers.read_buf()) {
                            Ok(Polled::Data(count)) => self.buffers.received(count),
                            Ok(Polled::End | Polled::WouldBlock) => break,
                            Err(fault) => {
                                self.fault = Some(fault);
                                break;
                            }
                        }
                    }
                    exchange.buffered = self.buffers.body_len();
                    return Ok(true);
                }
                Ok(Polled::End) => return Ok(false),
                Ok(Polled::WouldBlock) => {
                    self.buffers.release();
                    wait(&exchange, Ready::READ, until, timeout).inspect_err(|_| exchange.fail())?;
                }
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    /// The lease goes back to our own pool, not to ureq's.
    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.lease.lock().is_tls()
    }
}

/// Waits for the stream until the deadline.
fn wait(
    exchange: &MutexGuard<'_, Exchange>,
    wanted: Ready,
    until: Option<Instant>,
    timeout: NextTimeout,
) -> Result<Ready, ureq::Error> {
    let found = exchange.wait(wanted, until)?;
    if found.any() { Ok(found) } else { Err(ureq::Error::Timeout(timeout.reason)) }
}

/// When the time that ureq allows is over.
fn deadline(timeout: NextTimeout) -> Option<Instant> {
    let after = timeout.for_read().after;
    if after.is_not_happening() {
        return None;
    }
    let after: Duration = *after;
    Instant::now().checked_add(after)
}

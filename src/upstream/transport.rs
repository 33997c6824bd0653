//! ureq's view of a connection: its buffers, "send this", "wait for input", "is it still open".
//!
//! What ureq's own transport does not do and this one does: it watches the application's connection while it
//! waits, so that nobody pays for an answer that nobody reads; it tells an end of stream from a broken one; it
//! notices an answer that comes before the request body is sent; it rests outside ureq's pool.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::buffers::Elastic;
use super::call::Call;
use super::fault::Fault;
use super::idle::{Idle, Origin, Resting};
use super::wire::{Ahead, Received, Wire};
use crate::sys::{self, Ready};

/// A connection in ureq's hands.
#[derive(Debug)]
pub(super) struct Connection {
    wire: Arc<Mutex<Wire>>,
    buffers: Elastic,
    origin: Origin,
    retires: Instant,
    /// Where it rests when ureq is done with it.
    idle: Idle,
    /// It must not be used again.
    spent: bool,
    /// The answer was read to its end, and another request may follow.
    done: bool,
}

impl Connection {
    pub(super) fn new(found: Resting, idle: Idle) -> Self {
        let Resting { wire, origin, retires, .. } = found;
        let buffers = Elastic::default();
        Self { wire, buffers, origin, retires, idle, spent: false, done: false }
    }

    /// Writes what was held and `amount` bytes more.
    fn write(&mut self, amount: usize, call: Option<&Call>, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let mut wire = lock(&self.wire);
        let mut bytes = self.buffers.outgoing(amount);
        let mut listening = true;
        let mut until = None;
        loop {
            match send(&mut wire, &mut bytes) {
                Ok(true) => {
                    if let Some(call) = call {
                        call.note_sent();
                    }
                    return Ok(());
                }
                Ok(false) => {}
                // The destination may have answered before it closed: reading tells.
                Err(_) => {
                    self.spent = true;
                    if let Some(call) = call {
                        call.note_answered_early();
                    }
                    return Ok(());
                }
            }
            if let Some(call) = call {
                call.note_sent();
            }
            let wanted = if listening { Ready::READ_WRITE } else { Ready::WRITE };
            let deadline = *until.get_or_insert_with(|| deadline(timeout));
            let found = wait(&wire, wanted, call, deadline, timeout)?;
            if listening && found.readable() {
                match wire.listen_ahead() {
                    Ahead::Silent => {}
                    Ahead::Fine => listening = false,
                    Ahead::Final => {
                        self.spent = true;
                        if let Some(call) = call {
                            call.note_answered_early();
                        }
                        return Ok(());
                    }
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
        self.done = false;
        let call = Call::current();
        self.buffers.restart(call.is_some());
        let mut amount = amount;
        if let Some(call) = &call {
            call.uses(&self.wire);
            // Looked at here, behind name, connection and handshake, which may have taken their time.
            if call.is_too_late() {
                self.spent = true;
                return Err(Fault::TooLate.into());
            }
            if call.answered_early() {
                self.spent = true;
                self.buffers.outgoing(0);
                return Ok(());
            }
            amount = self.buffers.end_head(amount, &call.take_lines())?;
            if call.take_hold() {
                self.buffers.hold(amount);
                return Ok(());
            }
        }
        self.write(amount, call.as_deref(), timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let call = Call::current();
        if self.buffers.holds() {
            self.write(0, call.as_deref(), timeout)?;
        }
        self.buffers.release_output();
        let deadline = deadline(timeout);
        let mut wire = lock(&self.wire);
        let flows = self.buffers.flows();
        let room = self.buffers.room();
        let mut received = if flows { wire.receive(room) } else { wire.buffered(room) };
        let mut new = false;
        loop {
            if let Ok(Received::Bytes(n)) = received {
                if let Some(call) = &call {
                    call.note_received();
                }
                new |= self.buffers.received(n);
                if !new || self.buffers.takes_more() {
                    received = wire.buffered(self.buffers.room());
                    continue;
                }
            }
            // Whatever stopped it will be found the next time.
            if new {
                return Ok(true);
            }
            if self.buffers.is_broken() {
                self.spent = true;
                return Err(ureq::Error::Io(std::io::Error::new(
                    std::io::ErrorKind::InvalidData,
                    "the framing of the answer makes no sense",
                )));
            }
            match received {
                Ok(Received::End) => {
                    self.spent = true;
                    if let Some(call) = &call {
                        call.note_ended();
                    }
                    return Ok(false);
                }
                Ok(_) => {}
                Err(error) => {
                    self.spent = true;
                    return Err(Fault::Truncated(error).into());
                }
            }
            self.buffers.release();
            wait(&wire, Ready::READ, call.as_deref(), deadline, timeout)?;
            received = wire.receive(self.buffers.room());
        }
    }

    /// ureq asks when it is done with the connection, and again before it uses one of its pool, where none are.
    fn is_open(&mut self) -> bool {
        self.done = !self.spent;
        self.buffers.release();
        self.done
    }

    fn is_tls(&self) -> bool {
        self.origin.tls
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.done {
            let (wire, origin) = (Arc::clone(&self.wire), self.origin.clone());
            self.idle.put(Resting { wire, origin, retires: self.retires, since: Instant::now() });
        } else if Arc::strong_count(&self.wire) > 1 {
            // After a 101 ureq drops the connection, but the tunnel goes on with it: what came behind the head stays
            // with the wire.
            lock(&self.wire).put_back(self.buffers.take_rest());
        }
    }
}

/// Sends as much as it can; true when everything has left.
fn send(wire: &mut Wire, bytes: &mut &[u8]) -> std::io::Result<bool> {
    while !bytes.is_empty() {
        match wire.send(bytes)? {
            0 => {
                wire.flush()?;
                return Ok(false);
            }
            n => *bytes = &bytes[n..],
        }
    }
    wire.flush()
}

/// Waits for the socket, and for the application to hang up, which ends the call.
fn wait(
    wire: &Wire,
    wanted: Ready,
    call: Option<&Call>,
    deadline: Option<Instant>,
    timeout: NextTimeout,
) -> Result<Ready, ureq::Error> {
    let socket = (wire.socket().as_fd(), wanted);
    let found = match call.and_then(Call::client) {
        None => sys::wait([socket], deadline)?[0],
        Some(client) => {
            let [socket, client] = sys::wait([socket, (client.as_fd(), Ready::HANGUP)], deadline)?;
            if client.hung_up() {
                return Err(Fault::ClientGone.into());
            }
            socket
        }
    };
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

fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

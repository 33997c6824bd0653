//! A WebSocket once it is open: bytes in both directions, not looked at.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::scratch::{self, Buffer};
use crate::sys::{self, Ready};
use crate::upstream::{Received, Wire};

/// How long a client is listened to after the destination is gone, so that it gets the last words: megabytes may be on
/// their way to it. Most end their side at once.
const LINGER: Duration = Duration::from_secs(10);

/// Bytes that went through a tunnel.
#[derive(Debug, Default)]
pub(super) struct Tunnelled {
    pub(super) to_destination: u64,
    pub(super) to_client: u64,
}

/// Carries bytes until both sides have ended or one is broken, which is an end like any other: both sides see it.
/// An end of one direction ends only that direction. Nothing is read while what was read before waits to be
/// written: memory is constant, and while nobody speaks there is none.
pub(super) fn run(client: &TcpStream, ahead: Vec<u8>, wire: &mut Wire, carried: &mut Tunnelled) {
    carried.to_destination += ahead.len() as u64;
    let (up, down) = (Way::new(ahead), Way::new(Vec::new()));
    let mut tunnel = Tunnel { client, wire, carried, up, down, client_ended: false, client_broken: false };
    let _ = tunnel.carry();
    if !tunnel.client_ended && !tunnel.client_broken {
        part(client);
    }
}

struct Tunnel<'a> {
    client: &'a TcpStream,
    wire: &'a mut Wire,
    carried: &'a mut Tunnelled,
    /// From the client to the destination.
    up: Way,
    /// From the destination to the client.
    down: Way,
    /// The client says nothing more.
    client_ended: bool,
    /// The client takes nothing more; what it said before can still be read.
    client_broken: bool,
}

/// One direction.
struct Way {
    /// Read and not yet written; empty as long as the writing side keeps up.
    held: Buffer,
    /// Where in `held`.
    range: Range<usize>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The reading side has ended, and the writing side has not been told.
    Ending,
    /// The writing side was told, or takes nothing more.
    Over,
}

impl Tunnel<'_> {
    fn carry(&mut self) -> io::Result<()> {
        loop {
            let up_waits = self.push_up();
            let down_waits = self.push_down();
            if self.up.state == State::Over && self.down.state == State::Over {
                return Ok(());
            }
            if self.client_broken && up_waits {
                return Err(ErrorKind::ConnectionReset.into());
            }
            let from_client = self.up.state == State::Open && !up_waits;
            let from_destination = self.down.state == State::Open && !down_waits;
            let at_hand = from_destination && self.wire.at_hand();
            let [client, destination] =
                self.wait([(from_client, down_waits), (from_destination, up_waits)], at_hand)?;
            if from_client && client.readable() {
                self.pull_up()?;
            }
            if from_destination && (at_hand || destination.readable()) {
                self.pull_down()?;
            }
        }
    }

    /// Waits for what each side is wanted for: to be read, to be written.
    fn wait(&mut self, wanted: [(bool, bool); 2], at_hand: bool) -> io::Result<[Ready; 2]> {
        let flags = wanted.map(|(read, write)| {
            let read = if read { Ready::READ } else { Ready::NOTHING };
            read.and(if write { Ready::WRITE } else { Ready::NOTHING })
        });
        let client = (self.client.as_fd(), flags[0]);
        let destination = (self.wire.socket().as_fd(), flags[1]);
        // A side that nothing is wanted of is watched for a reset, but not once it was told of the end: when it
        // ends, too, the system reports that again and again.
        let [idle_client, idle_destination] = wanted.map(|(read, write)| !read && !write);
        let (leave_client, leave_destination) =
            (idle_client && self.down.is_over(), idle_destination && self.up.is_over());
        let deadline = at_hand.then(Instant::now);
        let found = match (leave_client, leave_destination) {
            (true, _) => [Ready::NOTHING, sys::wait([destination], deadline)?[0]],
            (_, true) => [sys::wait([client], deadline)?[0], Ready::NOTHING],
            _ => sys::wait([client, destination], deadline)?,
        };
        if idle_client && found[0].is_over() || idle_destination && found[1].is_over() {
            return Err(ErrorKind::ConnectionReset.into());
        }
        Ok(found)
    }

    /// Writes to the destination what it takes; true when more is waiting.
    fn push_up(&mut self) -> bool {
        if self.up.is_over() {
            return false;
        }
        let wire = &mut *self.wire;
        let ending = self.up.state == State::Ending;
        let pushed = self.up.push(|bytes| wire.send(bytes));
        let pushed = pushed.and_then(|all| Ok(all && if ending { wire.end()? } else { wire.flush()? }));
        match pushed {
            Ok(true) if ending => self.up.close(),
            Ok(_) => {}
            // It takes nothing more, but what it said before may still be on its way to us.
            Err(_) => self.up.close(),
        }
        !self.up.is_over() && !pushed.unwrap_or(true)
    }

    /// Writes to the client what it takes; true when more is waiting.
    fn push_down(&mut self) -> bool {
        if self.down.is_over() {
            return false;
        }
        let mut client = self.client;
        match self.down.push(|bytes| zero_if_blocked(client.write(bytes))) {
            Ok(false) => return true,
            Ok(true) if self.down.state == State::Ending => {
                self.down.close();
                let _ = client.shutdown(Shutdown::Write);
            }
            Ok(true) => {}
            Err(_) => {
                self.client_broken = true;
                self.down.close();
            }
        }
        false
    }

    fn pull_up(&mut self) -> io::Result<()> {
        let mut buffer = scratch::take();
        let read = { self.client }.read(&mut buffer);
        match read {
            Ok(0) => {
                self.client_ended = true;
                self.up.state = State::Ending;
            }
            Ok(n) => {
                self.carried.to_destination += n as u64;
                self.up.hold(buffer, n);
                return Ok(());
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                self.client_broken = true;
                return Err(error);
            }
        }
        Ok(())
    }

    fn pull_down(&mut self) -> io::Result<()> {
        let mut buffer = scratch::take();
        match self.wire.receive(&mut buffer)? {
            Received::End => self.down.state = State::Ending,
            Received::Bytes(n) => {
                self.carried.to_client += n as u64;
                self.down.hold(buffer, n);
                return Ok(());
            }
            Received::Nothing => {}
        }
        Ok(())
    }
}

impl Way {
    fn new(held: Vec<u8>) -> Self {
        Self { range: 0..held.len(), held: held.into(), state: State::Open }
    }

    fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes a buffer whose first `count` bytes were read.
    fn hold(&mut self, buffer: Buffer, count: usize) {
        (self.held, self.range) = (buffer, 0..count);
    }

    /// Writes what is held; true when nothing is left.
    fn push(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        while !self.range.is_empty() {
            match write(&self.held[self.range.clone()])? {
                0 => return Ok(false),
                n => self.range.start += n,
            }
        }
        self.held = Buffer::default();
        Ok(true)
    }

    /// Nothing more goes this way.
    fn close(&mut self) {
        *self = Self { state: State::Over, ..Self::new(Vec::new()) };
    }
}

/// The destination is gone, and the client still speaks. Closing a socket with unread input resets it, and a reset
/// destroys what is on its way to the client: end our side, then read on for a while.
fn part(mut client: &TcpStream) {
    let _ = client.shutdown(Shutdown::Write);
    let deadline = Instant::now() + LINGER;
    let mut buffer = scratch::take();
    while Instant::now() < deadline {
        match client.read(&mut buffer) {
            Ok(1..) => {}
            Err(error) if is_passing(&error) => {
                if sys::wait_one(client, Ready::READ, Some(deadline)).is_err() {
                    return;
                }
            }
            Ok(0) | Err(_) => return,
        }
    }
}

fn zero_if_blocked(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if is_passing(&error) => Ok(0),
        written => written,
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

//! A WebSocket once it is open: bytes in both directions, not looked at.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::sys::{self, Ready};
use crate::upstream::{Received, Wire};

/// One read: a TLS record.
const STEP: usize = 16 * 1024;
/// How long a client is listened to after the destination is gone, so that it gets the last words.
const LINGER: Duration = Duration::from_secs(2);

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
    let (up, down) = (Way { held: ahead, state: State::Open }, Way { held: Vec::new(), state: State::Open });
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
    held: Vec<u8>,
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
    fn wait(&self, wanted: [(bool, bool); 2], at_hand: bool) -> io::Result<[Ready; 2]> {
        let flags = wanted.map(|(read, write)| {
            let read = if read { Ready::READ } else { Ready::NOTHING };
            read.and(if write { Ready::WRITE } else { Ready::NOTHING })
        });
        let client = (self.client.as_fd(), flags[0]);
        let destination = (self.wire.socket().as_fd(), flags[1]);
        // A side that nothing is wanted of is watched for a reset, but not once it was told of the end: when it
        // ends, too, the system reports that again and again.
        let [idle_client, idle_destination] = wanted.map(|(read, write)| !read && !write);
        let deadline = at_hand.then(Instant::now);
        let found = match (idle_client && self.down.is_over(), idle_destination && self.up.is_over()) {
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
        let pushed = match self.up.state {
            State::Over => return false,
            _ => push(&mut self.up.held, |bytes| self.wire.send(bytes)).and_then(|all| {
                Ok(match self.up.state {
                    State::Ending if all => self.wire.end()?,
                    _ => all && self.wire.flush()?,
                })
            }),
        };
        match pushed {
            Ok(all) => {
                if all && self.up.state == State::Ending {
                    self.up.state = State::Over;
                }
                !all
            }
            // It takes nothing more, but what it said before may still be on its way to us.
            Err(_) => {
                self.up = Way { held: Vec::new(), state: State::Over };
                false
            }
        }
    }

    /// Writes to the client what it takes; true when more is waiting.
    fn push_down(&mut self) -> bool {
        let mut client = self.client;
        let pushed = match self.down.state {
            State::Over => return false,
            _ => push(&mut self.down.held, |bytes| zero_if_blocked(client.write(bytes))),
        };
        match pushed {
            Ok(all) => {
                if all && self.down.state == State::Ending {
                    self.down.state = State::Over;
                    let _ = client.shutdown(Shutdown::Write);
                }
                !all
            }
            Err(_) => {
                self.client_broken = true;
                self.down = Way { held: Vec::new(), state: State::Over };
                false
            }
        }
    }

    fn pull_up(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; STEP];
        match { self.client }.read(&mut buffer) {
            Ok(0) => {
                self.client_ended = true;
                self.up.state = State::Ending;
            }
            Ok(n) => {
                self.carried.to_destination += n as u64;
                buffer.truncate(n);
                self.up.held = buffer;
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
        let mut buffer = vec![0; STEP];
        match self.wire.receive(&mut buffer)? {
            Received::End => self.down.state = State::Ending,
            Received::Bytes(n) => {
                self.carried.to_client += n as u64;
                buffer.truncate(n);
                self.down.held = buffer;
            }
            Received::Nothing => {}
        }
        Ok(())
    }
}

impl Way {
    fn is_over(&self) -> bool {
        self.state == State::Over
    }
}

/// Writes what is held; true when nothing is left.
fn push(held: &mut Vec<u8>, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
    let mut start = 0;
    while start < held.len() {
        match write(&held[start..])? {
            0 => {
                held.drain(..start);
                return Ok(false);
            }
            n => start += n,
        }
    }
    *held = Vec::new();
    Ok(true)
}

/// The destination is gone, and the client still speaks. Closing a socket with unread input resets it, and a reset
/// destroys what is on its way to the client: end our side, then read on for a while.
fn part(mut client: &TcpStream) {
    let _ = client.shutdown(Shutdown::Write);
    let deadline = Instant::now() + LINGER;
    let mut scratch = vec![0; STEP];
    while Instant::now() < deadline {
        match client.read(&mut scratch) {
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

//! A WebSocket once it is open: bytes in both directions, not looked at.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;

use crate::sys::{self, Ready};
use crate::upstream::{Received, Wire};

/// One read.
const STEP: usize = 16 * 1024;

/// Bytes that went through a tunnel.
#[derive(Debug, Default)]
pub(super) struct Tunnelled {
    pub(super) to_destination: u64,
    pub(super) to_client: u64,
}

/// Carries bytes until both sides have ended. An end of one direction ends only that direction. Nothing is read
/// while what was read before waits to be written: memory is constant.
///
/// # Errors
///
/// One of the connections broke; both are over then.
pub(super) fn run(
    mut client: &TcpStream,
    ahead: Vec<u8>,
    wire: &mut Wire,
    carried: &mut Tunnelled,
) -> io::Result<()> {
    let mut buffer = [0; STEP];
    // What was read and not yet written, towards each side.
    let (mut outbound, mut inbound) = (ahead, Vec::new());
    let (mut client_ended, mut destination_ended) = (false, false);
    carried.to_destination += outbound.len() as u64;
    loop {
        // Client to destination.
        while !outbound.is_empty() {
            match wire.send(&outbound)? {
                0 => break,
                n => drop(outbound.drain(..n)),
            }
        }
        let sending = !wire.flush()? || !outbound.is_empty();
        // Destination to client.
        if inbound.is_empty() && !destination_ended {
            match wire.receive(&mut buffer)? {
                Received::Bytes(n) => {
                    carried.to_client += n as u64;
                    inbound.extend_from_slice(&buffer[..n]);
                }
                Received::End => {
                    destination_ended = true;
                    client.shutdown(Shutdown::Write)?;
                }
                Received::Nothing => {}
            }
        }
        if !inbound.is_empty() {
            match client.write(&inbound) {
                Ok(n) => drop(inbound.drain(..n)),
                Err(error) => pass_if_blocked(error)?,
            }
            if inbound.is_empty() {
                continue;
            }
        }
        if client_ended && destination_ended && !sending {
            return Ok(());
        }

        let from_client = if sending || client_ended { Ready::NOTHING } else { Ready::READ };
        let to_client = if inbound.is_empty() { Ready::NOTHING } else { Ready::WRITE };
        let to_destination = if sending { Ready::WRITE } else { Ready::NOTHING };
        let from_destination =
            if inbound.is_empty() && !destination_ended { Ready::READ } else { Ready::NOTHING };
        let [found, at_destination] = sys::wait(
            [
                (client.as_fd(), from_client.and(to_client)),
                (wire.socket().as_fd(), from_destination.and(to_destination)),
            ],
            None,
        )?;
        // Nothing is asked of a side that has ended, so a reset there shows only here.
        if client_ended && found.is_over() || destination_ended && at_destination.is_over() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if found.readable() && !sending && !client_ended {
            match client.read(&mut buffer) {
                Ok(0) => {
                    client_ended = true;
                    wire.end();
                }
                Ok(n) => {
                    carried.to_destination += n as u64;
                    outbound.extend_from_slice(&buffer[..n]);
                }
                Err(error) => pass_if_blocked(error)?,
            }
        }
    }
}

fn pass_if_blocked(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}

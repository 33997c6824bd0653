//! An open WebSocket: copies bytes in both directions, uninspected.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::net::buffers::{self, Buffer};
use crate::net::poll::{self, Ready};
use crate::net::{Received, Stream};

/// How long we read on from the client after the upstream has closed, so that it receives the last bytes: megabytes may be
/// in transit. Most clients close their side at once.
const LINGER: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what the upstream has sent before it left, as with every other response.
const CLIENT_PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Tunnelled {
    pub(super) to_upstream: u64,
    pub(super) to_client: u64,
}

/// Copies until both sides have closed or one is broken, which ends the tunnel like a close: both sides see it. The end of
/// one direction ends only that direction. Nothing is read while earlier bytes wait to be written: memory is constant, and
/// an idle tunnel holds no buffer.
pub(super) fn run(client: &mut Stream, upstream: &mut Stream, transferred: &mut Tunnelled) {
    let (up, down) = (Direction::default(), Direction::default());
    let mut tunnel = Tunnel {
        client,
        upstream,
        transferred,
        up,
        down,
        is_client_broken: false,
        client_patience: CLIENT_PATIENCE,
    };
    let _ = tunnel.run();
    let has_client_ended = tunnel.up.has_ended || tunnel.is_client_broken || tunnel.down.is_broken;
    if !has_client_ended {
        lingering_close(client);
    }
}

struct Tunnel<'a> {
    client: &'a mut Stream,
    upstream: &'a mut Stream,
    transferred: &'a mut Tunnelled,
    /// From client to upstream.
    up: Direction,
    /// From upstream to client.
    down: Direction,
    is_client_broken: bool,
    client_patience: Duration,
}

/// One direction. Its states: Open --the reader sees the end--> Ending --the writer has sent everything and its own end-->
/// Closed; a failed write closes it at once.
#[derive(Default)]
struct Direction {
    /// Bytes read and not yet written; empty as long as the writing side keeps up.
    buffer: Buffer,
    /// The unwritten part of `buffer`.
    range: Range<usize>,
    state: DirectionState,
    /// The reading side has reached its end.
    has_ended: bool,
    /// Writing has failed; what the other side sent before can still be read.
    is_broken: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum DirectionState {
    #[default]
    Open,
    /// The reading side has ended; what was read and the end are still to be written.
    Ending,
    /// The end was written, or writing has failed.
    Closed,
}

impl Tunnel<'_> {
    fn run(&mut self) -> io::Result<()> {
        loop {
            let up_waits = self.up.write_to(self.upstream);
            let down_waits = self.down.write_to(self.client);
            if self.up.state == DirectionState::Closed && self.down.state == DirectionState::Closed {
                return Ok(());
            }
            // The client takes nothing more, and the upstream does not take what the client had sent: neither direction can
            // make progress.
            if self.down.is_broken && up_waits {
                return Err(ErrorKind::ConnectionReset.into());
            }
            let from_client = self.up.state == DirectionState::Open && !up_waits;
            let from_upstream = self.down.state == DirectionState::Open && !down_waits;
            let buffered =
                [from_client && self.client.has_buffered(), from_upstream && self.upstream.has_buffered()];
            let wanted = [(from_client, down_waits), (from_upstream, up_waits)];
            let [client, upstream] = self.wait(wanted, buffered.contains(&true))?;
            if upstream.is_over() && !from_upstream && !up_waits {
                // It takes nothing more, but what it sent before can still be read, once the client has taken the rest.
                self.up.abandon();
                continue;
            }
            if from_client && (buffered[0] || client.readable()) {
                let received = self.up.read_from(self.client).inspect_err(|_| self.is_client_broken = true);
                self.transferred.to_upstream += received?;
            }
            if from_upstream && (buffered[1] || upstream.readable()) {
                self.transferred.to_client += self.down.read_from(self.upstream)?;
            }
        }
    }

    /// Waits until each side is ready for what `wanted` says: to be read, to be written. Returns at once if `is_buffered`.
    fn wait(&self, wanted: [(bool, bool); 2], is_buffered: bool) -> io::Result<[Ready; 2]> {
        let flags = wanted.map(|(read, write)| {
            let read = if read { Ready::READ } else { Ready::NOTHING };
            read.and(if write { Ready::WRITE } else { Ready::NOTHING })
        });
        let client = (self.client.socket().as_fd(), flags[0]);
        let upstream = (self.upstream.socket().as_fd(), flags[1]);
        // A side that is neither to be read nor written is still watched for a reset; but not once its end was written:
        // when it ends, too, poll reports that again and again, which would be a busy loop.
        let [idle_client, idle_upstream] = wanted.map(|(read, write)| !read && !write);
        let (ignore_client, ignore_upstream) = (
            idle_client && self.down.state == DirectionState::Closed,
            idle_upstream && self.up.state == DirectionState::Closed,
        );
        // Nobody else ends a tunnel whose upstream is broken and whose client takes nothing.
        let is_last = self.up.is_broken && wanted[0].1;
        let patience =
            if is_buffered { Some(Duration::ZERO) } else { is_last.then_some(self.client_patience) };
        let deadline = patience.map(|patience| Instant::now() + patience);
        let found = match (ignore_client, ignore_upstream) {
            (true, _) => [Ready::NOTHING, poll::wait([upstream], deadline)?[0]],
            (_, true) => [poll::wait([client], deadline)?[0], Ready::NOTHING],
            _ => poll::wait([client, upstream], deadline)?,
        };
        if !is_buffered && !found.iter().any(|found| found.any()) {
            return Err(ErrorKind::TimedOut.into());
        }
        if idle_client && found[0].is_over() {
            return Err(ErrorKind::ConnectionReset.into());
        }
        Ok(found)
    }
}

impl Direction {
    /// Reads what is available; the number of bytes.
    fn read_from(&mut self, from: &mut Stream) -> io::Result<u64> {
        let mut buffer = buffers::take();
        match from.receive(&mut buffer)? {
            Received::Bytes(count) => {
                (self.buffer, self.range) = (buffer, 0..count);
                return Ok(count as u64);
            }
            Received::Eof => (self.state, self.has_ended) = (DirectionState::Ending, true),
            Received::WouldBlock => {}
        }
        Ok(0)
    }

    /// Writes the buffer, and the end after the last of it; true while more is waiting.
    fn write_to(&mut self, to: &mut Stream) -> bool {
        if self.state == DirectionState::Closed {
            return false;
        }
        let written = self.write(to);
        match written {
            Ok(true) if self.state == DirectionState::Ending => self.state = DirectionState::Closed,
            Ok(_) => {}
            Err(_) => self.abandon(),
        }
        matches!(written, Ok(false))
    }

    /// Nothing more can be written.
    fn abandon(&mut self) {
        (self.buffer, self.range) = (Buffer::default(), 0..0);
        (self.state, self.is_broken) = (DirectionState::Closed, true);
    }

    /// True when everything was written.
    fn write(&mut self, to: &mut Stream) -> io::Result<bool> {
        while !self.range.is_empty() {
            match to.send(&self.buffer[self.range.clone()])? {
                0 => return Ok(false),
                count => self.range.start += count,
            }
        }
        self.buffer = Buffer::default();
        if self.state == DirectionState::Ending { to.shutdown_write() } else { to.flush() }
    }
}

/// The upstream has closed, and the client still sends. Closing a socket with unread input resets it, and a reset destroys
/// what is in transit to the client: closes our sending side, then reads on for a while.
fn lingering_close(client: &mut Stream) {
    let _ = client.shutdown_write();
    let deadline = Instant::now() + LINGER;
    let mut buffer = buffers::take();
    while Instant::now() < deadline {
        match client.receive(&mut buffer) {
            Ok(Received::Bytes(_)) => {}
            Ok(Received::WouldBlock) => {
                if poll::wait_one(client.socket(), Ready::READ, Some(deadline)).is_err() {
                    return;
                }
            }
            Ok(Received::Eof) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::net;

    /// The upstream has sent more than the client has room for, and resets its connection.
    #[test]
    fn a_client_that_takes_nothing_does_not_keep_a_tunnel_whose_upstream_is_gone() {
        let (mut client, far_client) = net::pair();
        let (mut upstream, mut far_upstream) = net::pair();
        client.socket().set_send_buffer_size(4096).unwrap();
        far_client.set_recv_buffer_size(4096).unwrap();
        far_upstream.set_nonblocking(true).unwrap();
        while far_upstream.write(&[b'x'; 4096]).is_ok() {}
        far_upstream.set_linger(Some(Duration::ZERO)).unwrap();
        drop(far_upstream);
        let mut transferred = Tunnelled::default();
        let mut tunnel = Tunnel {
            client: &mut client,
            upstream: &mut upstream,
            transferred: &mut transferred,
            up: Direction::default(),
            down: Direction::default(),
            is_client_broken: false,
            client_patience: Duration::from_millis(100),
        };
        assert_eq!(tunnel.run().unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(tunnel.up.is_broken && tunnel.transferred.to_client > 0);
        drop(far_client);
    }
}

//! Waiting for sockets: `poll(2)`, which std lacks, through rustix.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

/// What to wait for on a descriptor, and what was found. Errors and hang-ups are always found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready(PollFlags);

impl Ready {
    /// Bytes to read, or the end of them.
    pub const READ: Self = Self(PollFlags::IN);
    /// Room to write.
    pub const WRITE: Self = Self(PollFlags::OUT);
    /// Bytes to read or room to write.
    pub const READ_WRITE: Self = Self(PollFlags::IN.union(PollFlags::OUT));
    /// The peer has closed its side; unlike `READ`, unread bytes before that do not matter.
    pub const HANGUP: Self = Self(PollFlags::RDHUP);
    /// Nothing (the descriptor stays in the list, errors are still found).
    pub const NOTHING: Self = Self(PollFlags::empty());

    /// Something was found.
    pub fn any(self) -> bool {
        !self.0.is_empty()
    }

    /// A read will not block: bytes, the end of them, or an error.
    pub fn readable(self) -> bool {
        self.0.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
    }

    /// A write will not block: room, or an error.
    pub fn writable(self) -> bool {
        self.0.intersects(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
    }

    /// The peer has closed its side, or the connection is broken.
    pub fn hung_up(self) -> bool {
        self.0.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
    }

    /// The connection is over in both directions, or broken.
    pub fn is_over(self) -> bool {
        self.0.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
    }

    /// Both wishes.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0.union(other.0))
    }
}

/// Waits until one of the descriptors has what is asked of it, and says for each what was found; none has
/// anything when the deadline passed first. `poll(2)`, restarted after signals.
///
/// # Errors
///
/// As `poll(2)`, `EINTR` apart.
pub(crate) fn wait<const N: usize>(
    fds: [(BorrowedFd<'_>, Ready); N],
    deadline: Option<Instant>,
) -> io::Result<[Ready; N]> {
    let mut polled = fds.map(|(fd, wanted)| PollFd::from_borrowed_fd(fd, wanted.0));
    poll(&mut polled, deadline)?;
    Ok(std::array::from_fn(|i| Ready(polled[i].revents())))
}

fn poll(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        match rustix::event::poll(fds, left.map(timespec).as_ref()) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// [`wait`] for any number of descriptors.
///
/// # Errors
///
/// As [`wait`].
pub(crate) fn wait_many(
    fds: &[(BorrowedFd<'_>, Ready)],
    deadline: Option<Instant>,
) -> io::Result<Vec<Ready>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|(fd, w)| PollFd::from_borrowed_fd(*fd, w.0)).collect();
    poll(&mut polled, deadline)?;
    Ok(polled.iter().map(|fd| Ready(fd.revents())).collect())
}

/// `wait` for one descriptor.
///
/// # Errors
///
/// `TimedOut` when the deadline passed, else as `wait`.
pub fn wait_one(fd: &impl AsFd, wanted: Ready, deadline: Option<Instant>) -> io::Result<Ready> {
    let [found] = wait([(fd.as_fd(), wanted)], deadline)?;
    if found.any() { Ok(found) } else { Err(io::ErrorKind::TimedOut.into()) }
}

/// What is found right now, without waiting.
///
/// # Errors
///
/// As [`wait`].
pub(crate) fn peek(fd: &impl AsFd, wanted: Ready) -> io::Result<Ready> {
    wait([(fd.as_fd(), wanted)], Some(Instant::now())).map(|[found]| found)
}

/// Rounded up to whole milliseconds: a wait that returns just before its deadline would spin.
fn timespec(duration: Duration) -> Timespec {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    let millis = i64::try_from(millis).unwrap_or(i64::MAX / 1000);
    Timespec { tv_sec: millis / 1000, tv_nsec: (millis % 1000) * 1_000_000 }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn waits_for_bytes_and_for_hang_up() {
        let (a, mut b) = UnixStream::pair().unwrap();
        assert!(!peek(&a, Ready::READ).unwrap().any());
        let timed_out = wait_one(&a, Ready::READ, Some(Instant::now())).unwrap_err();
        assert_eq!(timed_out.kind(), io::ErrorKind::TimedOut);
        b.write_all(b"x").unwrap();
        assert!(peek(&a, Ready::READ).unwrap().readable());
        assert!(!peek(&a, Ready::HANGUP).unwrap().any());
        drop(b);
        assert!(wait_one(&a, Ready::HANGUP, None).unwrap().hung_up());
    }
}

//! Standard error may be a pipe that is not read. Requests must not wait for their log: lines that do not fit are dropped,
//! and the next line that fits is preceded by their number. Other processes may hold the same pipe, so that it is not made
//! non-blocking: before each write poll says whether the pipe has room, and a write is no larger than what that guarantees.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::net::poll::{self, Ready};

/// A slow reader is waited for, and every thread that logs waits meanwhile: at most this long at once, and over time no
/// more than one part in [`WAIT_SHARE`], so that requests do not slow down to the speed of the reader.
const MAX_WAIT: Duration = Duration::from_millis(100);
const WAIT_SHARE: u32 = 10;
/// What a pipe that is ready takes without blocking: `PIPE_BUF`.
const PIPE_BUF_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct Sink {
    /// How long may be waited, as of `waited_at`.
    wait_budget: Duration,
    waited_at: Option<Instant>,
    /// The last line was written in part.
    partial: bool,
    /// Lines dropped since one was written.
    dropped: u64,
}

impl Sink {
    pub(super) const fn new() -> Self {
        Self { wait_budget: MAX_WAIT, waited_at: None, partial: false, dropped: 0 }
    }

    /// Writes a line with its line end, if need be after a notice of the lines dropped before it. False when it is dropped,
    /// too.
    pub(super) fn write(
        &mut self,
        out: &mut (impl Write + AsFd),
        line: &str,
        dropped_notice: impl FnOnce(u64) -> String,
    ) -> bool {
        let mut written = Ok(());
        if self.dropped > 0 {
            let dropped_notice = dropped_notice(self.dropped);
            if self.partial {
                written = self.write_chunks(out, "\n");
                self.partial = written.is_err();
            }
            written = written.and_then(|()| self.write_chunks(out, &dropped_notice));
        }
        if written.is_ok() {
            self.dropped = 0;
            written = self.write_chunks(out, line);
        }
        if written.is_err() {
            self.dropped += 1;
        }
        written.is_ok()
    }

    fn write_chunks(&mut self, out: &mut (impl Write + AsFd), text: &str) -> io::Result<()> {
        for (i, piece) in text.as_bytes().chunks(PIPE_BUF_BYTES).enumerate() {
            if let Err(error) = self.wait(out) {
                self.partial |= i > 0;
                return Err(error);
            }
            // A closed standard error must not end a request.
            let _ = out.write_all(piece);
        }
        Ok(())
    }

    /// Waits until the pipe has room; not while lines are being dropped, because then the reader has stopped reading.
    fn wait(&mut self, out: &impl AsFd) -> io::Result<()> {
        let now = Instant::now();
        if self.dropped > 0 {
            return poll::wait_one(out, Ready::WRITE, Some(now)).map(drop);
        }
        let wait_budget = self.waited_at.map_or(self.wait_budget, |then| grown(self.wait_budget, now - then));
        let ready = poll::wait_one(out, Ready::WRITE, Some(now + wait_budget));
        let end = Instant::now();
        (self.wait_budget, self.waited_at) = (wait_budget.saturating_sub(end - now), Some(end));
        ready.map(drop)
    }
}

/// The budget when so much was left and it has not been used since.
fn grown(left: Duration, since: Duration) -> Duration {
    left.saturating_add(since / WAIT_SHARE).min(MAX_WAIT)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_pipe_that_is_not_read_costs_lines_and_no_time() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let mut sink = Sink { wait_budget: Duration::from_millis(10), ..Sink::new() };
        let dropped_notice = |dropped| format!("{dropped} missing\n");
        let line = format!("{}\n", "x".repeat(2000));
        let mut written = 0;
        while sink.write(&mut writer, &line, dropped_notice) {
            written += 1;
            assert!(written < 1_000_000, "the pipe is never full");
        }
        // Without waiting like the first one.
        for _ in 0..1000 {
            assert!(!sink.write(&mut writer, &line, dropped_notice));
        }
        let mut room = vec![0; written * line.len()];
        reader.read_exact(&mut room).unwrap();
        assert!(sink.write(&mut writer, "last\n", dropped_notice));
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "1001 missing\nlast\n");
    }

    #[test]
    fn patience_is_spent_and_grows_again() {
        let (_reader, mut writer) = io::pipe().unwrap();
        let wait_budget = Duration::from_millis(5);
        let mut sink = Sink { wait_budget, ..Sink::new() };
        while sink.write(&mut writer, &"x".repeat(PIPE_BUF_BYTES), |_| String::new()) {}
        assert!(sink.wait_budget < wait_budget, "{:?} are left", sink.wait_budget);

        assert_eq!(grown(Duration::ZERO, Duration::from_millis(40)), Duration::from_millis(4));
        assert_eq!(grown(Duration::from_millis(90), Duration::from_millis(40)), Duration::from_millis(94));
        assert_eq!(grown(Duration::from_millis(90), Duration::from_secs(3600)), MAX_WAIT);
    }

    #[test]
    fn a_line_that_fits_is_written_whole_or_not_at_all() {
        let line = format!("{}\n", "x".repeat(1999));
        let fill = |out: File| {
            let (mut out, mut sink) = (out, Sink { wait_budget: Duration::ZERO, ..Sink::new() });
            let mut written = 0;
            while sink.write(&mut out, &line, |_| String::new()) {
                written += 1;
                assert!(written < 1_000_000, "it is never full");
            }
            written
        };
        let (mut pipe, writer) = io::pipe().unwrap();
        let (mut socket, near) = UnixStream::pair().unwrap();
        let ends: [(OwnedFd, &mut dyn io::Read); 2] =
            [(writer.into(), &mut pipe), (near.into(), &mut socket)];
        for (writer, reader) in ends {
            let written = fill(writer.into());
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            assert_eq!(all, line.repeat(written));
        }
    }

    #[test]
    fn a_partial_line_is_ended_before_the_next() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let mut sink = Sink { wait_budget: Duration::from_millis(10), ..Sink::new() };
        let long = format!("{}\n", "x".repeat(4 << 20));
        assert!(!sink.write(&mut writer, &long, |_| String::new()));
        let reading = std::thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            all
        });
        while !sink.write(&mut writer, "last\n", |dropped| format!("{dropped} missing\n")) {}
        drop(writer);
        let all = reading.join().unwrap();
        let mut lines = all.lines();
        assert!(lines.next().unwrap().bytes().all(|byte| byte == b'x'));
        // The reader may be slow enough for more than one notice, but no line is empty.
        let rest: Vec<&str> = lines.collect();
        let (last, notices) = rest.split_last().unwrap();
        assert_eq!(*last, "last");
        assert!(!notices.is_empty() && notices.iter().all(|line| line.ends_with(" missing")), "{notices:?}");
    }

    #[test]
    fn a_reader_that_is_gone_is_no_reason_to_wait() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        assert!(Sink::new().write(&mut writer, "last\n", |_| String::new()));
    }
}

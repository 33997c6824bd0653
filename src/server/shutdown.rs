//! A flag that also wakes threads that wait in `poll`.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Triggered once, for good.
#[derive(Debug)]
pub struct Shutdown {
    is_triggered: AtomicBool,
    /// Becomes readable, for good, when the other end is dropped.
    reader: PipeReader,
    writer: Mutex<Option<PipeWriter>>,
}

impl Shutdown {
    /// Not triggered yet.
    ///
    /// # Errors
    ///
    /// No descriptors are left.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { is_triggered: AtomicBool::new(false), reader, writer: Mutex::new(Some(writer)) })
    }

    pub fn trigger(&self) {
        self.is_triggered.store(true, Ordering::SeqCst);
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub fn is_triggered(&self) -> bool {
        self.is_triggered.load(Ordering::SeqCst)
    }
}

impl AsFd for Shutdown {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::poll::{Ready, peek};

    #[test]
    fn a_trigger_wakes_a_waiting_thread() {
        let shutdown = Shutdown::new().unwrap();
        assert!(!peek(&shutdown, Ready::READ).unwrap().any());
        shutdown.trigger();
        assert!(shutdown.is_triggered());
        assert!(peek(&shutdown, Ready::READ).unwrap().readable());
    }
}

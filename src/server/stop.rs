//! The word to stop, which reaches threads that wait in `poll`, too.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Said once, heard by everybody from then on.
#[derive(Debug)]
pub struct Stop {
    said: AtomicBool,
    /// Becomes readable, for good, when the other end is dropped.
    hear: PipeReader,
    say: Mutex<Option<PipeWriter>>,
}

impl Stop {
    /// Not yet said.
    ///
    /// # Errors
    ///
    /// No descriptors are left.
    pub fn new() -> io::Result<Self> {
        let (hear, say) = io::pipe()?;
        Ok(Self { said: AtomicBool::new(false), hear, say: Mutex::new(Some(say)) })
    }

    /// Says it.
    pub fn say(&self) {
        self.said.store(true, Ordering::SeqCst);
        self.say.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether it was said.
    pub fn said(&self) -> bool {
        self.said.load(Ordering::SeqCst)
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hear.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::poll::{Ready, peek};

    #[test]
    fn a_waiting_thread_hears_it() {
        let stop = Stop::new().unwrap();
        assert!(!peek(&stop, Ready::READ).unwrap().any());
        stop.say();
        assert!(stop.said());
        assert!(peek(&stop, Ready::READ).unwrap().readable());
    }
}

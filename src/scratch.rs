//! Buffers that go from one use to the next, whatever the thread, so that a request costs no allocation of that size and
//! no zeroing. Nobody holds one while they wait: that many threads are open costs none, that many run does.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// One read, one write: what a TLS record can carry.
pub const STEP: usize = 16 * 1024;
/// A TLS record with its header and all that may be around what it carries (RFC 5246 section 6.2.3).
pub const RECORD: usize = STEP + 2048 + 5;
/// Stocks, each for some of the threads, so that many processors do not queue for one lock.
const STOCKS: usize = 8;
/// Buffers of a stock: what a thread uses at once (what its client sends, what the destination sends, what goes out), and
/// one more. Half a megabyte in all.
const KEPT: usize = 4;

static SPARE: [Mutex<Vec<Vec<u8>>>; STOCKS] = [const { Mutex::new(Vec::new()) }; STOCKS];
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STOCK: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// A buffer of [`STEP`] bytes with anything in them; it can be resized to [`RECORD`] where it lies.
pub fn take() -> Vec<u8> {
    with_stock(Vec::pop).unwrap_or_else(|| {
        let mut buffer = Vec::with_capacity(RECORD);
        buffer.resize(STEP, 0);
        buffer
    })
}

/// Gives a buffer back; one that has outgrown its place is freed.
pub fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() != RECORD {
        return;
    }
    buffer.resize(STEP, 0);
    // Freed with the lock released, if there are enough.
    drop(with_stock(|spare| {
        if spare.len() == KEPT {
            return Some(buffer);
        }
        spare.push(buffer);
        None
    }));
}

fn with_stock<T>(work: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> T {
    if STOCK.get() == usize::MAX {
        STOCK.set(THREADS.fetch_add(1, Ordering::Relaxed) % STOCKS);
    }
    work(&mut SPARE[STOCK.get()].lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_as_they_were_and_grown_ones_do_not() {
        for size in [RECORD, RECORD + 1] {
            let mut buffer = take();
            buffer.resize(size, 9);
            give(buffer);
            let again = take();
            assert_eq!((again.len(), again.capacity()), (STEP, RECORD));
        }
        give(Vec::new());
        let many: Vec<_> = (0..=KEPT).map(|_| take()).collect();
        many.into_iter().for_each(give);
        assert!(with_stock(|spare| spare.len()) <= KEPT);
    }
}

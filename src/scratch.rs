//! Buffers that a thread keeps from one request to the next, so that a request costs no allocation of that size
//! and no zeroing.

use std::cell::RefCell;

/// One read, one write: a TLS record.
pub const STEP: usize = 16 * 1024;
/// A thread uses no more than this at once: what its client sends, what the destination sends, what goes out.
const KEPT: usize = 3;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`STEP`] bytes with anything in them.
pub fn take() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; STEP])
}

/// Gives a buffer back; one that has grown is freed.
pub fn give(buffer: Vec<u8>) {
    SPARE.with_borrow_mut(|spare| {
        if buffer.len() == STEP && spare.len() < KEPT {
            spare.push(buffer);
        }
    });
}

/// Frees what this thread keeps: it may be idle for long.
pub fn clear() {
    SPARE.set(Vec::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_grown_ones_do_not() {
        clear();
        let mut buffer = take();
        buffer[0] = 7;
        give(buffer);
        assert_eq!(take()[0], 7);
        give(vec![9; STEP + 1]);
        assert_eq!(take(), vec![0; STEP]);
    }
}

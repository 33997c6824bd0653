//! Buffers that go from one use to the next, whatever the thread, so that a request costs no allocation of that size and
//! no zeroing. Nobody holds one while they wait: that many threads are open costs none, that many run does.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

/// One read, one write: what a TLS record can carry.
pub(crate) const SMALL: usize = 16 * 1024;
/// A TLS record with its header and all that may be around what it carries (RFC 5246 section 6.2.3).
pub(crate) const TLS_RECORD: usize = SMALL + 2048 + 5;
/// One read, one write of a body that flows: a quarter of the system calls and wake-ups, at both ends.
pub(crate) const LARGE: usize = 4 * SMALL;
/// Large buffers in use at a time, 2.3 MiB in all: however many connections wait with one, for a slow client say, the memory
/// is not filled by them.
const MAX_LARGE: usize = 32;
/// Free lists of small buffers, each for some of the threads, so that many processors do not queue for one lock: one for each
/// processor, but no more than this.
const SHARDS: usize = 8;
/// Buffers that each of that many free lists keeps, with fewer lists as many in all, and of the large: what a thread uses at
/// once (what its client sends, what the upstream sends, what goes out), and one more. 0.9 MB in all: one that is not there
/// costs a request dearly, as musl maps and unmaps its memory with every other allocation waiting.
const SPARES: usize = 4;

type FreeList = Mutex<Vec<Vec<u8>>>;

static FREE_SMALL: [FreeList; SHARDS] = [const { Mutex::new(Vec::new()) }; SHARDS];
static FREE_LARGE: FreeList = Mutex::new(Vec::new());
static LARGE_IN_USE: AtomicUsize = AtomicUsize::new(0);
static THREADS: AtomicUsize = AtomicUsize::new(0);
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from).min(SHARDS));

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// A buffer, or none yet. Dropped, it is there for the next use, unless it has outgrown its place.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    large: bool,
}

/// A buffer of [`SMALL`] bytes with anything in them; it can be resized to [`TLS_RECORD`] where it lies.
pub(crate) fn take() -> Buffer {
    let free = with(free_list(), Vec::pop);
    let bytes = free.unwrap_or_else(|| {
        let mut bytes = Vec::with_capacity(TLS_RECORD);
        bytes.resize(SMALL, 0);
        bytes
    });
    Buffer { bytes, large: false }
}

/// A buffer of [`LARGE`] bytes, which can grow by what is around four records; none when enough are in use.
pub(crate) fn take_large() -> Option<Buffer> {
    let more = |large| (large < MAX_LARGE).then_some(large + 1);
    LARGE_IN_USE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
    let mut buffer = Buffer { bytes: Vec::new(), large: true };
    if let Some(free) = with(&FREE_LARGE, Vec::pop) {
        buffer.bytes = free;
    } else {
        buffer.bytes.try_reserve_exact(4 * TLS_RECORD).ok()?;
        buffer.bytes.resize(LARGE, 0);
    }
    Some(buffer)
}

/// A large buffer for what `flows`, if there is one, else a small one.
pub(crate) fn take_for(flows: bool) -> Buffer {
    flows.then(take_large).flatten().unwrap_or_else(take)
}

impl Buffer {
    /// Moves to a large buffer, if it is none and there is one, with the bytes that are `kept`: true when they begin it now.
    pub(crate) fn enlarge(&mut self, kept: Range<usize>) -> bool {
        if self.large {
            return false;
        }
        let Some(mut large) = take_large() else { return false };
        large[..kept.len()].copy_from_slice(&self.bytes[kept]);
        *self = large;
        true
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if self.large {
            LARGE_IN_USE.fetch_sub(1, Ordering::Relaxed);
        }
        let (free, most, length, capacity) = if self.large {
            (&FREE_LARGE, SPARES, LARGE, 4 * TLS_RECORD)
        } else {
            (free_list(), SHARDS * SPARES / *PROCESSORS, SMALL, TLS_RECORD)
        };
        if bytes.capacity() != capacity {
            return;
        }
        bytes.resize(length, 0);
        // Freed with the lock released, if there are enough.
        drop(with(free, |free| {
            if free.len() >= most {
                return Some(bytes);
            }
            free.push(bytes);
            None
        }));
    }
}

/// Another's bytes, to be held like a buffer.
impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, large: false }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// Not what is in it: that may be a secret.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({})", self.bytes.len())
    }
}

/// This thread's free_list.
fn free_list() -> &'static FreeList {
    if SHARD.get() == usize::MAX {
        SHARD.set(THREADS.fetch_add(1, Ordering::Relaxed) % *PROCESSORS);
    }
    &FREE_SMALL[SHARD.get()]
}

fn with<T>(list: &FreeList, work: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> T {
    work(&mut list.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_as_they_were_and_grown_ones_do_not() {
        for size in [TLS_RECORD, TLS_RECORD + 1] {
            let mut buffer = take();
            buffer.resize(size, 9);
            drop(buffer);
            let again = take();
            assert_eq!((again.len(), again.capacity()), (SMALL, TLS_RECORD));
        }
        drop(Buffer::default());
        let many: Vec<_> = (0..=SHARDS * SPARES).map(|_| take()).collect();
        drop(many);
        assert!(with(free_list(), |free| free.len()) <= SHARDS * SPARES / *PROCESSORS);
    }

    /// Other tests take some meanwhile, but only one or two.
    #[test]
    fn large_buffers_are_so_many() {
        for size in [LARGE, 4 * TLS_RECORD, 4 * TLS_RECORD + 1] {
            let mut all: Vec<_> = std::iter::from_fn(take_large).take(MAX_LARGE + 1).collect();
            assert!((MAX_LARGE / 2..=MAX_LARGE).contains(&all.len()), "{}", all.len());
            for buffer in &mut all {
                assert_eq!((buffer.len(), buffer.capacity()), (LARGE, 4 * TLS_RECORD));
                buffer.resize(size, 9);
            }
            assert_eq!(take_for(true).len(), SMALL);
        }
        assert_eq!((take_for(true).len(), take_for(false).len()), (LARGE, SMALL));

        let mut buffer = take();
        buffer[7..10].copy_from_slice(b"abc");
        assert!(buffer.enlarge(7..10) && buffer.len() == LARGE && buffer.starts_with(b"abc"));
        assert!(!buffer.enlarge(7..10) && buffer.starts_with(b"abc"), "it was large already");
    }
}

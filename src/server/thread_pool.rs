//! Threads that serve connections, one each: started when needed, ended when idle.

use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// Deep enough for a TLS handshake with a long certificate chain, in a debug build, too.
const STACK_BYTES: usize = 512 * 1024;
/// An idle thread ends after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(8);

/// What a job may need besides its stack, and what the rest of the program may. A failed allocation aborts the process, so
/// no thread is started that could need the last of the memory.
const MEMORY_PER_JOB: usize = 256 * 1024;
const MEMORY_RESERVE: usize = 8 << 20;

/// One connection.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Clones share the pool.
#[derive(Clone)]
pub(super) struct ThreadPool(Arc<PoolShared>);

struct PoolShared {
    name: &'static str,
    state: Mutex<PoolState>,
    idle_cv: Condvar,
}

#[derive(Default)]
struct PoolState {
    /// Idle threads, each with its channel. The last one that became idle is the first to work again: used in turns, few
    /// connections would keep alive all the threads that a peak has left.
    idle: Vec<(ThreadId, SyncSender<Job>)>,
    busy: usize,
    /// Threads whose job is about to end so that others find room.
    leaving: HashSet<ThreadId>,
    /// A thread waits for `busy` to fall.
    is_watched: bool,
    panics: u64,
}

impl ThreadPool {
    pub(super) fn new(name: &'static str) -> Self {
        Self(Arc::new(PoolShared { name, state: Mutex::default(), idle_cv: Condvar::new() }))
    }

    /// Jobs running.
    pub(super) fn busy(&self) -> usize {
        self.lock().busy
    }

    /// Whether the job on this thread has to end so that others find room: more than `max_staying` jobs would stay. From then on it
    /// counts as leaving until it has ended; otherwise all would leave when one is too many.
    pub(super) fn must_leave(&self, max_staying: usize) -> bool {
        let mut state = self.lock();
        let is_needed = state.busy - state.leaving.len() > max_staying;
        if is_needed {
            state.leaving.insert(std::thread::current().id());
        }
        is_needed
    }

    /// Jobs that ended in a panic.
    pub(super) fn panics(&self) -> u64 {
        self.lock().panics
    }

    /// Runs a job on an idle thread, or on a new one.
    ///
    /// # Errors
    ///
    /// No thread is idle, and none can be started or there is too little memory for one more; the job is dropped.
    pub(super) fn run(&self, job: Job) -> io::Result<()> {
        let mut state = self.lock();
        state.busy += 1;
        let (idle, busy) = (state.idle.pop(), state.busy);
        drop(state);
        if let Some((_, sender)) = idle {
            // It waits for this job; the channel has room for one.
            let _ = sender.send(job);
            return Ok(());
        }
        let pool = self.clone();
        let thread = std::thread::Builder::new().name(self.0.name.into()).stack_size(STACK_BYTES);
        let started = has_memory(busy).and_then(|()| thread.spawn(move || pool.work(job)));
        started.map(drop).inspect_err(|_| self.done())
    }

    /// Waits until no job is left; false when the deadline passed first.
    pub(super) fn wait_idle(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        while state.busy > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.idle_cv.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits until fewer jobs than this are left.
    #[cfg(feature = "tiny_http")]
    pub(super) fn wait_below(&self, limit: usize) {
        let mut state = self.lock();
        state.is_watched = true;
        while state.busy >= limit {
            state = self.0.idle_cv.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_watched = false;
    }

    fn work(&self, first: Job) {
        let (sender, jobs) = sync_channel(1);
        let mut next = Some(first);
        while let Some(job) = next {
            // A panic ends one connection and no other.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                self.lock().panics += 1;
            }
            self.done();
            next = self.next(&sender, &jobs);
        }
    }

    fn next(&self, sender: &SyncSender<Job>, jobs: &Receiver<Job>) -> Option<Job> {
        let me = std::thread::current().id();
        self.lock().idle.push((me, sender.clone()));
        if let Ok(job) = jobs.recv_timeout(IDLE_TIMEOUT) {
            return Some(job);
        }
        let mut state = self.lock();
        if let Some(i) = state.idle.iter().position(|(thread, _)| *thread == me) {
            state.idle.remove(i);
            return None;
        }
        drop(state);
        // `run` has taken this thread off the list meanwhile: the job is on its way.
        jobs.recv().ok()
    }

    fn done(&self) {
        let mut state = self.lock();
        state.busy -= 1;
        state.leaving.remove(&std::thread::current().id());
        if state.busy == 0 || state.is_watched {
            self.0.idle_cv.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the system would give the memory that this many jobs may need. It is reserved and given back, without touching a
/// page.
fn has_memory(jobs: usize) -> io::Result<()> {
    let mut need = Vec::<u8>::new();
    need.try_reserve_exact(MEMORY_RESERVE.saturating_add(jobs.saturating_mul(MEMORY_PER_JOB)))?;
    // Or the compiler sees that it is unused and removes it.
    std::hint::black_box(&need);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_panic_ends_one_job_only() {
        let pool = ThreadPool::new("test");
        pool.run(Box::new(|| panic!("expected in this test"))).unwrap();
        let (sender, receiver) = mpsc::channel();
        pool.run(Box::new(move || sender.send(7).unwrap())).unwrap();
        assert_eq!(receiver.recv().unwrap(), 7);
        assert!(pool.wait_idle(Instant::now() + Duration::from_secs(10)));
        assert_eq!(pool.panics(), 1);
    }

    #[test]
    fn no_more_leave_than_have_to() {
        let pool = ThreadPool::new("test");
        let (sender, left) = mpsc::channel();
        let everyone = Arc::new(std::sync::Barrier::new(10));
        for _ in 0..10 {
            let (pool_of_job, sender, everyone) = (pool.clone(), sender.clone(), Arc::clone(&everyone));
            let job = move || {
                everyone.wait();
                // Ten are there where seven may stay. Who leaves is gone before others ask again.
                let leaves = pool_of_job.must_leave(7);
                everyone.wait();
                sender.send(leaves || pool_of_job.must_leave(7)).unwrap();
            };
            pool.run(Box::new(job)).unwrap();
        }
        assert_eq!(left.iter().take(10).filter(|leaves| *leaves).count(), 3);
        assert!(pool.wait_idle(Instant::now() + Duration::from_secs(10)));
        assert!(pool.lock().leaving.is_empty());
    }

    #[test]
    fn memory_that_is_not_to_be_had_is_an_error_and_not_the_end() {
        assert!(has_memory(1).is_ok());
        assert_eq!(has_memory(usize::MAX).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn the_last_idle_thread_works_first_so_that_the_others_can_end() {
        let pool = ThreadPool::new("test");
        let idle = |count| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while pool.lock().idle.len() != count {
                assert!(Instant::now() < deadline, "not {count} idle threads");
                std::thread::yield_now();
            }
        };
        let (sender, receiver) = mpsc::channel();
        let run = |release: Receiver<()>| {
            let sender = sender.clone();
            pool.run(Box::new(move || {
                let _ = release.recv();
                sender.send(std::thread::current().id()).unwrap();
            }))
            .unwrap();
        };
        let releases = [(); 4].map(|()| {
            let (release, blocked) = mpsc::channel();
            run(blocked);
            release
        });
        let mut last = None;
        for (i, release) in releases.into_iter().enumerate() {
            drop(release);
            last = Some(receiver.recv().unwrap());
            idle(i + 1);
        }
        for _ in 0..20 {
            run(mpsc::channel().1);
            assert_eq!(Some(receiver.recv().unwrap()), last);
            idle(4);
        }
    }

    #[test]
    fn jobs_that_block_do_not_hold_up_others() {
        let pool = ThreadPool::new("test");
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = Arc::new(Mutex::new(blocked));
        let (sender, receiver) = mpsc::channel();
        for i in 0..20 {
            let (sender, blocked) = (sender.clone(), Arc::clone(&blocked));
            pool.run(Box::new(move || {
                sender.send(i).unwrap();
                let _ = blocked.lock().map(|b| b.recv());
            }))
            .unwrap();
        }
        assert_eq!(receiver.iter().take(20).count(), 20);
        assert_eq!(pool.busy(), 20);
        drop(release);
        assert!(pool.wait_idle(Instant::now() + Duration::from_secs(10)));
    }
}

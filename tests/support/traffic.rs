//! An application that goes on asking while a test does something to the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::api::{MODELS, chat};
use crate::sim::wait_for;
use crate::support::client::Client;
use crate::support::program::Proxy;

/// Requests at a steady rate, over kept connections.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    /// In microseconds.
    slowest: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Traffic {
    /// `threads` clients that each begin a request every `pause`.
    pub fn start(proxy: &Proxy, threads: u32, pause: Duration) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let slowest = Arc::new(AtomicU64::new(0));
        let client = |number: u32| {
            let (stop, served, mut client) = (stop.clone(), served.clone(), proxy.client());
            let slowest = slowest.clone();
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                // Not all at once.
                let mut next = Instant::now() + pause * number / threads;
                while !stop.load(Ordering::SeqCst) {
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                    next += pause;
                    let asked = Instant::now();
                    let failure = ask(&mut client, served.load(Ordering::SeqCst));
                    let took = u64::try_from(asked.elapsed().as_micros()).unwrap();
                    slowest.fetch_max(took, Ordering::SeqCst);
                    match failure {
                        None => drop(served.fetch_add(1, Ordering::SeqCst)),
                        Some(failure) => failed.push(failure),
                    }
                }
                failed
            })
        };
        let threads = (0..threads).map(client).collect();
        Self { stop, served, slowest, threads }
    }

    /// How many requests got 200 so far.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::SeqCst)
    }

    /// The longest that a request took so far.
    pub fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest.load(Ordering::SeqCst))
    }

    /// Waits until this many more requests got 200.
    #[track_caller]
    pub fn flows(&self, count: u64) {
        let enough = self.served() + count;
        wait_for("requests to be served", || self.served() >= enough);
    }

    /// Ends it: how many requests were served, and what the others got.
    pub fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let failed = self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (self.served.load(Ordering::SeqCst), failed)
    }

    /// Ends it and fails if any request did.
    #[track_caller]
    pub fn end_without_failure(self) -> u64 {
        let (served, failed) = self.end();
        assert!(failed.is_empty(), "{} requests failed, {served} did not: {failed:#?}", failed.len());
        assert!(served > 0, "nothing was asked");
        served
    }
}

/// What went wrong, if anything.
fn ask(client: &mut Client, number: u64) -> Option<String> {
    let response = if number.is_multiple_of(2) { client.get(MODELS) } else { chat(client) };
    let good = response.status == 200 && response.fault.is_none();
    (!good).then(|| format!("{} {:?} {}", response.status, response.fault, response.text()))
}

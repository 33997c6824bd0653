//! The real thread, in real time, around the steps that the other tests take by hand.

use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

use super::*;
use crate::token::RefresherState;

fn spawned(bench: &Bench) -> JoinHandle<()> {
    let (source, endpoint) = bench.parts();
    Refresher::new(Arc::clone(&bench.store), source, endpoint).spawn().unwrap()
}

#[test]
fn the_thread_serves_waiters_and_stops_when_told() {
    let bench = Bench::new();
    bench.script.then(granted("first", 3600));
    let thread = spawned(&bench);
    assert_eq!(bench.store.obtain(secs(5)).unwrap().bearer(), "Bearer first");
    assert!(bench.store.status().ready());

    // Asleep until a look or its time has come; woken by a reject.
    thread::sleep(Duration::from_millis(100));
    bench.advance(61);
    bench.script.then(granted("second", 3600));
    let first = bench.store.usable().unwrap();
    let asked = Instant::now();
    assert!(bench.store.reject(&first));
    assert_eq!(bench.store.newer_than(&first, secs(5)).unwrap().bearer(), "Bearer second");
    assert!(asked.elapsed() < secs(5));

    // Woken by a request after a suspension.
    bench.script.then(granted("third", 3600));
    thread::sleep(Duration::from_millis(100));
    bench.advance(7200);
    assert_eq!(bench.store.obtain(secs(5)).unwrap().bearer(), "Bearer third");
    assert!(asked.elapsed() < secs(5));

    bench.store.stop();
    thread.join().unwrap();
    assert_eq!(bench.state(), RefresherState::Stopped);
    assert!(!bench.store.status().ready() && !bench.store.died());
}

#[test]
fn the_death_of_the_thread_ends_readiness() {
    let bench = Bench::new();
    bench.script.then(granted("first", 3600));
    let (source, endpoint) = bench.parts();
    let mut refresher = Refresher::new(Arc::clone(&bench.store), source, endpoint);
    // The one thing of ours that a step calls outside of its net.
    refresher.jitter = || panic!("on purpose, by a test");
    assert!(refresher.spawn().unwrap().join().is_err());
    assert!(bench.store.died() && !bench.store.status().ready());
    let asked = Instant::now();
    let unavailable = bench.store.obtain(secs(5)).unwrap_err();
    assert_eq!(unavailable.reason, "the token refresher has ended");
    assert!(asked.elapsed() < secs(1), "nothing to wait for");
}

#[test]
fn readers_never_see_an_empty_or_mixed_token() {
    let mut t = Stepped::holding("aaaaaaaa", 3600);
    let store = Arc::clone(&t.bench.store);
    let stop = Arc::new(AtomicBool::new(false));
    let start = Arc::new(Barrier::new(9));
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (store, stop, start) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                loop {
                    let done = stop.load(Ordering::SeqCst);
                    let token = store.usable().expect("never empty");
                    let text = token.bearer().to_str().unwrap().strip_prefix("Bearer ").unwrap();
                    assert!(["aaaaaaaa", "bbbbbbbb"].contains(&text), "{text}");
                    if done {
                        return;
                    }
                }
            })
        })
        .collect();
    start.wait();
    for round in 0..200 {
        match round % 4 {
            0 => t.bench.script.then(down),
            1 => t.bench.script.then(granted("bbbbbbbb", 3600)),
            2 => t.bench.script.then(refused),
            _ => t.bench.script.then(granted("aaaaaaaa", 3600)),
        }
        t.bench.store.plan(t.bench.store.clock().now());
        t.refresher.step();
    }
    stop.store(true, Ordering::SeqCst);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

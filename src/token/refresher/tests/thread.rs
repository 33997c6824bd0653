//! The real thread, in real time, around the steps that the other tests take one by one.

use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

use super::*;
use crate::token::status::RefresherState;

fn spawned(fixture: &Fixture) -> JoinHandle<()> {
    Refresher::new(Arc::clone(&fixture.store), fixture.credential()).spawn().unwrap()
}

#[test]
fn the_thread_serves_waiters_and_stops_on_shutdown() {
    let fixture = Fixture::new();
    fixture.script.then(granted("first", 3600));
    let thread = spawned(&fixture);
    assert_eq!(fixture.store.obtain(secs(5)).unwrap().bearer(), "Bearer first");
    assert!(fixture.store.status().ready());

    // Asleep until the next check of the file or the next attempt; woken by a reject.
    thread::sleep(Duration::from_millis(100));
    fixture.advance(61);
    fixture.script.then(granted("second", 3600));
    let first = fixture.store.usable().unwrap();
    let started = Instant::now();
    assert!(fixture.store.reject(&first));
    assert_eq!(fixture.store.newer_than(&first, secs(5)).unwrap().bearer(), "Bearer second");
    assert!(started.elapsed() < secs(5));

    // Woken by a request after a suspension.
    fixture.script.then(granted("third", 3600));
    thread::sleep(Duration::from_millis(100));
    fixture.advance(7200);
    assert_eq!(fixture.store.obtain(secs(5)).unwrap().bearer(), "Bearer third");
    assert!(started.elapsed() < secs(5));

    fixture.store.stop();
    thread.join().unwrap();
    assert_eq!(fixture.state(), RefresherState::Stopped);
    assert!(!fixture.store.status().ready() && !fixture.store.has_died());
}

#[test]
fn the_death_of_the_thread_ends_readiness() {
    let fixture = Fixture::new();
    fixture.script.then(granted("first", 3600));
    let mut refresher = Refresher::new(Arc::clone(&fixture.store), fixture.credential());
    // The one thing of ours that a step calls outside of its net.
    refresher.jitter = || panic!("on purpose, by a test");
    assert!(refresher.spawn().unwrap().join().is_err());
    assert!(fixture.store.has_died() && !fixture.store.status().ready());
    let started = Instant::now();
    let unavailable = fixture.store.obtain(secs(5)).unwrap_err();
    assert_eq!(unavailable.reason, "the token refresher has stopped");
    assert!(started.elapsed() < secs(1), "nothing to wait for");
}

#[test]
fn readers_never_see_an_empty_or_mixed_token() {
    let mut t = Stepped::holding("aaaaaaaa", 3600);
    let store = Arc::clone(&t.fixture.store);
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
            0 => t.fixture.script.then(down),
            1 => t.fixture.script.then(granted("bbbbbbbb", 3600)),
            2 => t.fixture.script.then(refused),
            _ => t.fixture.script.then(granted("aaaaaaaa", 3600)),
        }
        t.fixture.store.plan(t.fixture.store.clock().now());
        t.refresher.step();
    }
    stop.store(true, Ordering::SeqCst);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

//! Both directions at once, faster than anybody reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use auth_proxy::testing::{Ready, wait_one};

use crate::sim::{pattern, timeout, wait_for};
use crate::support::load::idle_websockets;
use crate::support::tunnel::{Link, TunnelFixture};

/// Each way.
const BYTES: u64 = 50 << 20;

/// One end that sends and receives [`BYTES`], and what it has done so far.
#[derive(Default)]
struct Flow {
    reads: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Flow {
    /// Starts at once to send, and to read as soon as it may. Checks every byte.
    fn start(mut link: Link) -> (Arc<Self>, JoinHandle<()>) {
        let flow = Arc::new(Self::default());
        let shared = flow.clone();
        let work = move || {
            let deadline = Instant::now() + timeout() * 3;
            // Any part of the stream is found in here: the pattern repeats.
            let (expected, mut buffer) = (pattern(0, 251 + 64 * 1024), vec![0; 64 * 1024]);
            let (mut sent, mut received) = (0, 0);
            while sent < BYTES || received < BYTES || !link.flushed().unwrap() {
                let part = piece(&expected, sent);
                let n = link.try_send(&part[..part.len().min(usize::try_from(BYTES - sent).unwrap())]);
                let n = n.unwrap() as u64;
                sent += n;
                let reads = shared.reads.load(Ordering::SeqCst) && received < BYTES;
                let got = if reads { link.try_receive(&mut buffer).unwrap() } else { None };
                if let Some(got) = got {
                    assert!(got > 0, "the end came after {received} bytes");
                    assert!(buffer[..got] == piece(&expected, received)[..got], "wrong after {received}");
                    received += got as u64;
                }
                shared.sent.store(sent, Ordering::SeqCst);
                shared.received.store(received, Ordering::SeqCst);
                if n == 0 && got.is_none() {
                    assert!(Instant::now() < deadline, "stuck: {sent} sent, {received} received");
                    let wanted = if reads { Ready::READ_WRITE } else { Ready::WRITE };
                    // Soon again in any case: whether it may read is not an event of the socket.
                    let _ = wait_one(link.socket(), wanted, Some(Instant::now() + Duration::from_millis(5)));
                }
            }
        };
        (flow, std::thread::spawn(work))
    }

    fn progress(&self) -> u64 {
        self.sent.load(Ordering::SeqCst) + self.received.load(Ordering::SeqCst)
    }
}

fn piece(expected: &[u8], at: u64) -> &[u8] {
    &expected[usize::try_from(at % 251).unwrap()..][..64 * 1024]
}

/// Waits until nothing has moved for a while.
fn wait_stalled(flows: &[&Flow]) {
    let progress = || flows.iter().map(|flow| flow.progress()).sum::<u64>();
    let (mut last, mut since) = (progress(), Instant::now());
    wait_for("everything to be full", || {
        if progress() != last {
            (last, since) = (progress(), Instant::now());
        }
        since.elapsed() > Duration::from_millis(150)
    });
}

#[test]
fn fifty_megabytes_each_way_to_slow_readers_all_arrive_and_take_no_memory() {
    for (fixture, name) in TunnelFixture::each() {
        let (client, there) = fixture.open();
        let before = fixture.proxy.rss_kb();
        let (client, client_thread) = Flow::start(client);
        let (there, there_thread) = Flow::start(there);

        // Nobody reads: everything fills up and waits.
        wait_stalled(&[&client, &there]);
        assert!(client.sent.load(Ordering::SeqCst) < BYTES && there.sent.load(Ordering::SeqCst) < BYTES);
        // One direction runs to its end while the other stays full.
        there.reads.store(true, Ordering::SeqCst);
        wait_for("the upload", || there.received.load(Ordering::SeqCst) == BYTES);
        assert_eq!(client.received.load(Ordering::SeqCst), 0);
        client.reads.store(true, Ordering::SeqCst);
        client_thread.join().unwrap();
        there_thread.join().unwrap();

        let grown = fixture.proxy.rss_kb().saturating_sub(before);
        assert!(grown < 2048, "{grown} KB more than before, {name}");
    }
}

/// After this many bytes the reader of a flood sends something.
const ENOUGH: u64 = 16 << 20;

/// Sends without end until the other side sends something; how much was sent by then.
fn flood_until_response(link: &mut Link, limit: u64) -> u64 {
    let (block, mut buffer, mut sent) = (vec![b'f'; 64 * 1024], [0; 64], 0);
    while sent < limit {
        if link.try_receive(&mut buffer).unwrap().is_some() {
            return sent;
        }
        match link.try_send(&block).unwrap() {
            0 => drop(wait_one(link.socket(), Ready::READ_WRITE, Some(Instant::now() + timeout()))),
            n => sent += n as u64,
        }
    }
    sent
}

/// Reads everything as fast as it comes, and sends "enough" in the middle of it.
fn swallow(mut link: Link) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut buffer, mut left) = (vec![0; 256 * 1024], ENOUGH);
        while let Ok(count) = link.read_within(&mut buffer, timeout()) {
            if count as u64 >= left && left > 0 {
                link.send("enough").unwrap();
            }
            left = left.saturating_sub(count as u64);
            if count == 0 {
                return;
            }
        }
    })
}

#[test]
fn a_flood_one_way_does_not_delay_the_other_way() {
    let limit = 256 << 20;
    for (fixture, name) in TunnelFixture::each() {
        let (client, mut there) = fixture.open();
        let client = swallow(client);
        let sent = flood_until_response(&mut there, limit);
        assert!(sent < limit / 4, "{sent} bytes came down before six went up, {name}");
        drop(there);
        client.join().unwrap();

        let (mut client, there) = fixture.open();
        let there = swallow(there);
        let sent = flood_until_response(&mut client, limit);
        assert!(sent < limit / 4, "{sent} bytes went up before six came down, {name}");
        drop(client);
        there.join().unwrap();
    }
}

#[test]
fn a_hundred_idle_websockets_stay_small() {
    // Frames of a debug build are twice as large as those of the release; if buffers stayed it would be 18 MB.
    idle_websockets(100, 16_000, &[]);
}

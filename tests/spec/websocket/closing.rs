//! How tunnels end: one direction at a time, all at once, and when the program stops.

use std::time::{Duration, Instant};

use crate::sim::{timeout, wait_for};
use crate::support::client::Ended;
use crate::support::tunnel::{Link, TunnelFixture, frame, server_frame};

/// An end is passed on within this time.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn the_end_of_one_direction_leaves_the_other_open() {
    for (fixture, name) in TunnelFixture::each() {
        let (mut client, mut there) = fixture.open();
        client.send("last words").unwrap();
        client.end();
        assert_eq!(there.read_to_end(timeout()), (b"last words".to_vec(), Ended::Closed), "{name}");
        for _ in 0..3 {
            there.send("go on").unwrap();
            assert_eq!(client.read_exactly(5), b"go on", "{name}");
        }
        there.end();
        assert_eq!(client.read_to_end(timeout()), (vec![], Ended::Closed));

        let (mut client, mut there) = fixture.open();
        there.send("last words").unwrap();
        there.end();
        assert_eq!(client.read_to_end(timeout()), (b"last words".to_vec(), Ended::Closed), "{name}");
        for _ in 0..3 {
            client.send("go on").unwrap();
            assert_eq!(there.read_exactly(5), b"go on", "{name}");
        }
        client.end();
        assert_eq!(there.read_to_end(timeout()), (vec![], Ended::Closed), "{name}");
        wait_all_ended(&fixture);
    }
}

#[test]
fn the_end_of_a_direction_comes_after_all_of_its_bytes() {
    for (fixture, name) in TunnelFixture::each() {
        // Different lengths, so that the end meets the buffers on the way at different levels.
        for extra in (0..6).map(|step| step * 2999) {
            let (mut client, mut there) = fixture.open();
            let sent = fill(&mut client) + extra;
            let sender = std::thread::spawn(move || {
                client.send(vec![b'y'; extra]).unwrap();
                client.end();
                client
            });
            let (got, ended) = there.read_to_end(timeout());
            assert_eq!((got.len(), ended), (sent, Ended::Closed), "{name}, extra: {extra}");
            there.send("bye").unwrap();
            drop(there);
            assert_eq!(sender.join().unwrap().read_exactly(3), b"bye");
        }
    }
}

#[test]
fn an_abrupt_end_of_either_side_ends_the_other_within_a_second() {
    type End = fn(Link);
    let ends: [(&str, End); 3] = [
        ("reset", Link::reset),
        ("close", |link| drop(link)),
        ("no close_notify", |link| link.close_without_notify()),
    ];
    for (fixture, name) in TunnelFixture::each() {
        for (how, end) in ends {
            let (mut client, there) = fixture.open();
            let started = Instant::now();
            end(there);
            let (bytes, ended) = client.read_to_end(timeout());
            assert!(bytes.is_empty() && ended != Ended::Waiting, "upstream: {how}, {name}");
            assert!(started.elapsed() < SOON, "upstream: {how}, {name}");
            drop(client);

            let (client, mut there) = fixture.open();
            let started = Instant::now();
            end(client);
            let (bytes, ended) = there.read_to_end(timeout());
            assert!(bytes.is_empty() && ended != Ended::Waiting, "client: {how}, {name}");
            assert!(started.elapsed() < SOON, "client: {how}, {name}");
        }
        wait_all_ended(&fixture);
    }
}

#[test]
fn an_abrupt_end_while_both_pipes_are_full_ends_both() {
    for (fixture, name) in TunnelFixture::each() {
        for client_leaves in [true, false] {
            let (mut client, mut there) = fixture.open();
            fill(&mut client);
            fill(&mut there);
            let (leaves, mut stays) = if client_leaves { (client, there) } else { (there, client) };
            leaves.reset();
            let (_, ended) = stays.read_to_end(timeout());
            assert_ne!(ended, Ended::Waiting, "client leaves: {client_leaves}, {name}");
            drop(stays);
            wait_all_ended(&fixture);
        }
    }
}

/// An upstream that sends much and then closes without having read all that it was sent resets the connection. What it sent
/// before is still in the kernel, and an application that is connected directly gets all of it.
#[test]
fn bytes_that_were_sent_before_a_reset_arrive() {
    for (fixture, name) in TunnelFixture::each() {
        let (mut client, mut there) = fixture.open();
        let sent = fill(&mut there);
        fill(&mut client);
        let (mut buffer, mut received) = (vec![0; 64 * 1024], 0);
        wait_for("its last words to leave the upstream", || {
            // Not all that there is: something shall be on its way when the reset comes.
            for _ in 0..8 {
                received += client.try_receive(&mut buffer).unwrap().unwrap_or_default();
            }
            there.flushed().unwrap() && there.unacknowledged() == 0
        });
        drop(there);
        received += client.read_to_end(timeout()).0.len();
        assert_eq!(received, sent, "{name}");
    }
}

/// Sends until nothing more is taken, for a while; gives how much was.
fn fill(link: &mut Link) -> usize {
    let (block, mut taken, mut since) = (vec![b'x'; 64 * 1024], 0, Instant::now());
    while since.elapsed() < Duration::from_millis(100) {
        match link.try_send(&block).unwrap() {
            0 => std::thread::yield_now(),
            count => (taken, since) = (taken + count, Instant::now()),
        }
    }
    taken
}

#[test]
fn control_frames_pass_like_any_other_bytes() {
    for (fixture, _) in TunnelFixture::each() {
        let (mut client, mut there) = fixture.open();
        let pairs = [
            (frame(9, b"are you there"), server_frame(10, b"are you there")),
            (frame(10, b""), server_frame(9, b"")),
            // Reserved bits, reserved opcodes, no mask, a length that is not the shortest, a wrong mask: not ours to judge.
            (vec![0xff, 0x7e, 0, 1, 0], vec![0x0b, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
            (frame(8, &[0x03, 0xe8]), server_frame(8, &[0x03, 0xe8])),
        ];
        for (ask, response) in pairs {
            client.send(&ask).unwrap();
            assert_eq!(there.read_exactly(ask.len()), ask);
            there.send(&response).unwrap();
            assert_eq!(client.read_exactly(response.len()), response);
        }
        // The close frames were passed, and nothing was ended by them: that is for the two sides to do.
        client.send("still").unwrap();
        assert_eq!(there.read_exactly(5), b"still");
    }
}

#[test]
fn a_shutdown_closes_tunnels_after_the_grace_period() {
    let mut fixture = TunnelFixture::start_with(true, &[("SHUTDOWN_GRACE", "1s")]);
    let (mut client, mut there) = fixture.open();
    let started = Instant::now();
    fixture.proxy.signal("TERM");
    fixture.proxy.wait_log("stopping");
    client.send("still open").unwrap();
    assert_eq!(there.read_exactly(10), b"still open");
    there.send("indeed").unwrap();
    assert_eq!(client.read_exactly(6), b"indeed");

    let (bytes, ended) = client.read_to_end(timeout());
    assert!(bytes.is_empty() && ended != Ended::Waiting);
    assert_ne!(there.read_to_end(timeout()).1, Ended::Waiting);
    assert_eq!(fixture.proxy.wait_exit().code(), Some(1));
    let took = started.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    assert!(fixture.proxy.log().iter().any(|line| line.contains("SHUTDOWN_GRACE is over")));
}

#[test]
fn a_shutdown_does_not_wait_longer_than_the_last_tunnel() {
    let mut fixture = TunnelFixture::start(false);
    let (client, there) = fixture.open();
    fixture.proxy.signal("TERM");
    fixture.proxy.wait_log("stopping");
    drop(client);
    drop(there);
    assert_eq!(fixture.proxy.wait_exit().code(), Some(0));
}

#[test]
fn the_log_has_the_bytes_of_each_direction() {
    let fixture = TunnelFixture::start(false);
    let (mut client, mut there) = fixture.open();
    client.send("12345").unwrap();
    assert_eq!(there.read_exactly(5), b"12345");
    there.send("123").unwrap();
    assert_eq!(client.read_exactly(3), b"123");
    client.end();
    there.end();
    let line = fixture.proxy.wait_log(" info  request ");
    assert!(line.contains("status=101 bytes_up=5 bytes_down=3"), "{line}");
}

/// Waits until every tunnel that was opened has ended, by the log.
fn wait_all_ended(fixture: &TunnelFixture) {
    wait_for("the end of every tunnel", || {
        let log = fixture.proxy.log();
        log.iter().filter(|line| line.contains(" info  request ")).count() == fixture.opened.get()
    });
}

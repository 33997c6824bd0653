//! Bodies far larger than memory, and streams that must not wait.

use std::io::{Read as _, Write as _};
use std::time::{Duration, SystemTime};

use ring::digest;

use super::{Bench, socket};
use crate::sim::{latin1, patience, pattern};

const QUICK: u64 = 200 << 20;
const LONG: u64 = 1 << 30;

/// Downloads so much and checks every byte.
fn download(bench: &Bench, count: u64, chunked: bool) {
    let mut client = bench.client();
    let query = if chunked { "?chunked=1" } else { "" };
    client.raw.send(format!("GET /sim/bytes/{count}{query} HTTP/1.0\r\n\r\n")).unwrap();
    let mut tcp = socket(&client);
    tcp.set_read_timeout(Some(patience())).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(latin1(&head).starts_with("HTTP/1.1 200 "));
    let expected = pattern(0, 251 + 64 * 1024);
    let (mut buffer, mut at) = (vec![0; 64 * 1024], 0_u64);
    loop {
        let n = tcp.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        let phase = usize::try_from(at % 251).unwrap();
        assert!(buffer[..n] == expected[phase..phase + n], "other bytes around {at}");
        at += n as u64;
    }
    assert_eq!(at, count);
}

fn upload(bench: &Bench, count: u64, chunked: bool) {
    let mut client = bench.client();
    let framing =
        if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {count}") };
    client.raw.send(format!("POST /sim/upload HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).unwrap();
    let piece = pattern(0, 251 * 256);
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut left = count;
    while left > 0 {
        let data = &piece[..piece.len().min(usize::try_from(left).unwrap())];
        hash.update(data);
        if chunked {
            let chunk = [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
            socket(&client).write_all(&chunk).unwrap();
        } else {
            socket(&client).write_all(data).unwrap();
        }
        left -= data.len() as u64;
    }
    if chunked {
        client.raw.send("0\r\n\r\n").unwrap();
    }
    let response = client.response("POST").unwrap().json();
    let sum: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((response["bytes"].as_u64(), response["sha256"].as_str()), (Some(count), Some(sum.as_str())));
}

fn both_ways(count: u64) {
    let bench = Bench::tls();
    for chunked in [false, true] {
        download(&bench, count, chunked);
        upload(&bench, count, chunked);
    }
    let peak = bench.proxy.peak_rss_kb();
    eprintln!("{count} bytes up and down, twice: RSS at most {peak} kB");
    // What is promised is the release's; a debug build has larger frames.
    let shipped = !cfg!(debug_assertions) || std::env::var_os("AUTH_PROXY_BIN").is_some();
    let most = if shipped { 20 * 1024 } else { 40 * 1024 };
    assert!(peak < most, "RSS went up to {peak} kB");
}

#[test]
fn two_hundred_megabytes_each_way_need_no_memory() {
    both_ways(QUICK);
}

#[test]
#[ignore = "for the release binary, whose memory is what is promised: make shipped"]
fn a_gibibyte_each_way_needs_no_memory() {
    both_ways(LONG);
}

/// Both sides read one clock: each event says when it was written.
#[test]
fn events_arrive_one_by_one_as_they_are_written() {
    for bench in [Bench::plain(), Bench::tls()] {
        let mut client = bench.client();
        client.raw.send("GET /sim/sse?events=20&pause_ms=30 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let (mut seen, mut delays) = (Vec::new(), Vec::new());
        while delays.len() < 20 {
            seen.extend(client.raw.read_some(patience()).unwrap());
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            while delays.len() < 20
                && let Some(end) = seen.windows(2).position(|bytes| bytes == b"\n\n")
            {
                let text = latin1(&seen.drain(..end + 2).collect::<Vec<_>>());
                let written = text.split("\"unix_ns\":").nth(1).unwrap();
                let digits: String = written.chars().take_while(char::is_ascii_digit).collect();
                delays.push(now.saturating_sub(Duration::from_nanos(digits.parse().unwrap())));
            }
        }
        delays.sort();
        // Some may fall victim to what else the machine does; events held back would all be late.
        assert!(delays[10] < Duration::from_millis(20), "{delays:?}");
    }
}

//! What there is too much of, too little of, or what is broken.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::client::Raw;
use crate::fixture::{Proxy, environment, run_to_end};
use crate::pems;
use crate::sim::{Options, Sim, patience, wait_for};

/// awslabs/aws-sigv4-proxy, proxy_client.go: collects the request's body before it sends any of it.
#[test]
fn an_upload_of_a_gigabyte_takes_no_memory() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start(&sim);
    assert_eq!(proxy.client().get("/sim/echo").status, 200);
    let (before, size) = (proxy.rss_kb(), 1_u64 << 30);
    let mut client = proxy.client();
    let head = format!("POST /sim/upload HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
    client.raw.send(head).unwrap();
    let block = vec![b'u'; 1 << 20];
    let mut most = 0;
    for _ in 0..size / block.len() as u64 {
        client.raw.send(&block).unwrap();
        most = most.max(proxy.rss_kb());
    }
    let response = client.response("POST").unwrap();
    assert_eq!((response.status, &response.json()["bytes"]), (200, &size.into()));
    assert!(most < before + 2048, "{most} KB at most, {before} KB before");
}

/// sigoden/dufs, main.rs: an accept that fails is tried again at once, for ever.
#[test]
#[cfg_attr(feature = "tiny_http", ignore = "tests/it/tiny_http.rs has its own")]
fn without_descriptors_it_does_not_spin_and_recovers() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start(&sim);
    let limit = Rlimit { current: Some(proxy.fds() as u64 + 4), ..getrlimit(Resource::Nofile) };
    let pid = Pid::from_raw(i32::try_from(proxy.pid()).unwrap());
    prlimit(pid, Resource::Nofile, limit).unwrap();

    let crowd: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(proxy.address()).unwrap()).collect();
    proxy.wait_log("cannot accept connections");
    let (used, since) = (cpu_ticks(&proxy), Instant::now());
    let lines = proxy.log().len();
    // Not to wait for anything: this is how long it is watched.
    std::thread::sleep(Duration::from_millis(500));
    let (used, watched) = (cpu_ticks(&proxy) - used, since.elapsed());
    // A tick is 10 ms; a spin would use all of the time.
    assert!(used <= 10, "{used} ticks of processor in {watched:?}");
    let lines = proxy.log().len() - lines;
    assert!(lines <= 25, "{lines} lines of log in {watched:?}");

    drop(crowd);
    // Those that waited in the backlog are served now, and whoever comes next.
    wait_for("a request to be served again", || {
        let mut raw = Raw::connect(proxy.address());
        raw.send("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").is_ok()
            && raw.read_to_end(patience()).0.starts_with(b"HTTP/1.1 200 ")
    });
}

/// User and system time so far, in hundredths of a second.
fn cpu_ticks(proxy: &Proxy) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// svenstaro/miniserve, config.rs: a bad certificate in a chain is a panic.
#[test]
fn every_certificate_file_works_or_gives_a_message_with_its_name_and_a_remedy() {
    let sim = Sim::start(Options::default());
    // With a port that is taken, a good file ends the program, too: with another code.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut files: Vec<_> =
        std::fs::read_dir(pems::directory()).unwrap().map(|e| e.unwrap().path()).collect();
    files.extend([pems::directory().to_owned(), pems::directory().join("absent.pem"), "/dev/null".into()]);
    let (mut good, mut bad) = (BTreeSet::new(), BTreeSet::new());
    for file in files {
        let path = file.to_str().unwrap();
        let run = run_to_end(&[], environment(&sim, &[("AZURE_CERTIFICATE_PATH", path), ("PORT", &port)]));
        let text = run.stderr;
        assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{path}: {text}");
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        match run.status.code() {
            Some(4) => good.insert(name),
            Some(3) => {
                let error = text.lines().find(|line| line.starts_with("error: "));
                assert!(error.is_some_and(|line| line.contains(path)), "{path}: {text}");
                assert!(text.contains("\n  hint: "), "{path}: {text}");
                bad.insert(name)
            }
            code => panic!("{path}: exit code {code:?}\n{text}"),
        };
    }
    assert!(good.contains("cert-first.pem") && bad.contains("bad-certificate.pem"));
    assert!(good.contains("bad-extra-certificate.pem"), "not needed to sign in, so only warned about");
    assert!(good.len() > 10 && bad.len() > 25, "{} good, {} bad", good.len(), bad.len());
}

//! One test for each bug that a similar program has or had, read in its source or its issues.
//!
//! Some are held elsewhere: `aws-sigv4-proxy` keeps a response back until all of it is there
//! (`streaming::each_event_arrives_before_the_next_is_written`), at debug level it logs whole requests
//! (`secrets::no_secret_is_logged_in_text_or_json`); `miniserve` panics over a bad certificate in a chain
//! (`parsers::the_certificate_corpus_holds`).

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::sim::{Options, ScriptedResponse, Sim, timeout, wait_for};
use crate::support::api::CHAT;
use crate::support::client::Raw;
use crate::support::program::Proxy;

const ECHO: &str = "/sim/echo";

/// Where nobody listens, and nobody else can as long as the socket is kept.
fn closed() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Azure/aad-auth-proxy, fail_request.go: writes the status line before the headers, and the content type is lost.
#[test]
fn our_own_errors_have_status_type_and_body_together() {
    let sim = Sim::start(Options::default());
    let (_kept, closed) = closed();
    let (unreachable, key) = (format!("http://{closed}"), "a-key-of-sixteen-or-more");
    let guarded = Proxy::start_with(&sim, &[("PROXY_API_KEY", key)]);
    let stranded = Proxy::start_with(&sim, &[("API_BASE_URL", &unreachable)]);
    sim.entra.stop();
    let locked_out = Proxy::start_listening(&sim, &[]);
    for (proxy, method, target, status) in [
        (&guarded, "GET", "/openai/v1/models", 401),
        (&guarded, "CONNECT", "localhost:443", 501),
        (&guarded, "GET", "no-slash", 400),
        (&stranded, "GET", "/openai/v1/models", 502),
        (&locked_out, "GET", "/openai/v1/models", 503),
    ] {
        let mut client = proxy.client();
        client.raw.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost:443\r\n\r\n")).unwrap();
        let response = client.response("GET").unwrap();
        assert_eq!((response.status, &response.fault), (status, &None), "{method} {target}");
        assert_eq!(response.header("content-type").as_deref(), Some("application/json"), "{status}");
        assert_eq!(response.header("content-length").unwrap(), response.body.len().to_string());
        let error = &response.json()["error"];
        for field in ["message", "type", "code"] {
            assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {error}");
        }
    }
}

/// The same, proxy.go, logResponse: reads the whole body of a response with a status of 400 or more, logs it, encodes
/// it again and rewrites its headers.
#[test]
fn a_429_passes_byte_for_byte_and_not_into_the_log() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start_with(&sim, &[("LOG_LEVEL", "debug")]);
    let body = b"{ \"error\" :\n\t{\"code\":\"429\", \"message\" : \"slow-down-please\" } }\xff\x00".to_vec();
    let fields = [
        ("Content-Type", "application/json; charset=\"odd\""),
        ("retry-after", "7"),
        ("retry-after-ms", "6543"),
        ("x-ratelimit-reset-requests", "7"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
    ];
    let response = ScriptedResponse::status(429).body(body.clone());
    sim.azure.script([fields.iter().fold(response, |response, (name, value)| response.header(name, value))]);
    let response = proxy.client().post_json(CHAT, &json!({"model": "gpt-4o"}));
    assert_eq!((response.status, &response.body), (429, &body));
    for (name, value) in fields {
        assert!(response.header_values(name).contains(&value.to_owned()), "{name}");
    }
    assert_eq!(response.header_values("set-cookie").len(), 2);
    proxy.wait_log("status=429");
    assert!(!proxy.log().join("\n").contains("slow-down-please"));
}

/// The same, handler.go: gives the text of its own failure to the caller.
#[test]
fn details_of_a_failure_stay_in_the_log() {
    let sim = Sim::start(Options::default());
    let (_kept, closed) = closed();
    for (base, detail) in [
        (format!("http://{closed}"), "Connection refused"),
        ("https://no-such-host.invalid".to_owned(), "no-such-host.invalid"),
        // The certificate is for other names.
        (format!("https://127.0.0.2:{}", sim.azure.server.port()), "127.0.0.2"),
    ] {
        let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &base)]);
        let mut client = proxy.client();
        let response = client.get("/openai/v1/models");
        assert_eq!(response.status, 502, "{base}");
        let text = response.text();
        for inner in [detail, "os error", "127.0.0", "invalid", "rustls", &closed.port().to_string()] {
            assert!(!text.contains(inner), "{inner} in {text}");
        }
        let line = proxy.wait_log("request failed");
        assert!(line.contains(detail), "{detail} in {line}");
    }
}

/// awslabs/aws-sigv4-proxy, proxy_client.go: collects the request's body before it sends any of it.
#[test]
fn an_upload_of_a_gigabyte_takes_no_memory() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start(&sim);
    assert_eq!(proxy.client().get("/sim/echo").status, 200);
    let (before, size) = (proxy.rss_kb(), 1_u64 << 30);
    let mut client = proxy.client();
    let head = format!("POST /sim/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n");
    client.raw.send(head).unwrap();
    let block = vec![b'u'; 1 << 20];
    let mut peak = 0;
    for _ in 0..size / block.len() as u64 {
        client.raw.send(&block).unwrap();
        peak = peak.max(proxy.rss_kb());
    }
    let response = client.response("POST").unwrap();
    assert_eq!((response.status, &response.json()["bytes"]), (200, &size.into()));
    assert!(peak < before + 2048, "{peak} KB at most, {before} KB before");
}

/// sigoden/dufs, main.rs: an accept that fails is tried again at once, for ever.
#[test]
fn without_descriptors_it_does_not_spin_and_recovers() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start(&sim);
    let limit = Rlimit { current: Some(proxy.fds() as u64 + 4), ..getrlimit(Resource::Nofile) };
    let pid = Pid::from_raw(i32::try_from(proxy.pid()).unwrap());
    prlimit(pid, Resource::Nofile, limit).unwrap();

    let connections: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(proxy.address()).unwrap()).collect();
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

    drop(connections);
    // Those that waited in the backlog are served now, and whoever comes next.
    wait_for("a request to be served again", || {
        let mut raw = Raw::connect(proxy.address());
        raw.send("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").is_ok()
            && raw.read_to_end(timeout()).0.starts_with(b"HTTP/1.1 200 ")
    });
}

/// New clients do not take the descriptors that those who are being served need for the upstream.
#[test]
fn without_descriptors_those_who_are_served_go_on_being_served() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start(&sim);
    let mut served: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    for client in &mut served {
        assert_eq!(client.get("/openai/v1/models").status, 200);
    }
    let limit = Rlimit { current: Some(proxy.fds() as u64 + 10), ..getrlimit(Resource::Nofile) };
    let pid = Pid::from_raw(i32::try_from(proxy.pid()).unwrap());
    prlimit(pid, Resource::Nofile, limit).unwrap();
    let upload = "POST /sim/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nbegin";
    let others: Vec<_> = (0..60)
        .map(|_| {
            let mut raw = Raw::connect(proxy.address());
            let _ = raw.send(upload);
            raw
        })
        .collect();
    let line = proxy.wait_log(" reason=descriptors ");
    assert!(line.contains(" warn ") && line.contains("ulimit -n"), "{line}");
    for round in 0..5 {
        // So that each of them needs a new connection, and its descriptor could be taken meanwhile.
        sim.azure.server.close_connections();
        for client in &mut served {
            assert_eq!(client.get("/openai/v1/models").status, 200, "round {round}");
        }
    }
    drop((others, served));
    wait_for("a new client to be served", || proxy.client().get("/openai/v1/models").status == 200);
}

/// User and system time so far, in hundredths of a second.
fn cpu_ticks(proxy: &Proxy) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Azure/aad-auth-proxy, token_provider.go, periodicallyRefreshClientToken: logs that it will try again in five
/// minutes and returns instead. The first refresh that fails is the last one.
#[test]
fn a_failed_refresh_is_not_the_last_one() {
    let sim = Sim::start(Options::default());
    sim.entra.script([ScriptedResponse::token(60).refresh_in(1), ScriptedResponse::aadsts(90033)]);
    let proxy = Proxy::start(&sim);
    let mut client = proxy.client();
    assert_eq!(client.get(ECHO).status, 200);
    wait_for("the failed refresh", || sim.entra.requests().len() == 2);
    assert_eq!(client.get(ECHO).status, 200, "the old token is still good");
    wait_for("the refresh after it", || sim.entra.issued().len() == 2);
    proxy.wait_log("token refresh recovered");
    wait_for("a request with the new token", || {
        assert_eq!(client.get(ECHO).status, 200);
        sim.azure.request_to(ECHO).bearer() == Some(sim.entra.issued()[1].token.clone())
    });
    let carried: Vec<String> = sim.azure.requests().iter().filter_map(|request| request.bearer()).collect();
    assert_eq!(carried[..2], [sim.entra.issued()[0].token.as_str(); 2]);
}

/// The same, setToken: stores into a local atomic and assigns a plain field, a data race without publication.
#[test]
fn readers_during_refreshes_never_see_an_empty_or_mixed_token() {
    let sim = Sim::start(Options::default());
    // Of different lengths and letters: a mixture of two could not be mistaken for either.
    let tokens: Vec<String> =
        [('a', 900), ('b', 2500), ('c', 100), ('d', 4000)].map(|(c, n)| c.to_string().repeat(n)).into();
    let responses =
        tokens.iter().map(|token| ScriptedResponse::token(3600).refresh_in(1).access_token(token));
    sim.entra.script(responses);
    sim.entra.set_lifetime(3600, None);
    let proxy = Proxy::start(&sim);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = proxy.client();
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(client.get(ECHO).status, 200);
                }
            });
        }
        let last = &tokens[tokens.len() - 1];
        wait_for("the last token to be used", || sim.azure.request_to(ECHO).bearer().as_ref() == Some(last));
        done.store(true, Ordering::SeqCst);
    });
    let issued: Vec<String> = sim.entra.issued().into_iter().map(|issued| issued.token).collect();
    for request in sim.azure.requests() {
        assert!(issued.contains(&request.bearer().unwrap()), "{:?}", request.headers);
    }
}

/// The same, handler.go, checkTokenProvider: `/ready` is 200 for ever, although the token has expired long since.
#[test]
fn an_expired_token_is_neither_ready_nor_sent() {
    let sim = Sim::start(Options::default());
    sim.entra.script([ScriptedResponse::token(2)]);
    let proxy = Proxy::start(&sim);
    sim.entra.stop();
    proxy.wait_health(503);
    assert_ne!(proxy.health().json()["reason"], "the proxy is stopping");
    let before = sim.azure.requests().len();
    let refused = proxy.client().get(ECHO);
    assert_eq!((refused.status, &refused.json()["error"]["type"]), (503, &"authentication_error".into()));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(sim.azure.requests().len(), before, "nothing was sent with the old token");
    sim.entra.restart();
    proxy.wait_healthy();
    assert_eq!(proxy.client().get(ECHO).status, 200);
}

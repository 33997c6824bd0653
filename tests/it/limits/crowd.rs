//! More connections than are served.

use super::{Limits, Server};
use crate::client::{Ended, Raw};
use crate::sim::{latin1, patience, wait_for};

#[test]
fn connections_above_the_cap_are_refused_and_probes_are_answered() {
    let server = Server::start(Limits { connections: 2, ..Limits::default() });
    let (mut first, mut second) = (server.client(), server.client());
    assert_eq!((first.get("/").status, second.get("/").status), (200, 200));
    for _ in 0..20 {
        let refused = server.client().request("POST", "/", &[], b"body");
        assert_eq!(refused.status, 503);
        assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
        assert_eq!(refused.header("connection").as_deref(), Some("close"));
        assert_eq!(refused.json()["error"]["code"], "overloaded");
        assert_eq!(server.client().get("/health").text(), "ok");
        // Those who were there first do not notice.
        assert_eq!(first.get("/").status, 200);
    }
    drop(second);
    wait_for("room for another connection", || server.client().get("/").status == 200);
}

#[test]
fn a_silent_crowd_above_the_cap_does_not_hide_a_probe() {
    let server = Server::start(Limits { connections: 1, overflow: 8, ..Limits::default() });
    let mut first = server.client();
    assert_eq!(first.get("/").status, 200);
    let crowd: Vec<Raw> = (0..40).map(|_| server.raw()).collect();
    assert_eq!(server.client().get("/health").text(), "ok");
    let mut refused = crowd.into_iter().next().unwrap();
    let (answer, _) = refused.read_to_end(patience());
    assert!(answer.starts_with(b"HTTP/1.1 503 "));
}

#[test]
fn a_burst_above_the_cap_pushes_nobody_out_unheard() {
    let server = Server::start(Limits { connections: 1, overflow: 4, ..Limits::default() });
    let mut first = server.client();
    assert_eq!(first.get("/").status, 200);
    let burst: Vec<Raw> = (0..100)
        .map(|_| {
            let mut client = server.raw();
            client.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            client
        })
        .collect();
    for mut client in burst {
        let (answer, ended) = client.read_to_end(patience());
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(ended, Ended::Closed);
    }
}

#[test]
fn who_is_refused_above_the_cap_can_read_it_whatever_else_was_sent() {
    let server = Server::start(Limits { connections: 1, ..Limits::default() });
    let mut first = server.client();
    assert_eq!(first.get("/").status, 200);
    let head = "GET / HTTP/1.1\r\nHost: a\r\n";
    for sent in [
        // The rest of a head that was refused for its length: unread, it would turn the end into a reset.
        format!("{head}X: {}", "x".repeat(200_000)),
        // The rest of a body.
        format!("{head}Content-Length: 200000\r\n\r\n{}", "x".repeat(200_000)),
        // A head that never ends is refused when the patience ends.
        head.to_owned(),
    ] {
        let mut refused = server.raw();
        refused.send(sent).unwrap();
        let (answer, ended) = refused.read_to_end(patience());
        assert!(answer.starts_with(b"HTTP/1.1 503 ") && answer.ends_with(b"}"), "{}", latin1(&answer));
        assert_eq!(ended, Ended::Closed);
        // Its side is still open, so that this is not a reset either.
        refused.send("X").unwrap();
    }
}

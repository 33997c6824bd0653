//! Heads that are no HTTP, or an HTTP that we do not speak: refused, and nothing reaches the destination.

use crate::wire::request::{Row, row};

pub fn rows() -> Vec<Row> {
    let mut rows = lines();
    rows.extend(fields());
    rows.extend(versions());
    rows
}

fn lines() -> Vec<Row> {
    vec![
        row("no HTTP at all", "hello\r\n\r\n").refused(400),
        row("a TLS handshake", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n").refused(400),
        row("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("an empty target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("two spaces in front of the version", "GET /a  HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a tab instead of a space", "GET\t/a HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a space in front of the method", " GET /a HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("something behind the version", "GET /a HTTP/1.1 x\r\nHost: a\r\n\r\n").refused(400),
        row("a method with a separator", "GE(T /a HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("an empty method", " /a HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a NUL in the target", "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a control character in the target", "GET /a\x07b HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a bare LF behind the request line", "GET /a HTTP/1.1\nHost: a\r\n\r\n").refused(400),
        row("bare LFs everywhere", "GET /a HTTP/1.1\nHost: a\n\n").refused(400),
        row("bare CRs everywhere", "GET /a HTTP/1.1\rHost: a\r\r").refused(400),
        row("a bare CR in the target", "GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
    ]
}

fn fields() -> Vec<Row> {
    let bad = |name, lines: &[u8]| {
        row(name, [&b"GET /m HTTP/1.1\r\nHost: a\r\n"[..], lines, b"\r\n"].concat()).refused(400)
    };
    let hosts = |name, lines: &str| row(name, format!("GET /m HTTP/1.1\r\n{lines}\r\n")).refused(400);
    vec![
        bad("white space in front of the colon", b"X-A : b\r\n"),
        bad("a tab in front of the colon", b"X-A\t: b\r\n"),
        bad("a field without a colon", b"X-A\r\n"),
        bad("a field without a name", b": b\r\n"),
        bad("a name with a space", b"X A: b\r\n"),
        bad("a name with a separator", b"X(A): b\r\n"),
        bad("a name with a byte above 0x7f", b"X-\xe9: b\r\n"),
        bad("a NUL in a name", b"X\0A: b\r\n"),
        bad("a NUL in a value", b"X-A: b\0c\r\n"),
        bad("DEL in a value", b"X-A: b\x7fc\r\n"),
        bad("a control character in a value", b"X-A: b\x01c\r\n"),
        bad("a bare CR in a value", b"X-A: b\rc\r\n"),
        bad("a bare LF in a value", b"X-A: b\nX-B: c\r\n"),
        bad("a folded field", b"X-A: b\r\n c\r\n"),
        bad("a field folded by a tab", b"X-A: b\r\n\tc\r\n"),
        bad("a folded line of nothing but white space", b"X-A: b\r\n \r\n"),
        row("a folded first line", "GET /m HTTP/1.1\r\n Host: a\r\n\r\n").refused(400),
        hosts("no Host", "X-A: b\r\n"),
        hosts("two Hosts", "Host: a\r\nHost: b\r\n"),
        hosts("the same Host twice", "Host: a\r\nHost: a\r\n"),
        hosts("a Host with a path", "Host: a/b\r\n"),
        hosts("a Host with user information", "Host: u@a\r\n"),
        hosts("a Host with a space", "Host: a b\r\n"),
        hosts("a list of Hosts", "Host: a, b\r\n"),
        row("two Hosts in HTTP/1.0", "GET /m HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n").refused(400),
        row("an empty Host is allowed", "GET /m HTTP/1.1\r\nHost:\r\n\r\n").seen("GET /m", &[], ""),
        row("a Host of IPv6 with a port", "GET /m HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n").seen(
            "GET /m",
            &[],
            "",
        ),
    ]
}

fn versions() -> Vec<Row> {
    let version = |name, version: &str, status| {
        row(name, format!("GET /m {version}\r\nHost: a\r\n\r\n")).refused(status)
    };
    vec![
        row("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").refused(505),
        row(
            "the preface of HTTP/2 with what follows it",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        )
        .refused(505),
        version("HTTP/2.0", "HTTP/2.0", 505),
        version("HTTP/1.2", "HTTP/1.2", 505),
        version("HTTP/3", "HTTP/3", 505),
        version("HTTP/0.9 in words", "HTTP/0.9", 505),
        row("HTTP/0.9, which has no version", "GET /m\r\n\r\n").refused(400),
        version("HTTP in lower case", "http/1.1", 400),
        version("another protocol", "RTSP/1.0", 400),
        version("a version without a number", "HTTP/", 400),
        version("a version of one digit too many", "HTTP/1.10", 400),
    ]
}

//! Heads that are no HTTP, or an HTTP that we do not speak: refused, and nothing reaches the upstream.

use super::{Row, row};

pub fn rows() -> Vec<Row> {
    let mut rows = lines();
    rows.extend(fields());
    rows.extend(hosts());
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
        row("two spaces before the version", "GET /a  HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a tab instead of a space", "GET\t/a HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a space before the method", " GET /a HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("something after the version", "GET /a HTTP/1.1 x\r\nHost: a\r\n\r\n").refused(400),
        row("a method with a separator", "GE(T /a HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("an empty method", " /a HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("nothing but spaces", "   \r\n\r\n").refused(400),
        row("a space within the version", "GET /a HTTP/ 1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a bare CR before the request", "\rGET /a HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a bare LF before the request", "\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a CR before a line end", "GET /a HTTP/1.1\r\r\nHost: a\r\n\r\n").refused(400),
        row("a NUL in the target", "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a control character in the target", "GET /a\x07b HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("a bare LF after the request line", "GET /a HTTP/1.1\nHost: a\r\n\r\n").refused(400),
        row("bare LFs everywhere", "GET /a HTTP/1.1\nHost: a\n\n").refused(400),
        row("bare CRs everywhere", "GET /a HTTP/1.1\rHost: a\r\r").refused(400),
        row("a bare CR in the target", "GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
    ]
}

fn fields() -> Vec<Row> {
    let bad = |name, lines: &[u8]| {
        row(name, [&b"GET /m HTTP/1.1\r\nHost: a\r\n"[..], lines, b"\r\n"].concat()).refused(400)
    };
    vec![
        bad("white space before the colon", b"X-A : b\r\n"),
        bad("a tab before the colon", b"X-A\t: b\r\n"),
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
        bad("a form feed before a value", b"X-A: \x0cb\r\n"),
        bad("a name in quotation marks", b"\"X-A\": b\r\n"),
        bad("a name in brackets", b"[X-A]: b\r\n"),
        bad("a name with a vertical tab", b"X-A\x0b: b\r\n"),
        row("white space before the first field", "GET /m HTTP/1.1\r\n \r\nHost: a\r\n\r\n").refused(400),
        row("a folded first line", "GET /m HTTP/1.1\r\n Host: a\r\n\r\n").refused(400),
    ]
}

/// RFC 9112 section 3.2: one Host, which is an authority.
fn hosts() -> Vec<Row> {
    let good = |name, host: &str| {
        row(name, format!("GET /m HTTP/1.1\r\nHost: {host}\r\n\r\n")).seen("GET /m", &[], "")
    };
    let bad = |name, lines: &str| row(name, format!("GET /m HTTP/1.1\r\n{lines}\r\n")).refused(400);
    vec![
        good("a name", "a-b_c.d~e.test"),
        good("a name with a port", "a:8080"),
        good("a name with the colon of a port", "a:"),
        good("an escaped name", "%c3%a9.test"),
        good("an IPv4 address with a port", "127.0.0.1:8080"),
        good("an IPv6 address", "[2001:db8::1]"),
        good("an IPv6 address with a port", "[::1]:8080"),
        row("no Host in HTTP/1.0", "GET /m HTTP/1.0\r\n\r\n").seen("GET /m", &[], "").closed(),
        bad("no Host", "X-A: b\r\n"),
        // The grammar has it, for schemes without an authority; nginx refuses it, too.
        bad("an empty Host", "Host:\r\n"),
        bad("a Host of white space", "Host: \t\r\n"),
        bad("two Hosts", "Host: a\r\nHost: b\r\n"),
        bad("the same Host twice", "Host: a\r\nHost: a\r\n"),
        bad("a Host and an empty one", "Host: a\r\nHost:\r\n"),
        bad("a Host with a path", "Host: a/b\r\n"),
        bad("a Host with a query", "Host: a?b\r\n"),
        bad("a Host with a scheme", "Host: http://a\r\n"),
        bad("a Host with user information", "Host: u@a\r\n"),
        bad("a Host with a space", "Host: a b\r\n"),
        bad("a list of Hosts", "Host: a, b\r\n"),
        bad("a list of Hosts without a space", "Host: a,b\r\n"),
        bad("a Host that is a port", "Host: :80\r\n"),
        bad("a Host whose port is a word", "Host: a:b\r\n"),
        bad("a Host whose port has a sign", "Host: a:+80\r\n"),
        bad("a Host whose port no TCP has", "Host: a:65536\r\n"),
        bad("a Host with two ports", "Host: a:80:80\r\n"),
        bad("a Host of raw UTF-8", "Host: \u{e9}\r\n"),
        bad("a Host with a broken escape", "Host: a%4\r\n"),
        bad("an IPv6 address without brackets", "Host: ::1\r\n"),
        bad("empty brackets", "Host: []\r\n"),
        bad("a bracket that stays open", "Host: [::1\r\n"),
        bad("a name in brackets", "Host: [a]\r\n"),
        bad("something after brackets", "Host: [::1]a\r\n"),
        row("two Hosts in HTTP/1.0", "GET /m HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n").refused(400),
        row("a bad Host in HTTP/1.0", "GET /m HTTP/1.0\r\nHost: a/b\r\n\r\n").refused(400),
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
        version("HTTP/9.9", "HTTP/9.9", 505),
        version("HTTP/3, which has no minor version", "HTTP/3", 400),
        version("HTTP/1, which has none either", "HTTP/1", 400),
        version("a version with leading zeros", "HTTP/01.01", 400),
        version("a negative version", "HTTP/-1.1", 400),
        version("a version with a comma", "HTTP/1,1", 400),
        version("HTTP/0.9 in words", "HTTP/0.9", 505),
        row("HTTP/0.9, which has no version", "GET /m\r\n\r\n").refused(400),
        version("HTTP in lower case", "http/1.1", 400),
        version("another protocol", "RTSP/1.0", 400),
        version("a version without a number", "HTTP/", 400),
        version("a version of one digit too many", "HTTP/1.10", 400),
    ]
}

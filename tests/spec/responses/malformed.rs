//! Responses that are no HTTP/1.1, or that two readers could understand differently.

use super::{Row, row};
use crate::sim::Step;

pub fn rows() -> Vec<Row> {
    let mut rows = heads();
    rows.extend(framing());
    rows.extend(chunks_that_never_were());
    rows.extend(chunks());
    rows
}

fn bad(name: &'static str, bytes: impl AsRef<[u8]>) -> Row {
    row(name, bytes).bad_gateway("upstream_bad_response")
}

fn heads() -> Vec<Row> {
    let many: String = (0..300).map(|i| format!("h{i:03}: {i}\r\n")).collect();
    vec![
        bad("no HTTP at all", "hello\r\n\r\n"),
        bad("a banner of another protocol", "220 smtp.test ESMTP\r\n\r\n"),
        bad("HTTP/2", "HTTP/2 200 OK\r\n\r\n"),
        bad("HTTP/0.9", "<html></html>\r\n\r\n").then(Step::Close),
        bad("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"),
        bad("a status of words", "HTTP/1.1 OK\r\n\r\n"),
        bad("a status below 100", "HTTP/1.1 099 X\r\n\r\n"),
        bad("a status of four digits", "HTTP/1.1 1000 X\r\nContent-Length: 0\r\n\r\n"),
        bad("a negative status", "HTTP/1.1 -20 X\r\nContent-Length: 0\r\n\r\n"),
        bad("no status", "HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
        bad("a version in lower case", "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        bad("a version that is none", "HTTP/1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        bad("a version of two digits", "HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n"),
        bad("a NUL in the reason", "HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"),
        bad("a name with a byte above 0x7f", b"HTTP/1.1 200 OK\r\nX-\xe9: x\r\nContent-Length: 0\r\n\r\n"),
        bad("a name with a space", "HTTP/1.1 200 OK\r\nX A: x\r\nContent-Length: 0\r\n\r\n"),
        bad("white space before the first field", "HTTP/1.1 200 OK\r\n X-A: x\r\nContent-Length: 0\r\n\r\n"),
        bad("a control character in a value", "HTTP/1.1 200 OK\r\nX-A: x\x01y\r\nContent-Length: 0\r\n\r\n"),
        bad("a field without a colon", "HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 0\r\n\r\n"),
        bad("a field without a name", "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n"),
        bad("a folded field", "HTTP/1.1 200 OK\r\nX-A: x\r\n y\r\nContent-Length: 0\r\n\r\n"),
        bad("a NUL in a value", "HTTP/1.1 200 OK\r\nX-A: x\0y\r\nContent-Length: 0\r\n\r\n"),
        bad("a bare CR in a value", "HTTP/1.1 200 OK\r\nX-A: x\ry\r\nContent-Length: 0\r\n\r\n"),
        bad(
            "200 cookies",
            format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "Set-Cookie: a=b\r\n".repeat(200)),
        ),
        bad("300 fields", format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 0\r\n\r\n")),
        bad(
            "a head of 70,000 bytes",
            format!("HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n", "v".repeat(70_000)),
        ),
        bad("a head without an end", format!("HTTP/1.1 200 OK\r\nX-A: {}", "v".repeat(200_000)))
            .then(Step::WaitForPeerClose),
        bad(
            "a switch of protocols that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        bad(
            "a switch to WebSocket after a 1xx response",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        bad(
            "a switch to HTTP/2 that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        ),
    ]
}

/// What is wrong shows before any of the body does: the head waits for it.
fn chunks_that_never_were() -> Vec<Row> {
    let after = |name, bytes: &str| {
        bad(name, format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{bytes}"))
    };
    vec![
        after("an extension without an end", &format!("5;{}", "x".repeat(100_000)))
            .then(Step::WaitForPeerClose),
        after("a first size that is none", "garbage\r\n"),
        after("a first size without an end", &"0".repeat(100)).then(Step::WaitForPeerClose),
        after("trailers without an end", &format!("0\r\n{}", "X: y\r\n".repeat(50_000)))
            .then(Step::WaitForPeerClose),
    ]
}

fn framing() -> Vec<Row> {
    let with = |name, lines: &str| bad(name, format!("HTTP/1.1 200 OK\r\n{lines}\r\nhello"));
    vec![
        with("two lengths that differ", "Content-Length: 5\r\nContent-Length: 4\r\n"),
        with("a list of lengths that differ", "Content-Length: 5, 4\r\n"),
        with("a negative length", "Content-Length: -5\r\n"),
        with("a length with a sign", "Content-Length: +5\r\n"),
        with("a length of words", "Content-Length: five\r\n"),
        with("an empty length", "Content-Length:\r\n"),
        with("a hexadecimal length", "Content-Length: 0x5\r\n"),
        with("a length with a space inside", "Content-Length: 5 5\r\n"),
        with("a length with an underscore", "Content-Length: 1_0\r\n"),
        with("a length before a comma", "Content-Length: 5,\r\n"),
        with("a length and an empty one", "Content-Length: 5\r\nContent-Length:\r\n"),
        with("a length after a vertical tab", "Content-Length: \x0b5\r\n"),
        with("a length above 64 bits", "Content-Length: 18446744073709551616\r\n"),
        with("a coding that is not chunked", "Transfer-Encoding: gzip\r\n"),
        with("chunked before another coding", "Transfer-Encoding: chunked, gzip\r\n"),
        with("chunked twice in one field", "Transfer-Encoding: chunked, chunked\r\n"),
        with("a coding that only looks like chunked", "Transfer-Encoding: xchunked\r\n"),
        with("chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n"),
        with("chunked after a vertical tab", "Transfer-Encoding: \x0bchunked\r\n"),
        with("an empty coding", "Transfer-Encoding:\r\n"),
        with("chunked and identity, in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        with("chunked after another coding", "Transfer-Encoding: gzip, chunked\r\n"),
        with("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        with("an unknown coding and a length", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n"),
        bad("a coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").then(Step::Close),
        // RFC 9110 section 8.6 lets a recipient take the same number, given twice, for one.
        row("the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello").got(
            200,
            &["content-length: 5"],
            "hello",
        ),
        row("the same length in a list", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello").got(
            200,
            &["content-length: 5"],
            "hello",
        ),
        // RFC 9112 section 6.3: the coding wins, and the length goes no further.
        row("both framings", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").got(
            200,
            &["transfer-encoding: chunked"],
            "hello",
        ),
    ]
}

/// The head is good and may be on its way: all that is left is to break off.
fn chunks() -> Vec<Row> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
    let broken = |name, bytes: &str| row(name, format!("{head}{bytes}0\r\n\r\n")).aborted();
    vec![
        broken("a chunk size of words", "x\r\ny\r\n"),
        broken("a chunk size with a sign", "+1\r\ny\r\n"),
        broken("a negative chunk size", "-1\r\ny\r\n"),
        broken("a chunk size with 0x", "0x1\r\ny\r\n"),
        broken("no chunk size", "\r\ny\r\n"),
        broken("a chunk size that overflows 64 bits", "10000000000000001\r\ny\r\n"),
        broken("a chunk that is longer than its size", "1\r\nyy\r\n"),
        broken("a chunk that is shorter than its size", "3\r\ny\r\n"),
        broken("a chunk size after white space", " 1\r\ny\r\n"),
        broken("a chunk size with an underscore", "1_0\r\ny\r\n"),
        broken("a bare LF after the size", "1\ny\r\n"),
        broken("a bare LF after the chunk", "1\r\ny\n"),
        broken("a bare CR after the size", "1\ry\r\n"),
        broken("a bare CR in an extension", "1;a\rb\r\ny\r\n"),
        broken("a bare LF in an extension", "1;a\nb\r\ny\r\n"),
        broken("a NUL in an extension", "1;a\0b\r\ny\r\n"),
        broken("only an extension", ";a\r\ny\r\n"),
        broken("a folded trailer", "0\r\nX: y\r\n z\r\n\r\n"),
        broken("a trailer that is none", "0\r\nHTTP/1.1 200 OK\r\n\r\n"),
        broken("a chunk size without an end", &"0".repeat(200_000)),
        broken("trailers above 64 KiB", &format!("0\r\nX: {}", "v".repeat(200_000))),
    ]
}

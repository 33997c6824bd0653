//! Requests that two readers could understand differently. Whatever is hidden in them never becomes a request.

use super::{Row, row};

/// What an attacker would like to see processed.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

pub fn rows() -> Vec<Row> {
    let mut rows = framing();
    rows.extend(chunks());
    rows
}

fn framing() -> Vec<Row> {
    let refused = |name, lines: &str, status| {
        row(name, format!("POST /s HTTP/1.1\r\nHost: a\r\n{lines}\r\n0\r\n\r\n{HIDDEN}")).refused(status)
    };
    vec![
        refused("both framings, the length first", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        refused("both framings, the coding first", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        refused("both framings, of nothing", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", 400),
        refused("two lengths that differ", "Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        refused("the same length twice", "Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        refused("a list of lengths", "Content-Length: 5, 5\r\n", 400),
        refused("a length with a sign", "Content-Length: +5\r\n", 400),
        refused("a negative length", "Content-Length: -5\r\n", 400),
        refused("a hexadecimal length", "Content-Length: 0x5\r\n", 400),
        refused("a length with a fraction", "Content-Length: 5.0\r\n", 400),
        refused("an empty length", "Content-Length:\r\n", 400),
        refused("a length of words", "Content-Length: five\r\n", 400),
        refused("a length with a space inside", "Content-Length: 5 5\r\n", 400),
        refused("an octal length", "Content-Length: 0o5\r\n", 400),
        refused("a length with an underscore", "Content-Length: 1_0\r\n", 400),
        refused("a length of minus nothing", "Content-Length: -0\r\n", 400),
        refused("a length before a comma", "Content-Length: 5,\r\n", 400),
        refused("a length after a comma", "Content-Length: ,5\r\n", 400),
        refused("a length with an exponent", "Content-Length: 5e0\r\n", 400),
        refused("a length after a form feed", "Content-Length: \x0c5\r\n", 400),
        refused("a length before a NUL", "Content-Length: 5\0\r\n", 400),
        refused("a length above 64 bits", "Content-Length: 18446744073709551616\r\n", 400),
        refused("a length in other digits", "Content-Length: \u{661}\r\n", 400),
        refused("white space before the length's colon", "Content-Length : 5\r\n", 400),
        refused("a folded length", "Content-Length:\r\n 5\r\n", 400),
        refused("a coding that is not chunked", "Transfer-Encoding: gzip\r\n", 400),
        refused("chunked after another coding", "Transfer-Encoding: gzip, chunked\r\n", 501),
        refused("chunked before another coding", "Transfer-Encoding: chunked, gzip\r\n", 400),
        refused("chunked twice", "Transfer-Encoding: chunked, chunked\r\n", 400),
        refused("chunked twice, in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        refused("chunked and identity, in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400),
        refused("identity", "Transfer-Encoding: identity\r\n", 400),
        refused("an empty coding", "Transfer-Encoding:\r\n", 400),
        refused("a coding that only looks like chunked", "Transfer-Encoding: xchunked\r\n", 400),
        refused("chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n", 400),
        refused("chunked in quotation marks", "Transfer-Encoding: \"chunked\"\r\n", 400),
        refused("chunked after a vertical tab", "Transfer-Encoding: \x0bchunked\r\n", 400),
        refused("chunked after a form feed", "Transfer-Encoding: \x0cchunked\r\n", 400),
        refused("chunked before a NUL", "Transfer-Encoding: chunked\0\r\n", 400),
        refused("chunked before a comma", "Transfer-Encoding: chunked,\r\n", 400),
        refused("chunked after a comma", "Transfer-Encoding: , chunked\r\n", 501),
        refused("chunked, another coding, chunked", "Transfer-Encoding: chunked, gzip, chunked\r\n", 400),
        refused("half of chunked", "Transfer-Encoding: chunk\r\n", 400),
        refused("chunked and more, without a comma", "Transfer-Encoding: chunked gzip\r\n", 400),
        refused("white space before the coding's colon", "Transfer-Encoding : chunked\r\n", 400),
        refused("a folded coding", "Transfer-Encoding:\r\n chunked\r\n", 400),
        refused("a coding after a bare CR", "X: y\rTransfer-Encoding: chunked\r\n", 400),
        refused("a coding after a bare LF", "X: y\nTransfer-Encoding: chunked\r\n", 400),
        row("a coding in HTTP/1.0", format!("POST /s HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"))
            .refused(400),
        row("an underscore does not make a framing field, and whoever takes it for one does not see it", format!("POST /s HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n\r\n{HIDDEN}"))
            .seen("POST /s", &["content-length: 0"], "")
            .seen("GET /hidden", &[], ""),
        row("a request in a counted body is a body", format!("POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()))
            .seen("POST /s", &[&format!("content-length: {}", HIDDEN.len())], HIDDEN),
        row("a request in the body of a GET is a body", format!("GET /s HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()))
            .seen("GET /s", &[&format!("content-length: {}", HIDDEN.len())], HIDDEN),
        row("a request in the body of a refused request", format!("POST * HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()))
            .refused(400),
        row("a byte after a length of nothing begins the next request", "POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n@GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n")
            .seen("POST /s", &["content-length: 0"], "")
            .refused(400),
        row("a request after TRACE", format!("TRACE /s HTTP/1.1\r\nHost: a\r\n\r\n{HIDDEN}")).refused(501),
        row("a request after CONNECT", format!("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n{HIDDEN}")).refused(501),
        row("a request in a refused body, in chunks", format!("POST x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"))
            .refused(400),
        row("a good request before a bad one gets its response", format!("GET /s HTTP/1.1\r\nHost: a\r\n\r\nGET /t HTTP/1.1\r\n\r\n{HIDDEN}"))
            .seen("GET /s", &[], "")
            .refused(400),
    ]
}

/// The head is good, the body is not: the request may have begun to reach the upstream, which must see that
/// it was cut.
fn chunks() -> Vec<Row> {
    let refused = |name, bytes: &str| {
        let head = "POST /s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        row(name, format!("{head}1\r\nx\r\n{bytes}0\r\n\r\n{HIDDEN}")).truncated().refused(400)
    };
    let long = format!("1;{}\r\ny\r\n", "e".repeat(5000));
    vec![
        refused("a chunk size with a sign", "+1\r\ny\r\n"),
        refused("a negative chunk size", "-1\r\ny\r\n"),
        refused("a chunk size with 0x", "0x1\r\ny\r\n"),
        refused("a chunk size with an underscore", "1_0\r\ny\r\n"),
        refused("a chunk size after white space", " 1\r\ny\r\n"),
        refused("a chunk size before white space", "1 \r\ny\r\n"),
        refused("no chunk size", "\r\ny\r\n"),
        refused("only an extension", ";a\r\ny\r\n"),
        refused("a chunk size that overflows 64 bits", "10000000000000001\r\ny\r\n"),
        refused("a chunk that is longer than its size", "1\r\nyy\r\n"),
        refused("a chunk that is shorter than its size", "3\r\ny\r\n"),
        refused("a bare LF after the size", "1\ny\r\n"),
        refused("a bare LF after the chunk", "1\r\ny\n"),
        refused("a bare CR after the size", "1\ry\r\n"),
        refused("a bare CR in an extension", "1;a\rb\r\ny\r\n"),
        refused("a bare LF in an extension", "1;a\nb\r\ny\r\n"),
        refused("a NUL in an extension", "1;a\0b\r\ny\r\n"),
        refused("an extension of 5,000 bytes", &long),
        refused("a bare LF in place of the last line", "0\r\n\nx\r\n"),
        refused("a bare LF after the last size", "0\nX: y\r\n"),
        refused("a bare CR in a trailer", "0\r\nX: y\rz\r\n\r\n"),
        refused("a vertical tab after the size", "1\x0b\r\ny\r\n"),
        refused("a size in other digits", "\u{661}\r\ny\r\n"),
        refused("a size of words", "one\r\ny\r\n"),
        refused("a size with a comma", "1,1\r\ny\r\n"),
        refused("a sign before the last size", "+0\r\n\r\n"),
        refused("a chunk without its line end", "1\r\ny"),
        refused("a trailer that is none", "0\r\nGET / HTTP/1.1\r\n\r\n"),
        refused("a trailer with white space before its colon", "0\r\nX : y\r\n\r\n"),
        refused("a folded trailer", "0\r\nX: y\r\n z\r\n\r\n"),
        refused(
            "trailers above 64 KiB",
            &format!("0\r\n{}\r\n", format!("X: {}\r\n", "v".repeat(1000)).repeat(70)),
        ),
    ]
}

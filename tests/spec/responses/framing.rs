//! Where a response ends.

use super::{Row, row};
use crate::sim::Step;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

pub fn rows() -> Vec<Row> {
    let mut rows = without_a_body();
    rows.extend(with_a_body());
    rows.extend(chunked());
    rows.extend(interim());
    rows
}

fn without_a_body() -> Vec<Row> {
    vec![
        row("204", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n").got(204, &["x-a: 1"], ""),
        // RFC 9110 section 8.6: a server must not send it, and it confuses clients.
        row("204 with a length, which means nothing", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
            .got(204, &[], ""),
        row(
            "204 with chunks announced, which means nothing",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .got(204, &[], ""),
        row(
            "204 with a body that must not be there",
            "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nbad",
        )
        .got(204, &[], ""),
        row(
            "304 with the length of what was not modified",
            "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nContent-Length: 1234\r\n\r\n",
        )
        .got(304, &["content-length: 1234", "etag: \"e\""], ""),
        row(
            "204 with chunks that must not be there",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        )
        .got(204, &[], ""),
        row("HEAD with chunks that must not be there", format!("{CHUNKED}2\r\nhi\r\n0\r\n\r\n"))
            .of("HEAD")
            .got(200, &[], ""),
        row("304 without a length", "HTTP/1.1 304 Not Modified\r\n\r\n").got(304, &[], ""),
        row("HEAD with the length of what was not sent", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
            .of("HEAD")
            .got(200, &["content-length: 1234"], ""),
        row("HEAD with chunks announced", CHUNKED).of("HEAD").got(200, &[], ""),
        row("HEAD without any framing", "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n").of("HEAD").got(
            200,
            &["x-a: 1"],
            "",
        ),
        row("HEAD with an error", "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n").of("HEAD").got(
            404,
            &["content-length: 9"],
            "",
        ),
        row("HEAD with a body that must not be there", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
            .of("HEAD")
            .got(200, &["content-length: 3"], ""),
        row(
            "a head whose lines end in LF alone, which clients have always read",
            "HTTP/1.1 200 OK\nX-A: 1\nContent-Length: 2\n\nhi",
        )
        .got(200, &["content-length: 2", "x-a: 1"], "hi"),
        // RFC 9112 section 5.1: a proxy removes it.
        row(
            "white space before the colon of a field and of the length",
            "HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length\t : 2\r\n\r\nhi",
        )
        .got(200, &["content-length: 2", "x-a: 1"], "hi"),
        row("a length of nothing", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").got(
            200,
            &["content-length: 0"],
            "",
        ),
    ]
}

fn with_a_body() -> Vec<Row> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let large = "x".repeat(300_000);
    let every = [&b"HTTP/1.1 200 OK\r\nContent-Length: 256\r\n\r\n"[..], &every_byte].concat();
    vec![
        row("every byte there is", every).got(200, &["content-length: 256"], &every_byte),
        row("300,000 bytes", format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{large}")).got(200, &["content-length: 300000"], &large),
        row("leading zeros of a length", "HTTP/1.1 200 OK\r\nContent-Length: 0002\r\n\r\nhi").got(200, &["content-length: 2"], "hi"),
        row("the head alone, then the body", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").and("bo").and("dy").got(200, &["content-length: 4"], "body"),
        row("the head in pieces", "HTT").and("P/1.1 200 O").and("K\r\nContent-Le").and("ngth: 2\r\n\r").and("\nhi").got(200, &["content-length: 2"], "hi"),
        row("a body of a POST", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").of("POST").got(200, &["content-length: 2"], "hi"),
        row("no framing: the end of the connection", "HTTP/1.1 200 OK\r\n\r\nhello").then(Step::Close).got(200, &["transfer-encoding: chunked"], "hello"),
        row("no framing and no body", "HTTP/1.1 200 OK\r\n\r\n").then(Step::Close).got(200, &["transfer-encoding: chunked"], ""),
        row("no framing, the body later", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").and("hel").and("lo").then(Step::Close).got(200, &["transfer-encoding: chunked"], "hello"),
        row("no framing, 300,000 bytes", format!("HTTP/1.1 200 OK\r\n\r\n{large}")).then(Step::Close).got(200, &["transfer-encoding: chunked"], &large),
        row("HTTP/1.0 with a length", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi").then(Step::Close).got(200, &["content-length: 2"], "hi"),
        row("HTTP/1.0 without a length", "HTTP/1.0 200 OK\r\n\r\nhi").then(Step::Close).got(200, &["transfer-encoding: chunked"], "hi"),
        row("HTTP/1.0 that keeps the connection", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi").got(200, &["content-length: 2"], "hi"),
        row("bytes after the body are nobody's response", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison").got(200, &["content-length: 2"], "hi"),
        row("bytes after the body, a little later", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").and("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison").then(Step::KeepAlive).got(200, &["content-length: 2"], "hi"),
        row("a line end after the body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\r\n").got(200, &["content-length: 2"], "hi"),
        row("a body after a length of nothing", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\npoison").got(200, &["content-length: 0"], ""),
        row("bytes after a response without a body", "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison").got(304, &[], ""),
    ]
}

fn chunked() -> Vec<Row> {
    let chunks = |name, bytes: &str, body: &str| {
        row(name, format!("{CHUNKED}{bytes}")).got(200, &["transfer-encoding: chunked"], body)
    };
    let tiny: String = "abcdefghij".repeat(100).chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let large = "y".repeat(100_000);
    vec![
        chunks("one chunk", "4\r\nbody\r\n0\r\n\r\n", "body"),
        chunks("no chunk at all", "0\r\n\r\n", ""),
        chunks("a thousand chunks of one byte", &format!("{tiny}0\r\n\r\n"), &"abcdefghij".repeat(100)),
        chunks("one chunk of 100,000 bytes", &format!("186a0\r\n{large}\r\n0\r\n\r\n"), &large),
        chunks(
            "sizes in either case, with leading zeros",
            "A\r\n0123456789\r\n0000a\r\n0123456789\r\n000\r\n\r\n",
            "01234567890123456789",
        ),
        chunks("short extensions", "4;a=b\r\nbody\r\n0;z\r\n\r\n", "body"),
        chunks("long extensions", &format!("4;name=\"{}\"\r\nbody\r\n0\r\n\r\n", "v".repeat(500)), "body"),
        chunks("a size with sixteen digits", "0000000000000004\r\nbody\r\n0\r\n\r\n", "body"),
        chunks("trailers are not forwarded", "4\r\nbody\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n", "body"),
        chunks("line ends within chunks are data", "8\r\n\r\n0\r\n\r\nx\r\n0\r\n\r\n", "\r\n0\r\n\r\nx"),
        chunks(
            "bytes after the last chunk are nobody's response",
            "2\r\nhi\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
            "hi",
        ),
        row("a chunk in pieces", CHUNKED)
            .and("4")
            .and("\r")
            .and("\nbo")
            .and("dy\r")
            .and("\n0\r\n")
            .and("\r")
            .and("\n")
            .then(Step::KeepAlive)
            .got(200, &["transfer-encoding: chunked"], "body"),
        row(
            "the coding in other case",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        )
        .got(200, &["transfer-encoding: chunked"], "hi"),
        row("chunks, then the end of the connection", format!("{CHUNKED}2\r\nhi\r\n0\r\n\r\n"))
            .then(Step::Close)
            .got(200, &["transfer-encoding: chunked"], "hi"),
        row("chunks of an error", "HTTP/1.1 429 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
            .got(429, &["transfer-encoding: chunked"], "hi"),
    ]
}

/// 1xx responses end at us: we never ask for 100, and no SDK knows what to do with 103.
fn interim() -> Vec<Row> {
    let then = |name, interim: &str| {
        row(name, format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")).got(
            200,
            &["content-length: 2"],
            "hi",
        )
    };
    vec![
        then("100 before the response", "HTTP/1.1 100 Continue\r\n\r\n"),
        then("100 of a POST", "HTTP/1.1 100 Continue\r\n\r\n").of("POST"),
        then(
            "100 with fields",
            "HTTP/1.1 100 Continue\r\nDate: Mon, 23 Nov 2026 22:00:00 GMT\r\nServer: x\r\n\r\n",
        ),
        then("102", "HTTP/1.1 102 Processing\r\n\r\n"),
        then("103 with hints", "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"),
        then(
            "several of them",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
        ),
        row("one in a write of its own", "HTTP/1.1 100 Continue\r\n\r\n")
            .and("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            .got(200, &["content-length: 2"], "hi"),
        row("one in pieces", "HTTP/1.1 1")
            .and("00 Continue\r\nX: y\r")
            .and("\n\r\nHTTP/1.1 204 X\r\n\r\n")
            .got(204, &[], ""),
        row(
            "a response to HEAD after one",
            "HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        )
        .of("HEAD")
        .got(200, &["content-length: 9"], ""),
        row("one, and then the end", "HTTP/1.1 100 Continue\r\n\r\n")
            .then(Step::Close)
            .bad_gateway("upstream_closed"),
    ]
}

//! Bodies: of any method, counted or in chunks, asked for or not.

use super::{Row, row};

pub fn rows() -> Vec<Row> {
    let mut rows = counted();
    rows.extend(chunked());
    rows.extend(expectations());
    rows.extend(truncated());
    rows
}

fn counted() -> Vec<Row> {
    let with = |name, method: &str| {
        row(name, format!("{method} /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")).seen(
            &format!("{method} /b"),
            &["content-length: 4"],
            "body",
        )
    };
    let every_byte: Vec<u8> = (0..=255).collect();
    let head = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 256\r\n\r\n";
    let large = "x".repeat(300_000);
    vec![
        with("a POST with a body", "POST"),
        with("a PUT with a body", "PUT"),
        with("a GET with a body", "GET"),
        with("a HEAD with a body", "HEAD"),
        with("a DELETE with a body", "DELETE"),
        with("an OPTIONS with a body", "OPTIONS"),
        with("a body of a method that nobody knows", "FOO"),
        row(
            "white space around a length does not reach the upstream",
            "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length:\t4 \t\r\n\r\nbody",
        )
        .seen("POST /b", &["content-length: 4"], "body"),
        row(
            "a range of a POST is the upstream's business",
            "POST /b HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nContent-Length: 4\r\n\r\nbody",
        )
        .seen("POST /b", &["content-length: 4", "range: bytes=0-1"], "body"),
        row(
            "two types of one body are the upstream's business",
            "POST /b HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 4\r\n\r\nbody",
        )
        .seen("POST /b", &["content-length: 4", "content-type: a/b", "content-type: c/d"], "body"),
        row("every byte there is", [&head[..], &every_byte].concat()).seen(
            "POST /b",
            &["content-length: 256"],
            &every_byte,
        ),
        row("a length of nothing, of a GET", "GET /b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").seen(
            "GET /b",
            &["content-length: 0"],
            "",
        ),
        row("a length of nothing, of a POST", "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            .seen("POST /b", &["content-length: 0"], ""),
        row(
            "leading zeros of a length do not reach the upstream",
            "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 0004\r\n\r\nbody",
        )
        .seen("POST /b", &["content-length: 4"], "body"),
        row(
            "a body of 300,000 bytes",
            format!("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n{large}"),
        )
        .seen("POST /b", &["content-length: 300000"], &large),
        row("a body byte by byte", "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
            .byte_by_byte()
            .seen("POST /b", &["content-length: 4"], "body"),
    ]
}

fn chunked() -> Vec<Row> {
    let chunks = |name, method: &str, bytes: &str, body: &str| {
        row(name, format!("{method} /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{bytes}"))
            .seen(&format!("{method} /b"), &["transfer-encoding: chunked"], body)
    };
    let tiny: String = "abcdefghij".repeat(100).chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    vec![
        chunks("one chunk", "POST", "4\r\nbody\r\n0\r\n\r\n", "body"),
        chunks("no chunk at all", "POST", "0\r\n\r\n", ""),
        chunks("chunks of a GET", "GET", "4\r\nbody\r\n0\r\n\r\n", "body"),
        chunks("chunks of a method that nobody knows", "FOO", "4\r\nbody\r\n0\r\n\r\n", "body"),
        chunks(
            "sizes in either case, with leading zeros",
            "POST",
            "A\r\n0123456789\r\n0000a\r\n0123456789\r\n000\r\n\r\n",
            "01234567890123456789",
        ),
        chunks(
            "chunk extensions are not forwarded",
            "POST",
            "4;a=b;c=\"d e\"\r\nbody\r\n0;z\r\n\r\n",
            "body",
        ),
        chunks("an extension with white space around it", "POST", "4 ; a\r\nbody\r\n0\r\n\r\n", "body"),
        chunks("trailers are not forwarded", "POST", "4\r\nbody\r\n0\r\nX-T: 1\r\nX-U:\r\n\r\n", "body"),
        chunks(
            "a trailer that would be a credential stays behind",
            "POST",
            "4\r\nbody\r\n0\r\nAuthorization: Bearer x\r\nHost: b\r\n\r\n",
            "body",
        ),
        chunks(
            "a trailer that would be framing stays behind",
            "POST",
            "4\r\nbody\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: gzip\r\n\r\n",
            "body",
        ),
        chunks(
            "a thousand chunks of one byte",
            "POST",
            &format!("{tiny}0\r\n\r\n"),
            &"abcdefghij".repeat(100),
        ),
        chunks(
            "line ends within chunks are data",
            "POST",
            "8\r\n\r\n0\r\n\r\nx\r\n0\r\n\r\n",
            "\r\n0\r\n\r\nx",
        ),
        chunks("chunks byte by byte", "POST", "4;e\r\nbody\r\n0\r\nT: 1\r\n\r\n", "body").byte_by_byte(),
        row(
            "the coding in other case",
            "POST /b HTTP/1.1\r\nHost: a\r\ntransfer-encoding:  Chunked \r\n\r\n1\r\nx\r\n0\r\n\r\n",
        )
        .seen("POST /b", &["transfer-encoding: chunked"], "x"),
        row(
            "a tab before the coding",
            "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        )
        .seen("POST /b", &["transfer-encoding: chunked"], "x"),
    ]
}

fn expectations() -> Vec<Row> {
    let head = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    vec![
        row("a client that waits for 100 Continue gets it", head).after_continue("body").seen(
            "POST /b",
            &["content-length: 4"],
            "body",
        ),
        row(
            "so does one that sends chunks",
            "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n",
        )
        .after_continue("4\r\nbody\r\n0\r\n\r\n")
        .seen("POST /b", &["transfer-encoding: chunked"], "body"),
        row("a client that does not wait gets none", format!("{head}body")).seen(
            "POST /b",
            &["content-length: 4"],
            "body",
        ),
        row(
            "without a body there is nothing to wait for",
            "GET /b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        )
        .seen("GET /b", &[], ""),
        row(
            "an expectation that nobody knows is ignored, as nginx does",
            "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 200-ok\r\n\r\nbody",
        )
        .seen("POST /b", &["content-length: 4"], "body"),
        row(
            "a request that is refused at once gets no 100 Continue, and its body is not waited for",
            "POST /b#c HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        )
        .refused(400),
        row(
            "the body of a request that is refused at once is no request",
            "POST /b#c HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .responds(400)
        .seen("GET /b", &[], ""),
        row(
            "HTTP/1.0 knows no 100 Continue",
            "POST /b HTTP/1.0\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
        )
        .seen("POST /b", &["content-length: 4"], "body")
        .closed(),
    ]
}

/// The upstream must never take what it got for the whole.
fn truncated() -> Vec<Row> {
    vec![
        row(
            "the client ends in the middle of a counted body",
            "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345",
        )
        .then_fin()
        .truncated()
        .closed(),
        row(
            "the client ends in the middle of a chunk",
            "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n12345",
        )
        .then_fin()
        .truncated()
        .closed(),
        row(
            "the client ends between two chunks",
            "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        )
        .then_fin()
        .truncated()
        .closed(),
        row(
            "the client ends before the last empty line",
            "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n",
        )
        .then_fin()
        .truncated()
        .closed(),
        row(
            "a length that nobody can send",
            "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n12345",
        )
        .then_fin()
        .truncated()
        .closed(),
    ]
}

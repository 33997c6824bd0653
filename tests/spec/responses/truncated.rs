//! Responses that end too early. Not one of them may look complete.

use super::{Row, row};
use crate::sim::Step;

const COUNTED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n";

pub fn rows() -> Vec<Row> {
    let mut rows = before_the_body();
    for (name, end) in [
        ("(in order)", Step::Close),
        ("(without close_notify)", Step::CloseWithoutNotify),
        ("(reset)", Step::Reset),
    ] {
        let row = |what, bytes: String| {
            let name: &'static str = Box::leak(format!("{what} {name}").into_boxed_str());
            row(name, bytes).then(end.clone()).aborted()
        };
        rows.extend([
            row("a counted body ends in the middle", format!("{COUNTED}12345")),
            row("a counted body ends before its last byte", format!("{COUNTED}123456789")),
            row("chunks end in the middle of one", format!("{CHUNKED}a\r\n12345")),
            row("chunks end after one", format!("{CHUNKED}5\r\n12345\r\n")),
            row("chunks end in a size", format!("{CHUNKED}5\r\n12345\r\n1")),
            row("chunks end in the last size", format!("{CHUNKED}5\r\n12345\r\n0")),
            row("chunks end before the last empty line", format!("{CHUNKED}5\r\n12345\r\n0\r\n")),
            row("chunks end in the trailers", format!("{CHUNKED}5\r\n12345\r\n0\r\nX: y\r\n")),
        ]);
    }
    rows.extend(until_close());
    rows
}

/// Nothing has reached the client yet, so an error can still be sent. POST where not a byte had come back: a GET on a pooled
/// connection would be tried again.
fn before_the_body() -> Vec<Row> {
    vec![
        row("no response, in order", "").of("POST").then(Step::Close).bad_gateway("upstream_closed"),
        row("no response, without close_notify", "")
            .of("POST")
            .then(Step::CloseWithoutNotify)
            .bad_gateway("upstream_closed"),
        row("no response, a reset", "").of("POST").then(Step::Reset).bad_gateway("upstream_closed"),
        row("the end in the status line", "HTTP/1.1 20").then(Step::Close).bad_gateway("upstream_closed"),
        row("the end in the head", "HTTP/1.1 200 OK\r\nContent-Le")
            .then(Step::Close)
            .bad_gateway("upstream_closed"),
        row("a reset in the head", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")
            .then(Step::Reset)
            .bad_gateway("upstream_closed"),
        row("the end in the last empty line", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r")
            .then(Step::Close)
            .bad_gateway("upstream_closed"),
        row("a counted body that never begins", COUNTED).then(Step::Close).aborted(),
        row("a counted body that never begins, reset", COUNTED).then(Step::Reset).aborted(),
        row("chunks that never begin", CHUNKED).then(Step::Close).aborted(),
        row("chunks that never begin, reset", CHUNKED).then(Step::Reset).aborted(),
    ]
}

/// Without framing, a proper end is the only sign of the end.
fn until_close() -> Vec<Row> {
    vec![
        row("no framing, reset", format!("{UNTIL_CLOSE}12345")).then(Step::Reset).aborted(),
        row("no framing, reset before the body", UNTIL_CLOSE).then(Step::Reset).aborted(),
        row("no framing, TLS without close_notify", format!("{UNTIL_CLOSE}12345"))
            .then(Step::CloseWithoutNotify)
            .with_tls(true)
            .aborted(),
        row("no framing and no body, TLS without close_notify", UNTIL_CLOSE)
            .then(Step::CloseWithoutNotify)
            .with_tls(true)
            .aborted(),
        // Without TLS a FIN is all there is: nobody can see the difference.
        row("no framing, plain, an end like any other", format!("{UNTIL_CLOSE}12345"))
            .then(Step::CloseWithoutNotify)
            .with_tls(false)
            .got(200, &["transfer-encoding: chunked"], "12345"),
        row("HTTP/1.0, reset", "HTTP/1.0 200 OK\r\n\r\n12345").then(Step::Reset).aborted(),
        row(
            "a counted body needs no proper end after it",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345",
        )
        .then(Step::CloseWithoutNotify)
        .got(200, &["content-length: 5"], "12345"),
        row("chunks need no proper end after them", format!("{CHUNKED}5\r\n12345\r\n0\r\n\r\n"))
            .then(Step::CloseWithoutNotify)
            .got(200, &["transfer-encoding: chunked"], "12345"),
    ]
}

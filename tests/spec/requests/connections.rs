//! Connections: kept or closed, one request after the other, HTTP/1.0.

use super::{Row, row};

pub fn rows() -> Vec<Row> {
    let get = "GET /c HTTP/1.1\r\nHost: a\r\n";
    vec![
        row("HTTP/1.1 keeps the connection", format!("{get}\r\n")).seen("GET /c", &[], ""),
        row("Connection: close", format!("{get}Connection: close\r\n\r\n")).seen("GET /c", &[], "").closed(),
        row("close among other options, in other case", format!("{get}Connection: x-a, CLOSE\r\n\r\n"))
            .seen("GET /c", &[], "")
            .closed(),
        row("close wins over keep-alive", format!("{get}Connection: keep-alive, close\r\n\r\n"))
            .seen("GET /c", &[], "")
            .closed(),
        row("close in a second field", format!("{get}Connection: keep-alive\r\nConnection: close\r\n\r\n"))
            .seen("GET /c", &[], "")
            .closed(),
        row("HTTP/1.0 closes", "GET /c HTTP/1.0\r\n\r\n").seen("GET /c", &[], "").closed(),
        row("HTTP/1.0 with a Host", "GET /c HTTP/1.0\r\nHost: a\r\n\r\n").seen("GET /c", &[], "").closed(),
        row("HTTP/1.0 with keep-alive", "GET /c HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").seen("GET /c", &[], ""),
        row("HTTP/1.0 with keep-alive and a body", "POST /c HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nbody")
            .seen("POST /c", &["content-length: 4"], "body"),
        row("HTTP/1.0 without a length has no body", "POST /c HTTP/1.0\r\n\r\n").seen(
            "POST /c",
            &["content-length: 0"],
            "",
        )
        .closed(),
        row("an empty line in front", format!("\r\n{get}\r\n")).seen("GET /c", &[], ""),
        row("three empty lines in front", format!("\r\n\r\n\r\n{get}\r\n")).seen("GET /c", &[], ""),
        row("an empty line after a body, as old clients send", format!("POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\n{get}\r\n"))
            .seen("POST /c", &["content-length: 1"], "x")
            .seen("GET /c", &[], ""),
        row("a head byte by byte", format!("{get}X-A: b\r\n\r\n")).byte_by_byte().seen("GET /c", &["x-a: b"], ""),
        row("two requests at once", format!("{get}X: 1\r\n\r\nGET /d HTTP/1.1\r\nHost: a\r\nX: 2\r\n\r\n"))
            .seen("GET /c", &["x: 1"], "")
            .seen("GET /d", &["x: 2"], ""),
        row("two requests byte by byte", format!("{get}\r\n{get}\r\n"))
            .byte_by_byte()
            .seen("GET /c", &[], "")
            .seen("GET /c", &[], ""),
        row("five requests at once get their responses in order", (1..=5).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n")).collect::<String>())
            .seen("GET /1", &[], "")
            .seen("GET /2", &[], "")
            .seen("GET /3", &[], "")
            .seen("GET /4", &[], "")
            .seen("GET /5", &[], ""),
        row("bodies between pipelined requests", "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\noneHEAD /2 HTTP/1.1\r\nHost: a\r\n\r\nPUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n")
            .seen("POST /1", &["content-length: 3"], "one")
            .seen("HEAD /2", &[], "")
            .seen("PUT /3", &["transfer-encoding: chunked"], "three")
            .seen("GET /4", &[], ""),
        row("nothing after Connection: close is a request", format!("{get}Connection: close\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"))
            .seen("GET /c", &[], "")
            .closed(),
        row("nothing after HTTP/1.0 is a request", "GET /c HTTP/1.0\r\n\r\nGET /hidden HTTP/1.0\r\n\r\n")
            .seen("GET /c", &[], "")
            .closed(),
        row("our own health between requests of others", format!("{get}\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n{get}\r\n"))
            .seen("GET /c", &[], "")
            .responds(200)
            .seen("GET /c", &[], ""),
        row("a query does not hide the health path", "GET /health?x=1 HTTP/1.1\r\nHost: a\r\n\r\n").responds(200),
        row("other methods of the health path are the upstream's", "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            .seen("POST /health", &["content-length: 1"], "x"),
        row("health with a body does not upset the next request", format!("GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello{get}\r\n"))
            .responds(200)
            .seen("GET /c", &[], ""),
        row("the client leaves without a word", "").then_fin().closed(),
        row("the client leaves in the middle of the head", "GET /c HT").then_fin().closed(),
    ]
}

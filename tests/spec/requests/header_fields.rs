//! Header fields: what is forwarded, what is removed, what is replaced.

use super::{Row, row};

/// A GET with these lines, and what the upstream sees of them.
fn get(name: &'static str, lines: &str, seen: &[&str]) -> Row {
    row(name, format!("GET /h HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).seen("GET /h", seen, "")
}

pub fn rows() -> Vec<Row> {
    let mut rows = passing();
    rows.extend(removed());
    rows.extend(limits());
    rows
}

fn passing() -> Vec<Row> {
    vec![
        get("a custom field", "X-Custom: value\r\n", &["x-custom: value"]),
        get(
            "what SDKs send",
            "User-Agent: OpenAI/Python 1.0\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\n",
            &["accept: */*", "accept-encoding: gzip, br", "user-agent: OpenAI/Python 1.0"],
        ),
        get("nothing is invented: no User-Agent, no Accept, no Via, no X-Forwarded-For", "", &[]),
        get(
            "fields that other proxies wrote stay",
            "Via: 1.1 x\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n",
            &["forwarded: for=1.2.3.4", "via: 1.1 x", "x-forwarded-for: 1.2.3.4"],
        ),
        get(
            "duplicates stay, in order",
            "X-A: 2\r\nX-B: b\r\nX-A: 1\r\nx-a: 3\r\n",
            &["x-a: 2", "x-a: 1", "x-a: 3", "x-b: b"],
        ),
        get(
            "cookies are the client's business",
            "Cookie: a=1; b=2\r\nCookie: c=3\r\n",
            &["cookie: a=1; b=2", "cookie: c=3"],
        ),
        get("empty values stay", "X-Empty:\r\nX-Blank:   \r\n", &["x-blank: ", "x-empty: "]),
        get("white space around a value goes, within it stays", "X-A: \t a \t b  \t\r\n", &["x-a: a \t b"]),
        get("no white space after the colon", "X-A:b\r\n", &["x-a: b"]),
        get("colons and commas in a value", "X-A: b:c,d;e=\"f, g\"\r\n", &["x-a: b:c,d;e=\"f, g\""]),
        get(
            "every character that a field name may have",
            "!#$%&'*+-.^_`|~09azAZ: 1\r\n",
            &["!#$%&'*+-.^_`|~09azaz: 1"],
        ),
        row("bytes above 0x7f in a value", b"GET /h HTTP/1.1\r\nHost: a\r\nX-A: caf\xe9 \xff\x80\r\n\r\n")
            .seen("GET /h", &["x-a: caf\u{e9} \u{ff}\u{80}"], ""),
        row("UTF-8 in a value", "GET /h HTTP/1.1\r\nHost: a\r\nX-A: \u{20ac}\r\n\r\n").seen(
            "GET /h",
            &["x-a: \u{e2}\u{82}\u{ac}"],
            "",
        ),
        get(
            "a value of 60,000 bytes",
            &format!("X-A: {}\r\n", "v".repeat(60_000)),
            &[&format!("x-a: {}", "v".repeat(60_000))],
        ),
        get(
            "a range, a condition and a date",
            "Range: bytes=0-1\r\nIf-None-Match: \"x\"\r\nIf-Modified-Since: Mon, 23 Nov 2026 22:00:00 GMT\r\n",
            &["if-modified-since: Mon, 23 Nov 2026 22:00:00 GMT", "if-none-match: \"x\"", "range: bytes=0-1"],
        ),
        get("Max-Forwards is for those who speak TRACE", "Max-Forwards: 0\r\n", &["max-forwards: 0"]),
        get(
            "an origin that is allowed, and what preflights alone mean",
            "Origin: https://app.test\r\nAccess-Control-Request-Method: POST\r\n",
            &["access-control-request-method: POST", "origin: https://app.test"],
        ),
    ]
}

fn removed() -> Vec<Row> {
    vec![
        get("the client's bearer token", "Authorization: Bearer client\r\nAuthorization: Basic x\r\n", &[]),
        get("the client's keys", "api-key: K\r\nX-API-Key: K\r\nOcp-Apim-Subscription-Key: K\r\nProxy-Authorization: Basic x\r\n", &[]),
        get("organisation and project stay", "OpenAI-Organization: o\r\nOpenAI-Project: p\r\n", &[
            "openai-organization: o",
            "openai-project: p",
        ]),
        get("fields about the connection", "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X\r\nX-A: 1\r\n", &["x-a: 1"]),
        get("what Connection names", "Connection: X-Hop, x-HOP2 ,, \"\r\nX-Hop: 1\r\nX-Hop2: 2\r\nX-A: 1\r\n", &["x-a: 1"]),
        get("what a second Connection names", "Connection: x-one\r\nX-One: 1\r\nConnection: x-two\r\nX-Two: 2\r\n", &[]),
        get("a Connection that names Host is ignored for it", "Connection: Host\r\nX-A: 1\r\n", &["x-a: 1"]),
        get("a Connection that names Authorization does not remove ours", "Connection: authorization\r\n", &[]),
        row("a Connection that names the framing is ignored for it", "POST /h HTTP/1.1\r\nHost: a\r\nConnection: Content-Length, Transfer-Encoding\r\nContent-Length: 2\r\n\r\nhi")
            .seen("POST /h", &["content-length: 2"], "hi"),
        row("a Connection that names the framing of chunks", "POST /h HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
            .seen("POST /h", &["transfer-encoding: chunked"], "hi"),
        get("close together with an upgrade that is ignored", "Connection: close, upgrade\r\nUpgrade: h2c\r\n", &[]).closed(),
        get("a list of upgrades is ignored", "Connection: upgrade\r\nUpgrade: h2c, websocket\r\n", &[]),
        get("an upgrade to what nobody knows is ignored", "Connection: upgrade\r\nUpgrade: made-up/1.0\r\n", &[]),
        row("a POST is no WebSocket", "POST /h HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nContent-Length: 2\r\n\r\nhi")
            .seen("POST /h", &["content-length: 2", "sec-websocket-version: 13"], "hi"),
        row("HTTP/1.0 knows no WebSockets", "GET /h HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n")
            .seen("GET /h", &["sec-websocket-version: 13"], "")
            .closed(),
        get("an upgrade to h2c is ignored", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", &[]),
        get("an upgrade to TLS is ignored", "Connection: upgrade\r\nUpgrade: TLS/1.2\r\n", &[]),
        get("Upgrade without Connection is ignored", "Upgrade: websocket\r\n", &[]),
        get("an empty Connection names nothing", "Connection:\r\nX-A: 1\r\n", &["x-a: 1"]),
    ]
}

fn limits() -> Vec<Row> {
    let many = |count: usize| -> String { (0..count).map(|i| format!("h{i:03}: {i}\r\n")).collect() };
    let seen: Vec<String> = (0..127).map(|i| format!("h{i:03}: {i}")).collect();
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    vec![
        get("128 fields", &many(127), &seen),
        row("129 fields", format!("GET /h HTTP/1.1\r\nHost: a\r\n{}\r\n", many(128))).refused(431),
        row("a thousand fields", format!("GET /h HTTP/1.1\r\nHost: a\r\n{}\r\n", many(1000))).refused(431),
        row(
            "a head above 64 KiB",
            format!("GET /h HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "v".repeat(66_000)),
        )
        .refused(431),
        row("a head without an end", format!("GET /h HTTP/1.1\r\nHost: a\r\nX: {}", "v".repeat(100_000)))
            .refused(431),
    ]
}

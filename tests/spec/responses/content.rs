//! Status, header fields and bodies that pass as they are.

use super::{Row, row};
use crate::sim::Step;

pub fn rows() -> Vec<Row> {
    let mut rows = statuses();
    rows.extend(fields());
    rows.extend(elsewhere());
    rows
}

fn statuses() -> Vec<Row> {
    let status = |name, status: u16| {
        row(name, format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\nhi")).got(
            status,
            &["content-length: 2"],
            "hi",
        )
    };
    vec![
        status("200", 200),
        status("201", 201),
        status("400 with its body", 400),
        status("403", 403),
        status("404", 404),
        status("408", 408),
        status("409", 409),
        status("418", 418),
        status("429", 429),
        status("431", 431),
        status("500", 500),
        status("502 of the upstream", 502),
        status("503 of the upstream", 503),
        status("504 of the upstream", 504),
        status("a status that nobody knows", 599),
        status("the highest status", 999),
        row("no reason", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi").got(
            200,
            &["content-length: 2"],
            "hi",
        ),
        status("600, which is no class of its own", 600),
        row("a reason in other letters", b"HTTP/1.1 404 Nicht gef\xfcnden\r\nContent-Length: 2\r\n\r\nhi")
            .got(404, &["content-length: 2"], "hi"),
        row("an empty reason", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi").got(
            200,
            &["content-length: 2"],
            "hi",
        ),
        row(
            "401, which is passed on after one try to get a newer token",
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\nhi",
        )
        .of("POST")
        .got(401, &["content-length: 2", "www-authenticate: Bearer"], "hi"),
    ]
}

fn fields() -> Vec<Row> {
    let with = |name, lines: &str, expected: &[&str]| {
        let mut expected: Vec<&str> = expected.to_vec();
        expected.push("content-length: 0");
        expected.sort_by_key(|field| field.split(':').next());
        row(name, format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n")).got(200, &expected, "")
    };
    let sixty = "v".repeat(60_000);
    let many: String = (0..100).map(|i| format!("h{i:03}: {i}\r\n")).collect();
    let many_seen: Vec<String> = (0..100).map(|i| format!("h{i:03}: {i}")).collect();
    let many_seen: Vec<&str> = many_seen.iter().map(String::as_str).collect();
    vec![
        with("cookies, each in a field of its own and in order", "Set-Cookie: b=1; Path=/\r\nSet-Cookie: a=2, x\r\nSet-Cookie: b=3\r\n", &[
            "set-cookie: b=1; Path=/", "set-cookie: a=2, x", "set-cookie: b=3",
        ]),
        with("other duplicates", "Link: <a>\r\nX-A: 1\r\nLink: <b>\r\n", &["link: <a>", "link: <b>", "x-a: 1"]),
        with("an empty value", "X-Empty:\r\n", &["x-empty: "]),
        with("white space around a value goes", "X-A: \t a  b\t \r\n", &["x-a: a  b"]),
        row("bytes above 0x7f in a value", b"HTTP/1.1 200 OK\r\nX-A: caf\xe9 \xff\x80\r\nContent-Length: 0\r\n\r\n").got(
            200,
            &["content-length: 0", "x-a: caf\u{e9} \u{ff}\u{80}"],
            "",
        ),
        row("UTF-8 in a value", "HTTP/1.1 200 OK\r\nX-A: \u{20ac}\r\nContent-Length: 0\r\n\r\n").got(
            200,
            &["content-length: 0", "x-a: \u{e2}\u{82}\u{ac}"],
            "",
        ),
        with("when to come back", "retry-after: 7\r\nretry-after-ms: 6543\r\nx-should-retry: false\r\n", &[
            "retry-after: 7", "retry-after-ms: 6543", "x-should-retry: false",
        ]),
        with("how much is left", "x-ratelimit-remaining-requests: 249\r\nx-ratelimit-reset-tokens: 1s\r\n", &[
            "x-ratelimit-remaining-requests: 249", "x-ratelimit-reset-tokens: 1s",
        ]),
        with("ids for support", "apim-request-id: a\r\nx-request-id: b\r\nx-ms-region: c\r\nazureml-model-session: d\r\n", &[
            "apim-request-id: a", "azureml-model-session: d", "x-ms-region: c", "x-request-id: b",
        ]),
        with("date, server, caching and security", "Date: Mon, 23 Nov 2026 22:00:00 GMT\r\nServer: x\r\nVia: 1.1 y\r\nAge: 1\r\nETag: W/\"e\"\r\nVary: *\r\nStrict-Transport-Security: max-age=1\r\n", &[
            "age: 1", "date: Mon, 23 Nov 2026 22:00:00 GMT", "etag: W/\"e\"", "server: x", "strict-transport-security: max-age=1", "vary: *", "via: 1.1 y",
        ]),
        with("nothing is invented: no Date, no Server", "", &[]),
        with("fields about the upstream's connection are not forwarded", "Connection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nTrailer: X\r\n", &[]),
        with("a value of 60,000 bytes", &format!("X-A: {sixty}\r\n"), &[&format!("x-a: {sixty}")]),
        with("a hundred fields", &many, &many_seen),
        row("a compressed body stays compressed", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\x8b\x00\xff\x08").got(
            200,
            &["content-encoding: gzip", "content-length: 5"],
            b"\x1f\x8b\x00\xff\x08",
        ),
        row("a compressed body in chunks", b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x00\xff\r\n0\r\n\r\n").got(
            200,
            &["content-encoding: br", "transfer-encoding: chunked"],
            b"\x00\xff",
        ),
        row("a part of a body", "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nhi").got(
            206,
            &["content-length: 2", "content-range: bytes 0-1/9"],
            "hi",
        ),
        row("the upstream closes, the client's connection lives on", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
            .then(Step::Close)
            .got(200, &["content-length: 2"], "hi"),
    ]
}

/// Redirects are passed on and never followed: the token is for one origin.
fn elsewhere() -> Vec<Row> {
    let to = |name, status: u16, field: &str| {
        let (key, value) = field.split_once(": ").unwrap();
        let seen = format!("{}: {value}", key.to_ascii_lowercase());
        row(name, format!("HTTP/1.1 {status} X\r\n{field}\r\nContent-Length: 2\r\n\r\nhi")).got(
            status,
            &["content-length: 2", &seen],
            "hi",
        )
    };
    vec![
        to("301 to another host", 301, "Location: https://evil.test/x"),
        to("302 to a path", 302, "Location: /x"),
        to("303", 303, "Location: /x"),
        to("307 of a POST", 307, "Location: /x").of("POST"),
        to("308 with an odd location", 308, "Location: //evil.test\\x y"),
        row("300 without a location", "HTTP/1.1 300 X\r\nContent-Length: 2\r\n\r\nhi").got(
            300,
            &["content-length: 2"],
            "hi",
        ),
        to("the location of what was created", 201, "Location: https://localhost/x"),
        to("the address of an operation", 202, "Operation-Location: https://localhost/openai/operations/1"),
    ]
}

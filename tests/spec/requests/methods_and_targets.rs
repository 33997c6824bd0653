//! Any method, any path and query, byte for byte.

use super::{Row, row};

pub fn rows() -> Vec<Row> {
    let mut rows = methods();
    rows.extend(targets());
    rows.extend(credentials());
    rows
}

fn methods() -> Vec<Row> {
    let bare = |name, method: &str| {
        row(name, format!("{method} /m HTTP/1.1\r\nHost: a\r\n\r\n")).seen(&format!("{method} /m"), &[], "")
    };
    vec![
        bare("GET", "GET"),
        bare("HEAD", "HEAD"),
        bare("OPTIONS of a path", "OPTIONS"),
        bare("DELETE without a body", "DELETE"),
        bare("WebDAV's PROPFIND", "PROPFIND"),
        bare("a method that nobody has heard of", "FOO"),
        bare("a method of every character that a token may have", "!#$%&'*+-.^_`|~09azAZ"),
        bare("methods are case-sensitive", "get"),
        bare("connect in lower case is a method like any other", "connect"),
        bare("so is trace in lower case", "trace"),
        bare("a method of 100 letters", &"M".repeat(100)),
        bare("QUERY", "QUERY"),
        bare("PRI is a method when the version is HTTP/1.1", "PRI"),
        // Without a length, these three would be ambiguous to some servers: RFC 9110 section 8.6 asks for it.
        row("POST without a body says so", "POST /m HTTP/1.1\r\nHost: a\r\n\r\n").seen(
            "POST /m",
            &["content-length: 0"],
            "",
        ),
        row("PUT without a body says so", "PUT /m HTTP/1.1\r\nHost: a\r\n\r\n").seen(
            "PUT /m",
            &["content-length: 0"],
            "",
        ),
        row("PATCH without a body says so", "PATCH /m HTTP/1.1\r\nHost: a\r\n\r\n").seen(
            "PATCH /m",
            &["content-length: 0"],
            "",
        ),
        row("CONNECT is refused", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").refused(501),
        row("CONNECT of a path is refused", "CONNECT /m HTTP/1.1\r\nHost: a\r\n\r\n").refused(501),
        row("TRACE, which would show the token, is refused", "TRACE /m HTTP/1.1\r\nHost: a\r\n\r\n")
            .refused(501),
        row("TRACE with a body is refused", "TRACE /m HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
            .refused(501),
        row(
            "TRACE that may take no step is refused",
            "TRACE /m HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
        )
        .refused(501),
        row("TRACE of HTTP/1.0 is refused", "TRACE /m HTTP/1.0\r\n\r\n").refused(501),
        row(
            "a method longer than a head may be",
            format!("{} /m HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(100_000)),
        )
        .refused(400),
        row("OPTIONS of the server as a whole", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").seen(
            "OPTIONS *",
            &[],
            "",
        ),
        row(
            "a long method of a long target",
            format!("{} /{} HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(1500), "x".repeat(16_000)),
        )
        .seen(&format!("{} /{}", "M".repeat(1500), "x".repeat(16_000)), &[], ""),
        row("a very long method", format!("{} /m HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(60_000))).seen(
            &format!("{} /m", "M".repeat(60_000)),
            &[],
            "",
        ),
    ]
}

fn targets() -> Vec<Row> {
    let same = |name, target: &str| {
        row(name, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).seen(&format!("GET {target}"), &[], "")
    };
    let refused =
        |name, target: &str| row(name, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).refused(400);
    let long = format!("/{}", "x".repeat(60_000));
    vec![
        same("the root", "/"),
        same("an empty query", "/a?"),
        same("a query of odd parameters", "/a?&&=&x&y==&z=%00"),
        same("question marks in the query", "/a?b?c?/d"),
        same("dot segments are the upstream's business", "/a/../b/./c/.."),
        same("double slashes stay", "/a//b///"),
        same("a target that begins with two slashes is a path, not a host", "//evil.test/a"),
        same("an at sign does not start a host", "/@evil.test/a"),
        same("a colon does not start a port", "/:81/a"),
        same("percent escapes stay as they are", "/%41%2f%2F%zz%"),
        same("an escaped slash, a NUL and a line end stay escaped", "/%2e%2e%2fa%00%0d%0aX:%20y"),
        same("reserved characters stay", "/a;b=c,d!$&'()*+:@~-._=/?;:@&=+$,/!'()*~-._"),
        same("characters that browsers leave alone stay", "/a|b^c{d}[e]\\f?{g}|[h]\\i^`j"),
        same("a path of a URL", "/http://evil.test/"),
        same("a very long target", &long),
        row("raw UTF-8 in the path and in the query", "GET /caf\u{e9}?\u{20ac} HTTP/1.1\r\nHost: a\r\n\r\n")
            .seen("GET /caf\u{c3}\u{a9}?\u{e2}\u{82}\u{ac}", &[], ""),
        row("an overlong slash in UTF-8", b"GET /\xc0\xaf HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("raw bytes that are no UTF-8 fit into no URI", b"GET /caf\xe9 HTTP/1.1\r\nHost: a\r\n\r\n")
            .refused(400),
        row("absolute form of the own authority", "GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n").seen(
            "GET /x?y",
            &[],
            "",
        ),
        row(
            "absolute form with a port, in other case",
            "GET HTTP://LocalHost:8080/x HTTP/1.1\r\nHost: localhost:8080\r\n\r\n",
        )
        .seen("GET /x", &[], ""),
        row("absolute form without a path", "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").seen(
            "GET /",
            &[],
            "",
        ),
        row("absolute form without a path, with a query", "GET http://a?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
            .seen("GET /?x=1", &[], ""),
        row("absolute form in HTTP/1.0, which knows no Host", "GET http://a:80/x?y HTTP/1.0\r\n\r\n")
            .seen("GET /x?y", &[], "")
            .closed(),
        row("absolute form in HTTP/1.0 with its Host", "GET http://a/x HTTP/1.0\r\nHost: a\r\n\r\n")
            .seen("GET /x", &[], "")
            .closed(),
        row("absolute form in HTTP/1.0 with another Host", "GET http://b/x HTTP/1.0\r\nHost: a\r\n\r\n")
            .refused(400),
        row("absolute form in HTTP/1.0 of no authority", "GET http://u@a/x HTTP/1.0\r\n\r\n").refused(400),
        row("absolute form does not stand in for Host", "GET http://a/x HTTP/1.1\r\n\r\n").refused(400),
        row("absolute form with an empty Host", "GET http://a/x HTTP/1.1\r\nHost:\r\n\r\n").refused(400),
        row("OPTIONS of a server, in absolute form", "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n").seen(
            "OPTIONS /",
            &[],
            "",
        ),
        refused("absolute form of another authority", "http://evil.test/x"),
        refused("absolute form of another port", "http://a:81/x"),
        refused("absolute form with user information", "http://u@a/x"),
        refused("absolute form with a host before another", "http://a@evil.test/x"),
        refused("absolute form with a backslash", "http://a\\@evil.test/x"),
        refused("absolute form without slashes", "http:a/x"),
        refused("absolute form without an authority", "http:///x"),
        refused("absolute form of another scheme", "ftp://a/x"),
        refused("authority form", "a:443"),
        refused("a target without a slash", "x"),
        refused("the asterisk", "*"),
        refused("a host in disguise", "@evil.test/x"),
        refused("only a query", "?x"),
        row("a fragment is no part of a request target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n")
            .responds(400),
        same(
            "angle brackets and quotation marks, which browsers escape and others do not",
            "/<a>\"b\"?<c>\"d\"",
        ),
        same("absolute form with the port of its scheme, elsewhere", "/x?u=http://a:80/"),
        row(
            "absolute form that spells out the port of its scheme",
            "GET http://a:80/x HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .seen("GET /x", &[], ""),
        row("a Host that spells it out", "GET https://a/x HTTP/1.1\r\nHost: a:443\r\n\r\n").seen(
            "GET /x",
            &[],
            "",
        ),
        row(
            "a target longer than a head may be",
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000)),
        )
        .refused(414),
    ]
}

/// ENTRA.md G.7: parameters that carry a credential go, and nothing else moves.
fn credentials() -> Vec<Row> {
    let cut = |name, from: &str, to: &str| {
        row(name, format!("GET {from} HTTP/1.1\r\nHost: a\r\n\r\n")).seen(&format!("GET {to}"), &[], "")
    };
    vec![
        cut("the only parameter, a key", "/r?api-key=K", "/r"),
        cut("a key between others", "/r?a=%20b&api-key=K&c=+d&&", "/r?a=%20b&c=+d&&"),
        cut("a key in other case, twice", "/r?API-Key=1&x&api-KEY=2", "/r?x"),
        cut("an escaped name of a key", "/r?%61pi-ke%79=K&x=1", "/r?x=1"),
        cut("a bearer token in the query", "/r?authorization=Bearer%20x&y", "/r?y"),
        cut("APIM's key in the query", "/r?subscription-key=K&y=1", "/r?y=1"),
        cut("a bearer token as RFC 6750 puts it", "/r?access_token=x&y", "/r?y"),
        cut("a key without a value", "/r?api-key&y=1", "/r?y=1"),
        cut(
            "parameters that only look like a key",
            "/r?x-api-key=1&api-keys=2&my-api-key=3",
            "/r?x-api-key=1&api-keys=2&my-api-key=3",
        ),
        cut("a key in the path is a path", "/api-key=K/r", "/api-key=K/r"),
    ]
}

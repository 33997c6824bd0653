//! `ALLOWED_REQUESTS`.

use super::super::TargetPattern;
use super::{bad, good, notes, read, refused};

/// The patterns, as they are understood.
fn patterns(value: &str) -> Option<Vec<String>> {
    let allowed = good(&[("ALLOWED_REQUESTS", value)]).allowed_requests?;
    let shown = allowed.0.iter().map(|pattern| {
        let method = pattern.method.as_ref().map_or("any", |method| method.as_str());
        match &pattern.target {
            TargetPattern::Asterisk => format!("{method} asterisk"),
            TargetPattern::Path(path) => format!("{method} {path}"),
        }
    });
    Some(shown.collect())
}

#[test]
fn lists_of_patterns() {
    assert_eq!(patterns(""), None);
    for (value, expected) in [
        ("POST /openai/v1/*", &["POST /openai/v1/*"][..]),
        ("POST /a/*, GET /b", &["POST /a/*", "GET /b"]),
        ("POST /a/*\nGET /b\r\n\n", &["POST /a/*", "GET /b"]),
        (" \tGET \t /a , , GET /b,", &["GET /a", "GET /b"]),
        ("* /a", &["any /a"]),
        ("OPTIONS *", &["OPTIONS asterisk"]),
        ("GET /", &["GET /"]),
        ("* /*", &["any /*"]),
        ("PROPFIND /a, purge /a", &["PROPFIND /a", "purge /a"]),
        ("GET /a/*/b-*-c/*", &["GET /a/*/b-*-c/*"]),
        ("GET /%6fpenai/%7e, GET /a%20b", &["GET /openai/~", "GET /a b"]),
        ("GET /caf%C3%A9", &["GET /caf\u{e9}"]),
        ("GET /a:b@c", &["GET /a:b@c"]),
    ] {
        assert_eq!(patterns(value).unwrap(), expected, "{value:?}");
    }
}

#[test]
fn bad_patterns() {
    refused(
        "ALLOWED_REQUESTS",
        &[
            ("blank: it must not allow everything", " \n", "holds nothing but white space"),
            ("no entry", ",", "has no entry"),
            ("a path alone", "/openai/v1/*", "not a method and a path: `/openai/v1/*`"),
            ("a method alone", "POST", "not a method and a path"),
            ("no comma", "POST /a GET /b", "separated by commas"),
            ("semicolons", "POST /a; GET /b", "separated by commas"),
            ("lower case", "post /a", "not in capitals: `post`\n  hint: write POST"),
            ("mixed case", "Get /a", "write GET"),
            ("never forwarded", "CONNECT /a", "never forwarded: `CONNECT`"),
            ("never forwarded, in lower case", "trace /a", "never forwarded: `trace`"),
            ("the wrong way round", "/a POST", "does not begin with a method: `/a`"),
            ("a quote", "\"POST /a", "without quotes"),
            ("quotes around it", "\"POST /a\"", "the quotes are part of the value"),
            ("any request", "* *", "write `/*` for every path"),
            ("an asterisk with another method", "GET *", "write `/*` for every path"),
            ("a URL", "GET https://name.openai.azure.com/a", "does not begin with a slash"),
            ("no slash", "GET openai/v1/*", "does not begin with a slash: `openai/v1/*`"),
            ("a query", "GET /a?api-version=hunter2", "has a path with a query"),
            ("a fragment", "GET /a#hunter2", "has a path with a fragment"),
            ("two asterisks", "GET /a/**", "at the end it stands for any rest"),
            ("a dot segment", "GET /a/../b", "with a dot segment: `/a/../b`"),
            ("a dot segment at the end", "GET /a/.", "with a dot segment"),
            ("an escaped dot segment", "GET /a/%2E%2e/b", "with a dot segment"),
            ("an empty segment", "GET /a//b", "with an empty segment (`//`)"),
            ("empty segments alone", "GET //", "with an empty segment (`//`)"),
            ("a slash at the end", "GET /a/", "with a slash at its end"),
            ("an escaped slash", "GET /a%2Fb", "with an escaped slash"),
            ("a backslash", "GET /a\\b", "with a backslash"),
            ("an escaped backslash", "GET /a%5cb", "with a backslash"),
            ("doubly escaped", "GET /a%252e", "with an escaped `%`"),
            ("half an escape", "GET /a%2", "with a `%` without two hexadecimal digits"),
            ("an escaped wildcard", "GET /a%2A", "with an escaped reserved character"),
            ("an escaped colon", "GET /a%3Ab", "with an escaped reserved character"),
            ("a parameter", "GET /a;b", "with a `;`"),
            ("a control character", "GET /a%00", "with a control character"),
            ("overlong UTF-8", "GET /a%C0%AF", "with escapes that are not UTF-8"),
            ("a key in place of a method", "hunter2hunter2hunter2hunter2 /a b", "not a method and a path"),
        ],
    );
    let problems = read(&[("ALLOWED_REQUESTS", "get /a, GET /b, GET c")]).unwrap_err();
    assert_eq!(problems.len(), 2, "every bad entry is reported: {problems:#?}");
}

#[test]
fn patterns_and_the_base_path() {
    let with = |base: &str, value: &str| {
        let url = format!("https://name.openai.azure.com{base}");
        notes(&[("API_BASE_URL", &url), ("ALLOWED_REQUESTS", value)])
    };
    for (base, value) in [
        ("", "POST /chat/completions"),
        ("/openai", "POST /openai/v1/chat/completions"),
        ("/openai", "POST /openai/*"),
        ("/openai", "POST /*"),
        ("/openai", "POST /open*"),
        ("/openai", "POST /*/v1/chat/completions"),
        ("/openai", "OPTIONS *"),
    ] {
        assert_eq!(with(base, value), "", "{base} {value}");
    }
    for value in ["POST /chat/completions", "POST /openaix/*", "POST /openai", "POST /v1/*"] {
        let printed = with("/openai", value);
        let expected = format!("no request can have: `{}`", value.split_once(' ').unwrap().1);
        assert!(printed.contains(&expected), "{value}: {printed}");
        assert!(printed.contains("hint: begin it with the path of API_BASE_URL: `/openai/`"), "{printed}");
    }
    let odd = [("API_BASE_URL", "https://h.test/a%2Fb"), ("ALLOWED_REQUESTS", "GET /*")];
    assert!(bad(&odd).contains("the path of API_BASE_URL has an escaped slash"));
}

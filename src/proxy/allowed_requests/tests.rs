use super::*;
use crate::config::Config;

fn allowed(patterns: &str) -> AllowedRequests {
    let config = Config::from_lookup(&|name| {
        Some(match name {
            "AZURE_CLIENT_ID" => "11111111-2222-3333-4444-555555555555".into(),
            "AZURE_TENANT_ID" => "contoso.onmicrosoft.com".into(),
            "AZURE_CERTIFICATE_PATH" => "cert.pem".into(),
            "API_BASE_URL" => "https://name.openai.azure.com".into(),
            "ALLOWED_REQUESTS" => patterns.into(),
            _ => return None,
        })
    });
    config.unwrap_or_else(|problems| panic!("{patterns}: {problems:#?}")).allowed_requests.unwrap()
}

fn is_allowed(patterns: &AllowedRequests, base_path: &str, request: &str) -> bool {
    let (method, path) = request.split_once(' ').unwrap();
    verdict(&patterns.0, base_path, &method.parse().unwrap(), path).is_ok()
}

/// Each row: patterns, what they allow, and what they do not.
#[test]
fn patterns_and_requests() {
    let rows: &[(&str, &[&str], &[&str])] = &[
        (
            "GET /openai/v1/models",
            &[
                "GET /openai/v1/models",
                "GET /openai/v1/%6dodels",
                "GET /%6F%70enai/v1/models",
                "GET /openai/v1/./models",
                "GET /openai/v1/x/../models",
                "GET /openai/v1/x/%2e%2E/models",
            ],
            &[
                "HEAD /openai/v1/models",
                "POST /openai/v1/models",
                "get /openai/v1/models",
                "GET /openai/v1/model",
                "GET /openai/v1/models2",
                "GET /openai/v1/models/x",
                "GET /openai/v1/models/",
                "GET /OpenAI/v1/models",
                "GET /openai/v1//models",
                "GET //openai/v1/models",
                "GET /openai/v1%2Fmodels",
                "GET /openai/v1\\models",
                "GET /openai/v1%5Cmodels",
                "GET /openai/v1/%256dodels",
                "GET /openai/v1/models%00",
                "GET /openai/v1/models%20",
                "GET /openai/v1/models;x",
                "GET /openai/v1/models%3Bx",
                "GET /openai/v1/models%3Fx",
                "GET /openai/v1/models%23x",
                "GET /openai/v1/models/..",
                "GET /../openai/v1/models",
                "GET /openai/v1/%C1%ADodels",
                "OPTIONS *",
                "GET /",
            ],
        ),
        (
            "POST /openai/v1/*",
            &[
                "POST /openai/v1/chat/completions",
                "POST /openai/v1/a",
                "POST /openai/v1/a/b/c",
                "POST /openai/v1/a/",
                "POST /openai/v1/a;v=1",
                "POST /openai/v1/a;v=1/b",
                "POST /openai/v1/a%3Ab",
                "POST /openai/v1/caf%C3%A9",
                "POST /openai/v1/a/../b",
                "POST /openai/v1/a%2Ab",
            ],
            &[
                "GET /openai/v1/a",
                "POST /openai/v1",
                // A server may drop that slash, and then it is the path above.
                "POST /openai/v1/",
                "POST /openai/v1x",
                "POST /openai/v1/../v2/a",
                "POST /openai/v1/%2e%2e/v2/a",
                "POST /openai/v1/..%2Fv2/a",
                "POST /openai/v1/..%5Cv2/a",
                "POST /openai/v1/..\\v2/a",
                "POST /openai/v1/%252e%252e/v2",
                "POST /openai/v1/..;x/v2",
                "POST /openai/v1/..%3Bx/v2",
                "POST /openai/v1/;x",
                "POST /openai/v1/a//b",
                "POST /openai/v1/a%",
                "POST /openai/v1/a%4",
                "POST /openai/v1/a%u0041",
                "POST /openai/v1/a%0a",
                "POST /openai/v1/a%c0%af",
                "POST /openai/v1/%c0%ae%c0%ae/x",
                "POST /openai/v1/.../x",
                "POST /openai/v1/..%20/x",
                "POST /openai;x/v1/a",
            ],
        ),
        (
            "POST /openai/deployments/*/chat/completions",
            &[
                "POST /openai/deployments/gpt-4o/chat/completions",
                "POST /openai/deployments/a%20b/chat/completions",
                "POST /openai/deployments/a%3Ab/chat/completions",
            ],
            &[
                "POST /openai/deployments/a/b/chat/completions",
                "POST /openai/deployments/chat/completions",
                "POST /openai/deployments//chat/completions",
                "POST /openai/deployments/a%2Fb/chat/completions",
                "POST /openai/deployments/a/chat/completions/x",
                "POST /openai/deployments/a;/embeddings;/chat/completions",
                "POST /openai/deployments/a%3F/chat/completions",
                "POST /openai/deployments/../chat/completions",
            ],
        ),
        (
            "GET /a/x-*-y*z/b*",
            &["GET /a/x--yz/b", "GET /a/x-1-y2z/b3/c", "GET /a/x--y-yzz/bb"],
            &["GET /a/x-y-z/b", "GET /a/x--yz/c", "GET /a/x-1/-yz/b", "GET /a/x-yz/b", "GET /a/x--yz"],
        ),
        ("* /a", &["GET /a", "POST /a", "PROPFIND /a", "OPTIONS /a"], &["GET /b", "OPTIONS *"]),
        ("* /*", &["GET /", "DELETE /a/b"], &["OPTIONS *", "GET //", "GET /a%2fb"]),
        ("OPTIONS *", &["OPTIONS *"], &["OPTIONS /", "OPTIONS /*", "OPTIONS /a", "GET /"]),
        ("GET /", &["GET /", "GET /a/.."], &["GET /a", "POST /"]),
        (
            "GET /files, GET /files/*",
            &["GET /files/", "GET /files/f", "GET /files/f;x"],
            &["GET /files2", "GET /files;x"],
        ),
        ("GET /a:b", &["GET /a:b"], &["GET /a%3Ab", "GET /a"]),
        ("GET /a%20b", &["GET /a%20b"], &["GET /a+b", "GET /ab"]),
        ("GET /caf%C3%A9", &["GET /caf\u{e9}", "GET /caf%c3%a9"], &["GET /cafe", "GET /caf%E9"]),
        ("GET /a, POST /b", &["GET /a", "POST /b"], &["POST /a", "GET /b"]),
        ("purge /a", &["purge /a"], &["PURGE /a", "GET /a"]),
    ];
    let mut count = 0;
    for (patterns, good, bad) in rows {
        let parsed = allowed(patterns);
        for (requests, expected) in [(good, true), (bad, false)] {
            for request in *requests {
                assert_eq!(is_allowed(&parsed, "", request), expected, "{patterns}: {request}");
                count += 1;
            }
        }
    }
    assert!(count > 80, "{count}");
}

#[test]
fn the_base_path_counts() {
    let patterns = allowed("POST /openai/v1/chat/completions, GET /openai/v1/files/*");
    for (request, expected) in [
        ("POST /chat/completions", true),
        ("GET /files/f", true),
        ("POST /openai/v1/chat/completions", false),
        ("POST /../v1/chat/completions", true),
        ("GET /files/../../../x", false),
        ("GET /../../../openai/v1/files/f", false),
        ("GET /", false),
    ] {
        assert_eq!(is_allowed(&patterns, "/openai/v1", request), expected, "{request}");
    }
}

#[test]
fn what_is_not_allowed_is_named_without_its_query() {
    let head = Head {
        method: Method::GET,
        target: format!("/a{}?api-key=K", "b".repeat(5000)),
        version: http::Version::HTTP_11,
        headers: crate::fields::Fields::default(),
        length: crate::server::Length::Empty,
    };
    let failure = check(&allowed("GET /x"), "", &head).unwrap_err();
    let Failure::Refused { response, hint, .. } = failure else { panic!("{failure:?}") };
    assert_eq!((response.status.as_u16(), response.kind), (403, "permission_error"));
    let expected = "ALLOWED_REQUESTS of auth-proxy does not allow GET /abbb";
    assert!(response.message.starts_with(expected) && response.message.ends_with("bbb..."));
    assert!(response.message.len() < 2200 && !response.message.contains("api-key"));
    assert_eq!(hint.unwrap(), "add it to ALLOWED_REQUESTS if clients need it");
}

/// What is allowed is allowed as each of these servers reads it. The servers are written here, apart from the program's own
/// notion of a path: they decode up to three times, take `\` for a slash, merge slashes, drop parameters, cut the path off
/// at a NUL or `?`, accept overlong UTF-8, drop a slash at the end.
#[test]
fn whatever_is_allowed_is_allowed_in_every_reading() {
    const SETS: [&str; 5] =
        ["GET /a/*", "GET /a/b, GET /a/c/*", "GET /a/*/b", "GET /a/*/b/*", "GET /a*, GET /b/a*b/c"];
    const PIECES: [&str; 40] = [
        "/", "/", "/", "/a", "/a/", "/b", "/c", "a", "b", "c", "/..", "/../", "/.", "/./", "..", ".", "//",
        ";", ";a", ";/", "%2f", "%2F", "%5c", "\\", "%2e", "%2E%2e", "%25", "%252f", "%252e", "%3b", "%3f",
        "%23", "%00", "%c0%af", "%c0%ae", "%61", "%3a", ":", "%20", "%",
    ];
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    let (mut allowed_count, mut traps) = (0, 0);
    for set in SETS {
        let patterns = allowed(set);
        let wanted: Vec<&str> = set.split(", ").map(|entry| entry.strip_prefix("GET ").unwrap()).collect();
        let is_within =
            |path: &str| wanted.iter().any(|pattern| naive_match(pattern.as_bytes(), path.as_bytes()));
        for _ in 0..8_000 {
            let path: String = (0..=next(7)).map(|_| PIECES[next(PIECES.len())]).collect();
            let path = format!("/a{path}");
            let is_allowed = is_allowed(&patterns, "", &format!("GET {path}"));
            if !is_allowed && !is_within(&path) {
                continue;
            }
            let escape = server_readings(&path).into_iter().find(|reading| !is_within(reading));
            if is_allowed {
                allowed_count += 1;
                assert_eq!(escape, None, "{set} allows {path}");
            } else {
                traps += usize::from(escape.is_some());
            }
        }
    }
    assert!(allowed_count > 1000, "only {allowed_count} are allowed: this proves little");
    assert!(traps > 1000, "only {traps} would have led elsewhere");
}

/// Character by character.
fn naive_match(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern, path) {
        ([b'*'], _) | ([], []) => true,
        ([b'*', rest @ ..], _) => {
            naive_match(rest, path)
                || path.split_first().is_some_and(|(byte, path)| *byte != b'/' && naive_match(pattern, path))
        }
        ([one, pattern @ ..], [other, path @ ..]) => one == other && naive_match(pattern, path),
        _ => false,
    }
}

fn server_readings(path: &str) -> Vec<String> {
    let mut texts = vec![decode(path.as_bytes(), true)];
    for _ in 0..3 {
        let last = texts.last().unwrap();
        texts.push(decode(last, false));
    }
    let lax: Vec<u8> = decode(path.as_bytes(), false);
    texts.push(replace(&replace(&lax, b"\xc0\xaf", b"/"), b"\xc0\xae", b"."));
    let mut readings = Vec::new();
    for text in texts {
        let text = String::from_utf8_lossy(&text).into_owned();
        let cut_off = text.split(['\0', '?', '#']).next().unwrap().to_owned();
        let backslashes = text.replace('\\', "/");
        for text in [text, cut_off, backslashes] {
            let parameters: Vec<&str> = text.split('/').map(|it| it.split(';').next().unwrap()).collect();
            let cut = text.split(';').next().unwrap().to_owned();
            for text in [parameters.join("/"), cut, text.clone()] {
                let merged = remove_dots(&text);
                let trimmed = merged.strip_suffix('/').filter(|rest| !rest.is_empty()).map(str::to_owned);
                readings.extend(trimmed);
                readings.push(merged);
            }
        }
    }
    readings
}

/// Undoes escapes; what is none stays as it is. With `reserved_stay` those of reserved characters and of `%` stay.
fn decode(text: &[u8], reserved_stay: bool) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut i = 0;
    while i < text.len() {
        let digits = text.get(i + 1..i + 3).filter(|_| text[i] == b'%');
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
        match byte.filter(|byte| !reserved_stay || byte.is_ascii_alphanumeric() || b"-._~ ".contains(byte)) {
            Some(byte) => {
                decoded.push(byte);
                i += 3;
            }
            None => {
                decoded.push(text[i]);
                i += 1;
            }
        }
    }
    decoded
}

/// Merges slashes and resolves dot segments; nothing is above the root.
fn remove_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let end = if !kept.is_empty() && path.ends_with('/') { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::new();
    let mut i = 0;
    while i < text.len() {
        if text[i..].starts_with(from) {
            replaced.extend_from_slice(to);
            i += from.len();
        } else {
            replaced.push(text[i]);
            i += 1;
        }
    }
    replaced
}

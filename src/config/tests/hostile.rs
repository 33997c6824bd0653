//! No value panics, and no secret is told.

use super::super::{Config, SETTINGS};
use super::read;

/// What parsers trip over.
const PIECES: [&str; 30] = [
    "://",
    "http",
    "https",
    "@",
    ":",
    "/",
    "//",
    "[",
    "]",
    "::1",
    "%",
    "%2e",
    "%zz",
    ".",
    "..",
    "?",
    "#",
    "*",
    ",",
    " ",
    "\u{0}",
    "\n",
    "\u{e9}",
    "\u{1f600}",
    "0",
    "65536",
    "99999999999999999999",
    "azure.us",
    "ms",
    "/.default",
];

/// Every variable gets texts pieced together at random (always the same ones: xorshift from a fixed seed).
#[test]
fn no_text_panics() {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    for _ in 0..4000 {
        let values: Vec<(&str, String)> = SETTINGS
            .iter()
            .map(|setting| (setting.name, (0..next(7)).map(|_| PIECES[next(PIECES.len())]).collect()))
            .collect();
        let changes: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let _ = read(&changes);
        // One at a time as well, so that a good rest lets it through to the end.
        let (name, value) = changes[next(changes.len())];
        if let Ok(config) = read(&[("HTTPS_PROXY", "proxy"), (name, value)]) {
            let _ = config.egress.proxy_for(value, 443);
            let _ = (config.destination.origin(), config.destination.port());
        }
    }
}

/// Wherever a credential may stand in a value, whatever else is wrong with it.
#[test]
fn no_secret_is_told() {
    let shapes = [
        "http://user:hunter2@host:1",
        "https://user:hunter2@host",
        "hunter2@host",
        "user:hunter2@host:port",
        "http://user:hunter2/more@host",
        "http://user:hunter2?more@host",
        "http://user:hunter2#more@host",
        "http://user:hunter2 more@host",
        "http://user:hunter2\n@host",
        "http://us%3aer:hunter2@host",
        "https://host/?api-key=hunter2",
        "host/path?hunter2",
        "https://host/#hunter2",
        "socks5://user:hunter2@host",
        "//user:hunter2@host",
        "'http://user:hunter2@host'",
    ];
    for variable in ["API_BASE_URL", "AZURE_AUTHORITY_HOST", "HTTPS_PROXY", "https_proxy", "NO_PROXY"] {
        for shape in shapes {
            told_nowhere(&read(&[
                ("HTTPS_PROXY", if variable == "NO_PROXY" { "proxy" } else { "" }),
                (variable, shape),
            ]));
        }
    }
    for key in ["hunter2", "hunter2\n", " hunter2", "\"hunter2\"", "hunter2hunter2hunter2hunter2"] {
        told_nowhere(&read(&[("PROXY_API_KEY", key)]));
        told_nowhere(&read(&[("AZURE_CLIENT_ID", key)]));
    }
}

fn told_nowhere(result: &Result<Config, Vec<crate::report::Problem>>) {
    // `{:?}` shows messages, hints, notes and every field.
    let told = format!("{result:?}");
    assert!(!told.contains("hunter2"), "{told}");
    // "hunter2" in base64 at each of the three offsets, as far as it does not depend on its neighbours.
    for encoded in ["aHVudGVy", "h1bnRlcj", "odW50ZXIy"] {
        assert!(!told.contains(encoded), "{told}");
    }
}

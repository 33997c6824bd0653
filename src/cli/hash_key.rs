//! `auth-proxy hash-key`: a key on standard input becomes a line for `PROXY_API_KEYS_FILE`.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use zeroize::Zeroizing;

use crate::config;
use crate::proxy::{DEFAULT_CALLER, caller_line, is_caller_name};
use crate::report::Problem;

/// More than a request's head has room for is no key.
const MAX_INPUT: usize = 64 * 1024;

/// The line for the key on standard input. Without a name the input may begin with one, or the caller is `default`.
///
/// # Errors
///
/// The input is no key. No message shows any of it.
pub(super) fn from_stdin(name: Option<&str>) -> Result<String, Problem> {
    // Capacity for everything at once: growing would leave copies of the key.
    let mut input = Zeroizing::new(Vec::with_capacity(MAX_INPUT));
    let stdin = io::stdin();
    let mut limited = stdin.lock().take(MAX_INPUT as u64);
    // At a terminal the line is the end; of anything else a second line is a mistake that must not go unnoticed.
    let read = if stdin.is_terminal() {
        limited.read_until(b'\n', &mut input)
    } else {
        limited.read_to_end(&mut input)
    };
    read.map_err(|error| {
        Problem::new(format!("hash-key: standard input cannot be read: {error}")).hint(EXAMPLE)
    })?;
    of(name, &input)
}

/// A name for the command line.
///
/// # Errors
///
/// It is none. It is not shown: it may be the key.
pub(super) fn name(argument: &str) -> Result<String, Problem> {
    if is_caller_name(argument) {
        return Ok(argument.to_owned());
    }
    Err(Problem::new("hash-key: the argument is not a caller's name").hint(NAMES).hint(EXAMPLE))
}

const NAMES: &str =
    "a name has 1 to 64 letters, digits, dots, underscores and hyphens, and does not look like a key";

pub(super) const EXAMPLE: &str =
    "the key is read from standard input: printf %s \"$key\" | auth-proxy hash-key NAME";

fn of(name: Option<&str>, input: &[u8]) -> Result<String, Problem> {
    if input.len() >= MAX_INPUT {
        return Err(Problem::new(format!("hash-key: standard input has {} KiB or more", MAX_INPUT / 1024))
            .hint(EXAMPLE));
    }
    // What is not UTF-8 becomes a character that no key has.
    let text = Zeroizing::new(String::from_utf8_lossy(input).into_owned());
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    let (name, key) = match (name, line.split_once([' ', '\t'])) {
        (Some(name), _) => (name, line),
        (None, Some((name, key))) => (name, key.trim_matches([' ', '\t'])),
        (None, None) => (DEFAULT_CALLER, line),
    };
    if !is_caller_name(name) {
        return Err(Problem::new(
            "hash-key: what stands before the key on standard input is not a caller's name",
        )
        .hint(NAMES)
        .hint("the input is a key, or a name, a space and a key"));
    }
    config::check_key(key).map_err(|problem| {
        let message = format!("hash-key: the key on standard input {}", problem.message);
        Problem { message, ..problem }
    })?;
    Ok(caller_line(name, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_the_key_and_may_begin_with_the_name() {
        const KEY: &str = "0123456789abcdef";
        // printf %s 0123456789abcdef | sha256sum
        const SUM: &str = "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";
        for (name, input, expected) in [
            (Some("team-a"), KEY.to_owned(), "team-a"),
            (Some("team-a"), format!("{KEY}\n"), "team-a"),
            (Some("team-a"), format!("{KEY}\r\n"), "team-a"),
            (None, KEY.to_owned(), "default"),
            (None, format!("{KEY}\n"), "default"),
            (None, format!("team-b {KEY}\n"), "team-b"),
            (None, format!("team-b \t {KEY}\r\n"), "team-b"),
        ] {
            assert_eq!(of(name, input.as_bytes()).as_deref(), Ok(&*format!("{expected} {SUM}")), "{input:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        let short = "is too short";
        let ascii = "other than visible ASCII";
        for (name, input, expected) in [
            (None, &b""[..], short),
            (None, b"\n", short),
            (Some("a"), b"hunter2-hunter2\n", short),
            (None, b"team-a hunter2", short),
            (Some("a"), b"team-a hunter2-hunter2-hunter2", ascii),
            (Some("a"), b"hunter2-hunter2-hunter2\n\n", ascii),
            (Some("a"), b"hunter2-hunter2-hunter2\nhunter2-hunter2-hunter2\n", ascii),
            (Some("a"), b"hunter2-hunter2-hunter2\xff", ascii),
            (Some("a"), b"hunter2-hunter2-hunter2\0", ascii),
            (None, b"a b hunter2-hunter2-hunter2", ascii),
            (None, b"hunter2/hunter2 hunter2-hunter2-hunter2", "is not a caller's name"),
            (None, b" hunter2-hunter2-hunter2", "is not a caller's name"),
        ] {
            let printed = of(name, input).unwrap_err().to_string();
            assert!(printed.contains(expected) && printed.contains("hint: "), "{printed}");
            assert!(!printed.contains("hunter2"), "{printed}");
        }
        assert!(of(Some("a"), &vec![b'a'; MAX_INPUT]).is_err(), "there may be more of it");
        assert!(!name("hunter2/hunter2").unwrap_err().to_string().contains("hunter2"));
        assert_eq!(name("team-a").as_deref(), Ok("team-a"));
    }
}

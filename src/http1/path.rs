//! Which resource a path names (RFC 3986 section 6.2.2), for decisions that must hold for every server behind us.
//!
//! Servers differ: one undoes all escapes and the next one only some, one drops what follows a `;`, one drops a slash at the
//! end. So a path has *readings*, and a decision holds if it is the same for each. Where one server could see another
//! structure (an escaped slash, `//`, escapes within escapes), nobody can say what the readings are: that is an error.
//! What is forwarded is the path as it came; readings are for comparison alone.

/// Reserved characters that a path may hold (RFC 3986 section 2.2): escaped and unescaped they are not equivalent. The
/// semicolon, whose meaning servers dispute most, is one of them.
const RESERVED: &[u8] = b":[]@!$&'()*+,;=";

const DOTS_AND_SPACES: &str = "a segment of nothing but dots, spaces or parameters";

/// Every path that a server may take this one for: without escapes (those of reserved characters with and without), dot
/// segments resolved, what follows a `;` and a slash at the end with and without.
///
/// # Errors
///
/// What makes it ambiguous, as in `it has …`.
pub(crate) fn readings(path: &str) -> Result<Vec<String>, &'static str> {
    let unescaped = Unescaped::of(path)?;
    let mut readings = vec![resolve(&unescaped.but_reserved)?];
    let mut add = |reading: String| {
        if !readings.contains(&reading) {
            readings.push(reading);
        }
    };
    let all = resolve(&unescaped.all)?;
    if unescaped.all.contains(';') && has_dot_segments(&unescaped.all) {
        return Err("a dot segment beside a `;`");
    }
    if let Some((start, _)) = all.split_once(';') {
        // Parameters belong to their segment (RFC 3986 section 3.3), and to some the rest of the path is one.
        let segments: Vec<&str> = all.split('/').map(before_parameters).collect();
        add(segments.join("/"));
        add(start.to_owned());
    }
    add(all);
    let without_slash = readings.iter().filter_map(|it| it.strip_suffix('/')).filter(|it| !it.is_empty());
    let without_slash: Vec<String> = without_slash.map(str::to_owned).collect();
    readings.extend(without_slash);
    Ok(readings)
}

/// The one reading of a path that is written so plainly that it has no other.
///
/// # Errors
///
/// What it has that a plain path has not, as in `it has …`.
pub(crate) fn plain(path: &str) -> Result<String, &'static str> {
    let unescaped = Unescaped::of(path)?;
    if unescaped.all != unescaped.but_reserved {
        return Err("an escaped reserved character");
    }
    if unescaped.all.contains(';') {
        return Err("a `;`");
    }
    if has_dot_segments(&unescaped.all) {
        return Err("a dot segment");
    }
    let path = resolve(&unescaped.all)?;
    if path.len() > 1 && path.ends_with('/') { Err("a slash at its end") } else { Ok(path) }
}

/// A path after one pass over its escapes. Whatever a second pass, or one that stops earlier, would make something else of
/// is an error.
struct Unescaped {
    /// Escapes of reserved characters are left, in capitals.
    but_reserved: String,
    all: String,
}

impl Unescaped {
    fn of(path: &str) -> Result<Self, &'static str> {
        let mut but_reserved = Vec::with_capacity(path.len());
        let mut all = Vec::with_capacity(path.len());
        let mut rest = path.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            let (byte, after, is_escaped) = match (first, after) {
                (b'%', [high, low, after @ ..]) => {
                    let byte = hexadecimal(*high).zip(hexadecimal(*low)).map(|(high, low)| high << 4 | low);
                    (byte.ok_or("a `%` without two hexadecimal digits")?, after, true)
                }
                (b'%', _) => return Err("a `%` without two hexadecimal digits"),
                (byte, after) => (*byte, after, false),
            };
            match byte {
                b'\\' => return Err("a backslash"),
                b'/' if is_escaped => return Err("an escaped slash"),
                b'%' => return Err("an escaped `%`, as doubly escaped text has"),
                // Whoever decodes before parsing would cut the path off there.
                b'?' | b'#' => return Err("an escaped `?` or `#`"),
                _ if is_escaped && RESERVED.contains(&byte) => {
                    but_reserved.extend_from_slice(format!("%{byte:02X}").as_bytes());
                }
                _ => but_reserved.push(byte),
            }
            all.push(byte);
            rest = after;
        }
        // Strictly: overlong forms, which lax decoders take for ASCII, are not UTF-8 (RFC 3629 section 3).
        let text = |bytes| String::from_utf8(bytes).map_err(|_| "escapes that are not UTF-8");
        let unescaped = Self { but_reserved: text(but_reserved)?, all: text(all)? };
        if unescaped.all.contains(char::is_control) { Err("a control character") } else { Ok(unescaped) }
    }
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// RFC 3986 section 5.2.4, but what that glosses over is an error: empty segments, and dots that lead above the root.
fn resolve(path: &str) -> Result<String, &'static str> {
    let mut resolved: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').ok_or("no slash at its beginning")?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "" if is_last => resolved.push(""),
            "" => return Err("an empty segment (`//`)"),
            "." | ".." => {
                if segment == ".." && resolved.pop().is_none() {
                    return Err("dot segments that rise above the root");
                }
                if is_last {
                    resolved.push("");
                }
            }
            // Tomcat takes `..;x` for dots, Windows `.. ` and `...`.
            _ if before_parameters(segment).trim_matches(['.', ' ']).is_empty() => {
                return Err(DOTS_AND_SPACES);
            }
            _ => resolved.push(segment),
        }
    }
    Ok(format!("/{}", resolved.join("/")))
}

fn has_dot_segments(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

fn before_parameters(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_readings_that_servers_give_it() {
        for (path, expected) in [
            ("/", &["/"][..]),
            ("/a/b", &["/a/b"]),
            ("/%61/%7E%2d%5F%2e%2e", &["/a/~-_.."]),
            ("/a/./b/../c", &["/a/c"]),
            ("/a/%2E%2e/b", &["/b"]),
            ("/a/..", &["/"]),
            ("/a/b/.", &["/a/b/", "/a/b"]),
            ("/a/", &["/a/", "/a"]),
            ("/a:b@c", &["/a:b@c"]),
            ("/a%3ab", &["/a%3Ab", "/a:b"]),
            ("/caf%C3%A9", &["/caf\u{e9}"]),
            ("/caf\u{e9}", &["/caf\u{e9}"]),
            ("/a%20b", &["/a b"]),
            ("/a;x/b;y", &["/a;x/b;y", "/a/b", "/a"]),
            ("/a%3bx/b", &["/a%3Bx/b", "/a/b", "/a", "/a;x/b"]),
            ("/a..b/c.", &["/a..b/c."]),
        ] {
            assert_eq!(readings(path).unwrap_or_else(|why| panic!("{path}: {why}")), expected, "{path}");
        }
    }

    #[test]
    fn what_is_ambiguous_has_no_readings() {
        for (path, why) in [
            ("", "no slash"),
            ("a", "no slash"),
            ("*", "no slash"),
            ("//", "empty segment"),
            ("/a//b", "empty segment"),
            ("/a/..//b", "empty segment"),
            ("/..", "above the root"),
            ("/a/../../b", "above the root"),
            ("/%2e%2e/a", "above the root"),
            ("/a%2fb", "escaped slash"),
            ("/..%2Fb", "escaped slash"),
            ("/a\\b", "backslash"),
            ("/a%5cb", "backslash"),
            ("/%252e", "escaped `%`"),
            ("/a%25", "escaped `%`"),
            ("/a%", "two hexadecimal digits"),
            ("/a%4", "two hexadecimal digits"),
            ("/a%zz", "two hexadecimal digits"),
            ("/a%u002e", "two hexadecimal digits"),
            ("/a%+1", "two hexadecimal digits"),
            ("/a%00", "control character"),
            ("/a%0d%0aX", "control character"),
            ("/a%7f", "control character"),
            ("/a%C2%85", "control character"),
            ("/a%3Fb", "escaped `?`"),
            ("/a%23b", "escaped `?` or `#`"),
            ("/a%C0%AFb", "not UTF-8"),
            ("/%C0%AE%C0%AE/b", "not UTF-8"),
            ("/a%E0%80%AFb", "not UTF-8"),
            ("/a%ff", "not UTF-8"),
            ("/..;x/b", "dots, spaces or parameters"),
            ("/a/;x/b", "dots, spaces or parameters"),
            ("/a/..%3bx/b", "dots, spaces or parameters"),
            ("/a/.../b", "dots, spaces or parameters"),
            ("/a/..%20/b", "dots, spaces or parameters"),
            ("/a;x/../b", "a dot segment beside a `;`"),
        ] {
            let found = readings(path).expect_err(path);
            assert!(found.contains(why), "{path}: {found}");
        }
    }

    #[test]
    fn a_plain_path_has_one_reading() {
        for (path, expected) in [
            ("/", Ok("/")),
            ("/openai/v1/models", Ok("/openai/v1/models")),
            ("/%6fpenai", Ok("/openai")),
            ("/a/./b", Err("a dot segment")),
            ("/a/%2e%2E", Err("a dot segment")),
            ("/a;b", Err("a `;`")),
            ("/a%3Ab", Err("an escaped reserved character")),
            ("/a/", Err("a slash at its end")),
            ("/a//b", Err("an empty segment (`//`)")),
        ] {
            let found = plain(path);
            assert_eq!(found.as_deref(), expected.as_ref().copied(), "{path}");
            assert!(found.is_err() || readings(path).unwrap().len() == 1, "{path}");
        }
    }
}

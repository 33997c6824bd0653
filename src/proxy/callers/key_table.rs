//! The keys of callers: lines of `name sha256`, and whose key a request has.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use crate::report::Problem;

/// The caller whose key is `PROXY_API_KEY`.
pub(crate) const DEFAULT_CALLER: &str = "default";
const MAX_NAME_LENGTH: usize = 64;
/// As many as rotation needs: the old key and the new one.
const KEYS_PER_NAME: usize = 2;

/// The SHA-256 of a key.
pub(super) type KeyDigest = [u8; 32];

pub(super) fn digest(key: &[u8]) -> KeyDigest {
    Sha256::digest(key).into()
}

/// The line of a key in the file of keys.
pub(crate) fn line(name: &str, key: &str) -> String {
    let hex: String = digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {hex}")
}

/// Whether a text can be a caller's name. Names are logged, so that what `openssl rand -hex` makes is none: it is a key.
pub(crate) fn is_name(text: &str) -> bool {
    let has = |class: fn(&u8) -> bool| text.as_bytes().iter().any(class);
    let is_key = text.len() >= 32
        && text.bytes().all(|b| b.is_ascii_hexdigit())
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic);
    (1..=MAX_NAME_LENGTH).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !is_key
}

/// Every key there is.
#[derive(PartialEq, Eq)]
pub(super) struct KeyTable(Vec<CallerKey>);

#[derive(PartialEq, Eq)]
struct CallerKey {
    name: Arc<str>,
    digest: KeyDigest,
}

/// Where a key is set.
#[derive(Clone, Copy)]
enum Place {
    Variable,
    Line(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable => f.write_str("PROXY_API_KEY"),
            Self::Line(number) => write!(f, "line {number}"),
        }
    }
}

impl KeyTable {
    /// `PROXY_API_KEY` alone.
    pub(super) fn single(key: KeyDigest) -> Self {
        Self(vec![CallerKey { name: DEFAULT_CALLER.into(), digest: key }])
    }

    /// The keys of a file's text and `PROXY_API_KEY`. `file` is what messages call the file; they name a line by its number
    /// and never quote it, because somebody may have put a key there in clear.
    ///
    /// # Errors
    ///
    /// What is wrong with the first line that is.
    pub(super) fn parse(file: &str, text: &str, variable: Option<KeyDigest>) -> Result<Self, Problem> {
        let mut builder = Builder::default();
        if let Some(digest) = variable {
            builder.add(file, DEFAULT_CALLER, digest, Place::Variable)?;
        }
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut is_empty = true;
        for (number, line) in (1..).zip(text.lines()) {
            let fields: Vec<&str> = line.split_whitespace().take(3).collect();
            if fields.first().is_none_or(|first| first.starts_with('#')) {
                continue;
            }
            let parsed = match fields[..] {
                [name, digest] if is_name(name) => unhex(digest).map(|digest| (name, digest)),
                _ => None,
            };
            let Some((name, digest)) = parsed else {
                return Err(malformed(file, number));
            };
            builder.add(file, name, digest, Place::Line(number))?;
            is_empty = false;
        }
        if is_empty {
            return Err(Problem::new(format!("{file} has no key"))
                .hint("add one: printf %s KEY | auth-proxy hash-key NAME >> FILE"));
        }
        Ok(builder.table)
    }

    /// The caller who has one of these keys; the first, if there are several. How long it takes depends on how many keys
    /// there are, not on which of them is the one, nor on how much of it was right: digests of equal length are compared in
    /// constant time, all of them, and what is found is selected without a branch.
    pub(super) fn find<'a>(&self, presented: impl IntoIterator<Item = &'a [u8]>) -> Option<&Arc<str>> {
        // Which key it is, counted from 1.
        let mut found = 0_u32;
        for key in presented {
            let digest = digest(key);
            for (number, known) in (1_u32..).zip(&self.0) {
                let is_first = found.ct_eq(&0) & known.digest.ct_eq(&digest);
                found.conditional_assign(&number, is_first);
            }
        }
        let index = usize::try_from(found).ok()?.checked_sub(1)?;
        self.0.get(index).map(|key| &key.name)
    }

    pub(super) fn keys(&self) -> usize {
        self.0.len()
    }

    /// How many names there are.
    pub(super) fn callers(&self) -> usize {
        let mut names: Vec<&str> = self.0.iter().map(|key| &*key.name).collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    }
}

struct Builder {
    table: KeyTable,
    places: HashMap<KeyDigest, Place>,
    /// Where the keys of a name are.
    names: HashMap<Arc<str>, Vec<Place>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self { table: KeyTable(Vec::new()), places: HashMap::new(), names: HashMap::new() }
    }
}

impl Builder {
    fn add(&mut self, file: &str, name: &str, digest: KeyDigest, place: Place) -> Result<(), Problem> {
        if digest == self::digest(b"") {
            return Err(Problem::new(format!("{file} {place} is the SHA-256 of nothing"))
                .hint("make the line again, and check that the key is not empty: auth-proxy hash-key NAME"));
        }
        if let Some(first) = self.places.insert(digest, place) {
            return Err(Problem::new(format!("{file} {place} has the same key as {first} (duplicate)"))
                .hint("each key stands once and belongs to one name: remove one of the two"));
        }
        let name: Arc<str> = name.into();
        let places = self.names.entry(Arc::clone(&name)).or_default();
        if let [first, second] = places[..] {
            let message = format!(
                "{file} {place} is a third key of the name that {first} and {second} have (duplicate)"
            );
            return Err(Problem::new(message).hint(format!(
                "a name has at most {KEYS_PER_NAME} keys, so that they can overlap while one is rotated: remove the oldest"
            )));
        }
        places.push(place);
        self.table.0.push(CallerKey { name, digest });
        Ok(())
    }
}

fn malformed(file: &str, number: usize) -> Problem {
    Problem::new(format!("{file} line {number} is not a name and a SHA-256"))
        .hint("a line is a name (1 to 64 letters, digits, dots, underscores and hyphens), a space, and the 64 hexadecimal digits of the key's SHA-256")
        .hint("make it with auth-proxy hash-key NAME, which reads the key from standard input; the key itself does not belong into the file")
}

fn unhex(text: &str) -> Option<KeyDigest> {
    let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut digest = KeyDigest::default();
    if text.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(key: &str) -> String {
        line("x", key)[2..].to_owned()
    }

    fn parse(text: &str) -> Result<KeyTable, Problem> {
        KeyTable::parse("FILE", text, None)
    }

    #[test]
    fn the_digest_is_what_other_programs_make() {
        // printf %s 0123456789abcdef | sha256sum
        let expected = "team-a 9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";
        assert_eq!(line("team-a", "0123456789abcdef"), expected);
    }

    #[test]
    fn names() {
        let (longest, longer) = ("a".repeat(64), "a".repeat(65));
        for (name, expected) in [
            ("a", true),
            ("Team_A.2-x", true),
            (longest.as_str(), true),
            ("default", true),
            (longer.as_str(), false),
            ("", false),
            ("a b", false),
            ("a/b", false),
            ("ä", false),
            ("3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f", false),
        ] {
            assert_eq!(is_name(name), expected, "{name}");
        }
    }

    #[test]
    fn whose_key_it_is() {
        let (a, b, c) = (hex("key of a"), hex("key of b"), hex("second key of a").to_uppercase());
        let text = format!("\u{feff}# callers\r\n\r\n a \t {a}\r\n  # more\nb {b}\na {c}");
        let table =
            KeyTable::parse("FILE", &text, Some(digest(b"the variable's"))).unwrap_or_else(|p| panic!("{p}"));
        assert_eq!((table.keys(), table.callers()), (4, 3));
        for (keys, expected) in [
            (&["key of a"][..], Some("a")),
            (&["second key of a"], Some("a")),
            (&["key of b"], Some("b")),
            (&["the variable's"], Some("default")),
            (&["wrong", "key of b", "key of a"], Some("b")),
            (&["key of"], None),
            (&["key of a "], None),
            (&[a.as_str()], None),
            (&[""], None),
            (&[], None),
        ] {
            let found = table.find(keys.iter().map(|key| key.as_bytes()));
            assert_eq!(found.map(|name| &**name), expected, "{keys:?}");
        }
        let single = KeyTable::single(digest(b"one"));
        assert_eq!(single.find([&b"one"[..]]).map(|name| &**name), Some("default"));
        assert_eq!(single.find([&b"two"[..]]), None);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line_and_not_shown() {
        let (one, two, three) = (hex("one"), hex("two"), hex("three"));
        let nothing = hex("");
        let malformed = "is not a name and a SHA-256";
        for (text, expected) in [
            (String::new(), "FILE has no key"),
            ("\n# team-a\n\n".into(), "FILE has no key"),
            (format!("# x\nsecret-key-in-clear {}", &one[..63]), malformed),
            (format!("a {one}0"), malformed),
            (format!("a {}g", &one[..63]), malformed),
            (format!("a {one} comment"), malformed),
            (format!("a:{one}"), malformed),
            (one.clone(), malformed),
            ("secret-key-in-clear".into(), malformed),
            (format!("{one} {two}"), malformed),
            (format!("a/b {one}"), malformed),
            (format!("{} {one}", "a".repeat(65)), malformed),
            (format!("a {one}\n\na {one}"), "FILE line 3 has the same key as line 1 (duplicate)"),
            (
                format!("a {one}\nb {}", one.to_uppercase()),
                "FILE line 2 has the same key as line 1 (duplicate)",
            ),
            (
                format!("a {one}\nb {}\na {two}\na {three}", hex("four")),
                "FILE line 4 is a third key of the name that line 1 and line 3 have (duplicate)",
            ),
            (format!("a {nothing}"), "FILE line 1 is the SHA-256 of nothing"),
        ] {
            let problem = parse(&text).err().unwrap_or_else(|| panic!("{text} is accepted"));
            assert!(problem.message.contains(expected), "{text}: {problem}");
            assert!(!problem.hints.is_empty(), "{problem}");
            assert!(
                !problem.to_string().contains("clear\n") && !problem.to_string().contains(&one[..8]),
                "{problem}"
            );
        }
        assert!(parse("# x\nsecret-key-in-clear").err().unwrap().message.starts_with("FILE line 2 "));
    }

    #[test]
    fn the_variable_is_one_of_the_two_keys_of_default() {
        let variable = Some(digest(b"one"));
        let (one, two, three) = (hex("one"), hex("two"), hex("three"));
        assert_eq!(
            KeyTable::parse("F", &format!("default {two}"), variable).ok().map(|it| it.keys()),
            Some(2)
        );
        for (text, expected) in [
            (format!("a {one}"), "F line 1 has the same key as PROXY_API_KEY (duplicate)"),
            (format!("default {one}"), "F line 1 has the same key as PROXY_API_KEY (duplicate)"),
            (
                format!("default {two}\ndefault {three}"),
                "F line 2 is a third key of the name that PROXY_API_KEY and line 1 have (duplicate)",
            ),
        ] {
            assert_eq!(KeyTable::parse("F", &text, variable).err().unwrap().message, expected);
        }
    }
}

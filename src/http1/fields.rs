//! Header fields as they came (RFC 9110 section 5): names in their own spelling, values, their order. Whoever passes
//! fields on changes none; who looks for one does not mind its spelling.

use std::fmt;

/// Header fields.
#[derive(Clone, Default)]
pub struct Fields {
    /// Lines as they are sent: `name: value` and CR LF. Some may be of fields that were removed.
    text: Vec<u8>,
    /// The fields there are, in order.
    lines: Vec<Line>,
}

/// Where in the text a field is.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: usize,
    /// Where the name ends, and a colon and a space follow.
    name: usize,
    /// Behind the CR LF.
    end: usize,
}

impl Fields {
    /// None yet; room for this many, and for this many bytes of names and values together.
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes + 4 * fields), lines: Vec::with_capacity(fields) }
    }

    /// Adds a field after the others.
    ///
    /// # Panics
    ///
    /// Name or value have a CR, LF or NUL: one field would become two for whoever reads it. Parsers let none through, so
    /// this is a bug, which costs the one request.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b": ");
        self.text.extend_from_slice(value);
        let broken = memchr::memchr3(b'\r', b'\n', 0, &self.text[start..]);
        assert!(broken.is_none(), "a header field with a line break");
        self.text.extend_from_slice(b"\r\n");
        self.lines.push(Line { start, name: start + name.len(), end: self.text.len() });
    }

    /// Puts one field in place of all of that name, spelt like the first of them.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        let first = self.iter().map(|(other, _)| other).find(|other| is(other, name));
        let spelling = readable(first.unwrap_or(name.as_bytes())).to_owned();
        self.retain(|other, _| !is(other, name));
        self.push(&spelling, value);
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| parts(&self.text, *line))
    }

    /// Every value of that name, in order.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        // Nearly all others differ in length already.
        let lines = self.lines.iter().filter(move |line| line.name - line.start == name.len());
        let fields = lines.map(|line| parts(&self.text, *line));
        fields.filter(move |(other, _)| is(other, name)).map(|(_, value)| value)
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// Whether there is a field of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Keeps the fields for which `keep` says so, given name and value.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let text = &self.text;
        self.lines.retain(|line| {
            let (name, value) = parts(text, *line);
            keep(name, value)
        });
    }

    /// Appends all lines to `out`, as they are sent.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut lines = self.lines.iter().peekable();
        while let Some(first) = lines.next() {
            // Adjacent fields go in one piece.
            let mut end = first.end;
            while let Some(line) = lines.next_if(|line| line.start == end) {
                end = line.end;
            }
            out.extend_from_slice(&self.text[first.start..end]);
        }
    }

    /// Bytes of all lines.
    pub fn size(&self) -> usize {
        self.lines.iter().map(|line| line.end - line.start).sum()
    }
}

fn parts(text: &[u8], line: Line) -> (&[u8], &[u8]) {
    (&text[line.start..line.name], &text[line.name + 2..line.end - 2])
}

/// Whether a field's name is this one (RFC 9110 section 5.1: names are case-insensitive).
pub fn is(name: &[u8], wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted.as_bytes())
}

/// The elements of a list (RFC 9110 section 5.6.1), without the white space around them.
pub fn elements(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// Without optional white space around it (RFC 9110 section 5.6.3: spaces and tabs).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A name for people to read.
pub fn readable(name: &[u8]) -> &str {
    std::str::from_utf8(name).unwrap_or_default()
}

impl<const N: usize> From<[(&str, &str); N]> for Fields {
    fn from(fields: [(&str, &str); N]) -> Self {
        let mut made = Self::default();
        fields.iter().for_each(|(name, value)| made.push(name, value.as_bytes()));
        made
    }
}

/// The same names and values in the same order.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

/// Names alone: values may be secrets.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| readable(name))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fields: &Fields) -> String {
        let mut out = Vec::new();
        fields.write(&mut out);
        assert_eq!(out.len(), fields.size());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_leave_as_they_came_but_for_those_removed() {
        let mut fields =
            Fields::from([("Host", "a"), ("X-A", "1"), ("set-cookie", "k=v, w"), ("x-a", ""), ("Z", "2")]);
        assert_eq!(text(&fields), "Host: a\r\nX-A: 1\r\nset-cookie: k=v, w\r\nx-a: \r\nZ: 2\r\n");
        assert_eq!(fields.get_all("x-A").collect::<Vec<_>>(), [&b"1"[..], b""]);
        assert_eq!((fields.get("SET-cookie"), fields.get("X-")), (Some(&b"k=v, w"[..]), None));

        fields.retain(|name, value| is(name, "host") || value == b"2" || value == b"1");
        assert_eq!(text(&fields), "Host: a\r\nX-A: 1\r\nZ: 2\r\n");
        fields.set("x-a", b"3");
        fields.push("New", b"4");
        assert_eq!(text(&fields), "Host: a\r\nZ: 2\r\nX-A: 3\r\nNew: 4\r\n");
        assert!(fields.contains("new") && !fields.contains("set-cookie"));
        assert_eq!(fields, Fields::from([("Host", "a"), ("Z", "2"), ("X-A", "3"), ("New", "4")]));
        assert_ne!(fields, Fields::from([("Host", "a"), ("Z", "2"), ("X-A", "3"), ("new", "4")]));
    }

    #[test]
    fn no_field_becomes_two() {
        for (name, value) in
            [("a", "b\r\nc: d"), ("a", "b\nc"), ("a", "b\rc"), ("a", "\0"), ("a: b\r\nc", "d")]
        {
            let pushed = std::panic::catch_unwind(|| Fields::default().push(name, value.as_bytes()));
            assert!(pushed.is_err(), "{name:?} {value:?}");
        }
    }

    #[test]
    fn values_are_not_shown() {
        let fields = Fields::from([("authorization", "Bearer secret"), ("api-key", "secret")]);
        assert_eq!(format!("{fields:?}"), r#"["authorization", "api-key"]"#);
        assert_eq!(text(&Fields::default()), "");
    }
}

//! Percent-encoded names and values, of forms and of queries.

/// The decoded pairs in order; `+` is a space. A broken escape stays as it is.
pub fn pairs(text: &[u8]) -> Vec<(String, String)> {
    let pairs = text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let equals = pair.iter().position(|&byte| byte == b'=');
            let (name, value) = equals.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
            (decode(name), decode(value))
        })
        .collect()
}

/// The first value of this name in a query string.
pub fn query(query: &str, name: &str) -> Option<String> {
    pairs(query.as_bytes()).into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

/// The number of this name in a query string.
pub fn number(text: &str, name: &str) -> Option<u64> {
    query(text, name)?.parse().ok()
}

fn decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

//! `application/x-www-form-urlencoded` (WHATWG URL section 5.2), wiped after use: the assertion is in it.

use zeroize::Zeroizing;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The fields as a request body.
pub(super) fn encode(fields: &[(&str, &str)]) -> Zeroizing<String> {
    // Room for the worst case at once: growing would leave copies that nobody wipes.
    let room = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut body = Zeroizing::new(String::with_capacity(room));
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        push(&mut body, name);
        body.push('=');
        push(&mut body, value);
    }
    body
}

fn push(body: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) {
            body.push(char::from(byte));
        } else if byte == b' ' {
            body.push('+');
        } else {
            body.push('%');
            body.push(char::from(HEX[usize::from(byte >> 4)]));
            body.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_unreserved_characters_is_encoded() {
        let rows = [
            ("", ""),
            ("aZ09*-._", "aZ09*-._"),
            ("https://a.test/.default", "https%3A%2F%2Fa.test%2F.default"),
            ("a b+c&d=e%", "a+b%2Bc%26d%3De%25"),
            ("é~\n", "%C3%A9%7E%0A"),
        ];
        for (text, encoded) in rows {
            assert_eq!(encode(&[("k", text)]).as_str(), format!("k={encoded}"));
        }
        assert_eq!(encode(&[("a", "1"), ("b", "2")]).as_str(), "a=1&b=2");
    }

    #[test]
    fn the_buffer_never_grows() {
        let worst = "é".repeat(1000);
        let body = encode(&[("é", &worst), ("é", &worst)]);
        assert!(body.capacity() <= 2 * (3 * 2002 + 2), "{}", body.capacity());
    }
}

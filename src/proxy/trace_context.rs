//! `traceparent` (W3C Trace Context): by its trace id a request is found in other programs' logs. It is only read; the field is
//! forwarded as it came.

use crate::fields::Fields;

/// The trace id of a request; none when there is no `traceparent`, more than one, or one that is malformed.
pub(super) fn trace_id(headers: &Fields) -> Option<&str> {
    let mut values = headers.get_all("traceparent");
    let value = std::str::from_utf8(values.next()?).ok().filter(|_| values.next().is_none())?;
    // version "-" trace-id "-" parent-id "-" trace-flags (section 3.2.2).
    let mut parts = value.split('-');
    let (version, trace_id) = (hex(parts.next()?, 2)?, hex(parts.next()?, 32)?);
    let parent_id = hex(parts.next()?, 16)?;
    hex(parts.next()?, 2)?;
    // A later version may add parts behind, version 00 has none.
    let is_valid = version != "ff" && (version != "00" || parts.next().is_none());
    let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
    (is_valid && !is_zero(trace_id) && !is_zero(parent_id)).then_some(trace_id)
}

/// The text, if it is that number of lowercase hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<&str> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    (text.len() == digits && text.bytes().all(is_hex)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_field_has_a_trace_id() {
        const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (value, expected) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736g-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", false),
            ("00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01", false),
            ("4bf92f3577b34da6a3ce929d0e0e4736", false),
            ("", false),
            ("ä", false),
        ] {
            let fields = Fields::from([("Traceparent", value)]);
            assert_eq!(trace_id(&fields), expected.then_some(ID), "{value}");
        }
        assert_eq!(trace_id(&Fields::default()), None);
        let value = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id(&Fields::from([("traceparent", value), ("traceparent", value)])), None);
    }
}

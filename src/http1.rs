//! HTTP/1.1 messages (RFC 9112): from bytes to their meaning and back. No sockets, no threads, no settings: the server
//! and the upstream read their peers' messages with the same functions.

pub(crate) mod authority;
pub mod chunked;
pub mod fields;
pub(crate) mod framing;
pub(crate) mod head;
pub(crate) mod path;

/// Whether this may stand in a token (RFC 9110 section 5.6.2): a method, a field's name.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

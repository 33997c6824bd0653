//! Request heads: the end is where it is however the bytes arrive, and what is accepted is exactly what a naive
//! strict reader accepts, with the same meaning.

use auth_proxy::server::head::{find_end, parse};
use auth_proxy::server::{Head, Length, Refusal};
use http::Version;

use super::pieces::{self, Pieces};
use super::reference::{self, Request};

/// `data` is what a client sends.
pub fn check(data: &[u8]) {
    let end = find_end(data, 0);
    for pieces in pieces::ways(data) {
        assert_eq!(find_in_pieces(data, pieces), end, "the end depends on how the bytes arrive");
    }
    assert_eq!(end.as_ref().map(|end| *end).map_err(|_| ()), naive_end(data), "the end is elsewhere");
    let Ok(Some(end)) = end else {
        // Nobody parses this, but nothing may break either.
        let _ = parse(data);
        return;
    };
    let head = parse(&data[..end]);
    let expected = reference::request(&data[..end]);
    match (head, expected) {
        (Ok(head), Some(expected)) => {
            assert_eq!(as_request(&head), expected, "read otherwise than by the naive reader");
            check_accepted(&head);
        }
        (Ok(head), None) => panic!("accepted what must be refused: {head:?}"),
        (Err(refusal), Some(_)) => panic!("refused what must be accepted: {refusal:?}"),
        (Err(refusal), None) => assert!(refusal.status.is_client_error() || refusal.status.is_server_error()),
    }
}

fn find_in_pieces(data: &[u8], mut pieces: Pieces) -> Result<Option<usize>, Refusal> {
    let (mut seen, mut here) = (0, 0);
    while here < data.len() {
        here += pieces.next(data.len() - here);
        match find_end(&data[..here], seen) {
            Ok(None) => seen = here,
            found => return found,
        }
    }
    Ok(None)
}

/// Byte by byte: the first end or fault decides. A CR at the end of what is there may still get its LF.
fn naive_end(data: &[u8]) -> Result<Option<usize>, ()> {
    // A client that speaks TLS is told so at once.
    if data.starts_with(&[0x16, 0x03]) {
        return Err(());
    }
    for (i, byte) in data.iter().enumerate() {
        let (before, behind) = (&data[..i], data.get(i + 1));
        match byte {
            b'\r' if behind.is_some_and(|behind| *behind != b'\n') => return Err(()),
            b'\n' if !before.ends_with(b"\r") => return Err(()),
            b'\n' if before.ends_with(b"\r\n\r") => return Ok(Some(i + 1)),
            b' ' | b'\t' if before.ends_with(b"\r\n") => return Err(()),
            _ => {}
        }
    }
    Ok(None)
}

fn check_accepted(head: &Head) {
    assert!(head.target.starts_with('/') && head.path().starts_with('/'));
    for name in ["host", "content-length", "transfer-encoding"] {
        assert!(head.headers.get_all(name).count() <= 1, "two of {name}");
    }
    let mut text = format!("{} {} {:?}\r\n", head.method, head.target, head.version).into_bytes();
    head.headers.write(&mut text);
    text.extend_from_slice(b"\r\n");
    assert_eq!(find_end(&text, 0), Ok(Some(text.len())));
    let again = parse(&text).expect("what was accepted is accepted when written again");
    assert_eq!(
        (&again.method, &again.target, again.version, &again.headers, again.length),
        (&head.method, &head.target, head.version, &head.headers, head.length)
    );
}

fn as_request(head: &Head) -> Request {
    Request {
        method: head.method.as_str().into(),
        target: head.target.clone().into(),
        is_http_10: head.version == Version::HTTP_10,
        fields: reference::fields(&head.headers),
        length: match head.length {
            Length::Empty => Some(0),
            Length::Known(length) => Some(length),
            Length::Unknown => None,
        },
    }
}

//! Request heads: the end is where it is however the bytes arrive, and what is accepted is exactly what a naive
//! strict reader accepts, with the same meaning.

use auth_proxy::testing::{HeadFault, Length, RequestHead, Scan, parse_request, read_request};
use http::Version;

use super::pieces::{self, Pieces};
use super::reference::{self, Request};

const MAX_HEAD: usize = 64 * 1024;

/// `data` is what a client sends.
pub fn check(data: &[u8]) {
    let [whole, others @ ..] = pieces::ways(data);
    let read = read_in_pieces(data, whole);
    for pieces in others {
        let found = read_in_pieces(data, pieces);
        match (&found, &read) {
            (Ok(found), Ok(read)) => {
                let parts =
                    |read: &Option<(RequestHead, usize)>| read.as_ref().map(|(h, end)| (as_request(h), *end));
                assert_eq!(parts(found), parts(read), "it depends on how the bytes arrive");
            }
            // Which of two faults is noticed first may depend on it, and in a head that is not whole whether it is.
            (Err(_), Err(_)) | (Ok(None), Err(_)) | (Err(_), Ok(None)) => {}
            _ => panic!("it depends on how the bytes arrive: {found:?}, {read:?}"),
        }
    }
    let naive = naive_end(data);
    match (read, naive) {
        (Ok(None), Ok(None)) => {}
        (Ok(None), naive) => panic!("there is an end: {naive:?}"),
        (Ok(Some((head, end))), naive) => {
            assert_eq!(naive, Ok(Some(end)), "the end is elsewhere");
            let expected = reference::request(&data[..end]);
            let expected = expected.unwrap_or_else(|| panic!("accepted what must be refused: {head:?}"));
            assert_eq!(as_request(&head), expected, "read otherwise than by the naive reader");
            check_accepted(&head);
        }
        (Err(fault), Ok(Some(end))) => {
            let good = reference::request(&data[..end]);
            assert!(good.is_none(), "refused what must be accepted: {fault:?}");
        }
        // Its first bytes are wrong already, or its lines are.
        (Err(_), Ok(None) | Err(())) => {}
    }
}

fn read_in_pieces(data: &[u8], mut pieces: Pieces) -> Result<Option<(RequestHead, usize)>, HeadFault> {
    let (mut scan, mut here) = (Scan::default(), 0);
    while here < data.len() {
        here += pieces.next(data.len() - here);
        let read = read_request(&data[..here], &mut scan, MAX_HEAD)?;
        if read.is_some() {
            return Ok(read);
        }
    }
    Ok(None)
}

/// Byte by byte: the first end or fault decides. A CR at the end of what is there may still get its LF.
fn naive_end(data: &[u8]) -> Result<Option<usize>, ()> {
    // A client that speaks TLS gets its own message at once.
    if data.starts_with(&[0x16, 0x03]) || data.starts_with(b"PROXY ") {
        return Err(());
    }
    for (i, byte) in data.iter().enumerate() {
        let (before, after) = (&data[..i], data.get(i + 1));
        match byte {
            b'\r' if after.is_some_and(|after| *after != b'\n') => return Err(()),
            b'\n' if !before.ends_with(b"\r") => return Err(()),
            b'\n' if before.ends_with(b"\r\n\r") => return Ok(Some(i + 1)),
            b' ' | b'\t' if before.ends_with(b"\r\n") => return Err(()),
            _ => {}
        }
    }
    Ok(None)
}

fn check_accepted(head: &RequestHead) {
    assert!(head.target.starts_with('/') && head.path().starts_with('/') || head.target == "*");
    for name in ["host", "content-length", "transfer-encoding"] {
        assert!(head.headers.get_all(name).count() <= 1, "two of {name}");
    }
    let mut text = format!("{} {} {:?}\r\n", head.method, head.target, head.version).into_bytes();
    head.headers.write(&mut text);
    text.extend_from_slice(b"\r\n");
    let again = parse_request(&text).expect("what was accepted is accepted when written again");
    assert_eq!(
        (&again.method, &again.target, again.version, &again.headers, again.length),
        (&head.method, &head.target, head.version, &head.headers, head.length)
    );
}

fn as_request(head: &RequestHead) -> Request {
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

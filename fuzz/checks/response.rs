//! Responses: head and body are the same however the bytes arrive, and as a naive reader of the whole reads them.

use auth_proxy::testing::{Decoder, Scan, chunked, read_response};

use super::pieces::{self, Pieces};
use super::reference::{self, End, Fields};

/// Far less than in the program, so that short inputs reach them.
const MAX_HEAD: usize = 1000;
const ALLOWANCE: usize = 100;

/// `data` is what an upstream sends; and once more what it sends after the head of a chunked response.
pub fn check(data: &[u8]) {
    check_head(data);
    let (body, end) = reference::chunks(data, ALLOWANCE);
    for pieces in pieces::ways(data) {
        let (read, read_end) = decode(data, pieces);
        assert_eq!((&read, &read_end), (&body, &end), "read otherwise than by the naive reader");
    }
}

fn check_head(data: &[u8]) {
    let [whole, others @ ..] = pieces::ways(data);
    let expected = read(data, whole);
    for pieces in others {
        let found = read(data, pieces);
        // In a head that is not whole a fault may be noticed later.
        let is_open = |read: &Result<Option<_>, ()>| matches!(read, Ok(None) | Err(()));
        assert!(
            found == expected || is_open(&found) && is_open(&expected),
            "it depends on how the bytes arrive"
        );
    }
    let naive = reference::response(data).filter(|(_, _, length)| *length <= MAX_HEAD);
    match (expected, naive) {
        (Ok(Some(read)), Some(naive)) => assert_eq!(read, naive),
        (Ok(Some(read)), None) => panic!("accepted what must be refused: {read:?}"),
        (Ok(None) | Err(()), Some(naive)) => panic!("not read: {naive:?}"),
        (Ok(None) | Err(()), None) => {}
    }
}

/// The head, as [`reference::response`] has it; none when more of it has to come.
fn read(data: &[u8], mut pieces: Pieces) -> Result<Option<(u16, Fields, usize)>, ()> {
    let (mut scan, mut here) = (Scan::default(), 0);
    while here < data.len() {
        here += pieces.next(data.len() - here);
        if let Some((head, length)) = read_response(&data[..here], &mut scan, MAX_HEAD).map_err(|_| ())? {
            return Ok(Some((head.status.as_u16(), reference::fields(&head.headers), length)));
        }
    }
    Ok(None)
}

/// The data of a body in chunks, decoded in place, and how it ends.
fn decode(data: &[u8], mut pieces: Pieces) -> (Vec<u8>, End) {
    let mut decoder = Decoder::new(ALLOWANCE);
    let (mut body, mut here) = (Vec::new(), 0);
    while here < data.len() {
        let piece = pieces.next(data.len() - here);
        let mut bytes = data[here..here + piece].to_vec();
        let decoded = chunked::decode_in_place(&mut decoder, &mut bytes);
        body.extend_from_slice(&bytes[..decoded.data]);
        here += decoded.taken;
        if decoded.next.is_err() {
            return (body, End::Wrong);
        }
        if decoder.is_complete() {
            return (body, End::Whole(here));
        }
        assert_eq!(decoded.taken, piece, "something of the body was left");
    }
    (body, End::Cut)
}

use std::io::Write;
use std::time::Duration;

use super::*;
use crate::net;

/// Reads a body sent as `sent` to its end; gives it, and what is left after it.
fn read(length: Length, sent: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (server, mut client) = net::pair();
    client.write_all(sent).unwrap();
    drop(client);
    let mut input = Input::new(server);
    let mut body = Body::new(length, 64);
    let (mut all, mut buffer) = (Vec::new(), [0; 3]);
    loop {
        match body.read(&mut input, &mut buffer, Instant::now() + Duration::from_secs(5))? {
            0 => return Ok((all, input.bytes().to_vec())),
            n => all.extend_from_slice(&buffer[..n]),
        }
    }
}

#[test]
fn bodies_end_where_they_should() {
    let chunked = |sent: &str| read(Length::Unknown, sent.as_bytes()).unwrap().0;
    assert_eq!(read(Length::Empty, b"").unwrap().0, b"");
    assert_eq!(read(Length::Known(4), b"abcdNEXT").unwrap(), (b"abcd".to_vec(), b"".to_vec()));
    assert_eq!(chunked("4\r\nabcd\r\n0\r\n\r\n"), b"abcd");
    assert_eq!(chunked("4;a=b\r\nabcd\r\n2 ; q=\"x\"\r\nef\r\n00\r\nT: 1\r\nU:\r\n\r\n"), b"abcdef");
    let (body, rest) = read(Length::Unknown, b"1\r\na\r\n0\r\n\r\nGET").unwrap();
    assert_eq!((body.as_slice(), rest.as_slice()), (b"a".as_slice(), b"GET".as_slice()));
}

#[test]
fn truncated_bodies_are_errors() {
    let kind = |length, sent: &[u8]| read(length, sent).unwrap_err().kind();
    assert_eq!(kind(Length::Known(4), b"abc"), io::ErrorKind::UnexpectedEof);
    for sent in ["", "4", "4\r\nab", "4\r\nabcd", "4\r\nabcd\r\n", "0\r\n", "0\r\nT: 1\r\n"] {
        assert_eq!(kind(Length::Unknown, sent.as_bytes()), io::ErrorKind::UnexpectedEof, "{sent:?}");
    }
}

#[test]
fn malformed_chunks_are_errors() {
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(2000));
    let endless = "0".repeat(5000);
    for sent in [
        "+4\r\nabcd\r\n0\r\n\r\n",
        "4\nabcd\r\n0\r\n\r\n",
        "4\r\nabcde\r\n0\r\n\r\n",
        "4\r\nabcd\n0\r\n\r\n",
        "\r\n",
        "0\r\nno colon\r\n\r\n",
        &long,
        &endless,
    ] {
        let error = read(Length::Unknown, sent.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{sent:.40?}");
    }
}

/// What a client sends, all of it here already.
struct Received(&'static [u8]);

impl Source for Received {
    fn read(&mut self, into: &mut [u8], _: Instant) -> io::Result<usize> {
        let count = into.len().min(self.0.len());
        into[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn framing_alone_is_taken_in_and_is_no_reason_to_read() {
    const MALFORMED: Result<bool, io::ErrorKind> = Err(io::ErrorKind::InvalidData);
    for (expected, first, then) in [
        (Ok(false), "", ""),
        (Ok(false), "5", ""),
        (Ok(false), "5\r\n", ""),
        (Ok(true), "5\r\nx", ""),
        (MALFORMED, "x", ""),
        (Ok(false), "1\r\nx\r\n", "x"),
        (Ok(false), "1\r\nx\r\n5\r\n", "x"),
        (Ok(true), "1\r\nx\r\n5\r\ny", "x"),
        (MALFORMED, "1\r\nxX", "x"),
        (Ok(false), "0\r\n", ""),
        (Ok(false), "0\r\nX: y\r\n", ""),
        (Ok(true), "0\r\nX: y\r\n\r\n", ""),
        (Ok(true), "0\r\n\r\n", ""),
    ] {
        let mut input = Input::new(Received(first.as_bytes()));
        let mut body = Body::new(Length::Unknown, 64);
        let _ = input.fill(Instant::now());
        for _ in then.chars() {
            assert_eq!(body.read(&mut input, &mut [0], Instant::now()).unwrap(), 1);
        }
        let polled = body.poll(&mut input).map_err(|error| error.kind());
        assert_eq!(polled, expected, "{first:?} after {then:?}");
        assert!(expected != Ok(false) || input.bytes().is_empty(), "framing is kept: {first:?}");
    }
}

use super::*;

fn status(head: &str) -> u16 {
    match find_end(head.as_bytes(), 0).and_then(|end| {
        assert_eq!(end, Some(head.len()), "{head:?}");
        parse(head.as_bytes())
    }) {
        Ok(_) => 200,
        Err(refusal) => refusal.status.as_u16(),
    }
}

#[test]
fn heads_and_what_they_deserve() {
    for (expected, head) in [
        (200, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (200, "FOO /x?y=%zz HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
        (200, "GET / HTTP/1.0\r\n\r\n"),
        (200, "GET http://a/ HTTP/1.0\r\n\r\n"),
        (200, "GET http://A:1/x HTTP/1.1\r\nHost: a:1\r\n\r\n"),
        (200, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        (400, "GET / HTTP/1.0\r\nHost: \r\n\r\n"),
        (400, "GET http://a,b/ HTTP/1.0\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
        (400, "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a  HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"),
        (501, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (501, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (505, "PRI * HTTP/2.0\r\n\r\n"),
        (505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/2\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/01.01\r\nHost: a\r\n\r\n"),
        (400, "GET / FTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        assert_eq!(status(head), expected, "{head:?}");
    }
}

#[test]
fn the_end_is_found_however_the_bytes_arrive() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for split in 0..head.len() {
        assert_eq!(find_end(&head[..split], 0), Ok(None), "{split}");
        assert_eq!(find_end(head, split), Ok(Some(head.len())), "{split}");
    }
}

#[test]
fn bare_line_ends_are_refused_wherever_they_are() {
    for head in ["GET / HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", "\n\n", "\r\r"] {
        assert!(find_end(head.as_bytes(), 0).is_err(), "{head:?}");
    }
}

#[test]
fn a_client_that_speaks_tls_is_known_by_its_first_bytes() {
    assert!(find_end(b"\x16\x03\x01\x02\x00", 0).unwrap_err().message.contains("http://"));
    assert_eq!(find_end(b"\x16", 0), Ok(None));
}

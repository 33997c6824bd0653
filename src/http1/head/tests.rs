use super::*;

/// The status that these bytes deserve once all of them are here, and how many had to come for it to be known.
fn status(bytes: &[u8], step: usize) -> (u16, usize) {
    let mut scan = Scan::default();
    let mut here = 0;
    while here < bytes.len() {
        here = (here + step).min(bytes.len());
        match read_request(&bytes[..here], &mut scan, 4096) {
            Ok(None) => {}
            Ok(Some((_, end))) => {
                assert_eq!(end, bytes.len(), "{:?}", String::from_utf8_lossy(bytes));
                return (200, here);
            }
            Err(fault) => {
                let status = match fault.kind {
                    FaultKind::BadRequest => 400,
                    FaultKind::FieldsTooLarge => 431,
                    FaultKind::MethodNotSupported | FaultKind::TransferCodingNotSupported => 501,
                    FaultKind::UriTooLong => 414,
                    FaultKind::VersionNotSupported => 505,
                };
                return (status, here);
            }
        }
    }
    (0, here)
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
        (200, "GET http://h:80/x HTTP/1.1\r\nHost: h\r\n\r\n"),
        (200, "GET https://h/x HTTP/1.1\r\nHost: h:443\r\n\r\n"),
        (400, "GET http://h:443/x HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET ://h/x HTTP/1.1\r\nHost: h\r\n\r\n"),
        (200, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
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
        for step in [1, 7, 4096] {
            assert_eq!(status(head.as_bytes(), step).0, expected, "{head:?} by {step}");
        }
    }
}

/// Each with how many of its bytes have to come, one by one, for the fault to be known.
#[test]
fn what_is_wrong_is_known_before_all_of_it_has_come() {
    for (most, bytes) in [
        (1, b"\0\x01\x02\x03".to_vec()),
        (2, b"\x16\x03\x01\x02\x00".to_vec()),
        (6, b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n".to_vec()),
        (24, b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
        (16, b"GET / HTTP/1.2\r\n".to_vec()),
        (24, b"GET / HTTP/1.1\r\ngarbage\r\n".to_vec()),
        (18, b"GET / HTTP/1.1\r\n : x\r\n".to_vec()),
        (18, b"GET / HTTP/1.1\nHost: a\n".to_vec()),
        (4097, [&b"GET /"[..], &[b'x'; 5000]].concat()),
        (4097, [&b"GET / HTTP/1.1\r\nX: "[..], &[b'x'; 5000]].concat()),
        (1000, [&b"GET / HTTP/1.1\r\n"[..], &b"X: y\r\n".repeat(1000)].concat()),
    ] {
        let (status, here) = status(&bytes, 1);
        assert!((400..=505).contains(&status) && here <= most, "{status} after {here} of {bytes:.40?}");
    }
}

/// However a head arrives, its bytes are looked at a few times, not once for each byte that comes.
#[test]
fn a_head_is_parsed_when_a_line_has_ended_or_it_has_doubled() {
    let mut scan = Scan::default();
    let head = [&b"GET /"[..], &[b'x'; 60_000]].concat();
    let mut parsed = 0;
    for length in 1..=head.len() {
        assert_eq!(scan.find_end(&head[..length], false), Ok(None));
        parsed += if scan.is_due(length) { length } else { 0 };
    }
    assert!(parsed < 2 * head.len(), "{parsed} bytes parsed of {}", head.len());
}

#[test]
fn the_end_is_found_however_the_bytes_arrive() {
    for (head, bare_lf) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], false),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", true),
        (b"HTTP/1.1 200 OK\nA: b\n\n", true),
        (b"HTTP/1.1 200 OK\nA: b\r\n\n", true),
    ] {
        for split in 0..head.len() {
            let mut scan = Scan::default();
            assert_eq!(scan.find_end(&head[..split], bare_lf), Ok(None), "{split}");
            assert_eq!(scan.find_end(head, bare_lf), Ok(Some(head.len())), "{split}");
        }
    }
}

#[test]
fn bare_line_ends_are_refused_wherever_they_are() {
    for head in ["GET / HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", "\n\n", "\r\r"] {
        assert!(Scan::default().find_end(head.as_bytes(), false).is_err(), "{head:?}");
    }
}

#[test]
fn responses_and_what_is_read_of_them() {
    let read = |bytes: &[u8], step: usize| {
        let mut scan = Scan::default();
        let mut here = 0;
        loop {
            here = (here + step).min(bytes.len());
            match read_response(&bytes[..here], &mut scan, 4096) {
                Ok(None) if here < bytes.len() => {}
                Ok(None) => return None,
                Ok(Some((head, end))) => return Some(Ok((head.status.as_u16(), head.headers, end))),
                Err(malformed) => return Some(Err((malformed, here))),
            }
        }
    };
    for (bytes, status, fields, rest) in [
        ("HTTP/1.1 200 OK\r\nA: b\r\nC:  d \r\n\r\nbody", 200, &[("A", "b"), ("C", "d")][..], "body"),
        ("HTTP/1.1 200\r\n\r\n", 200, &[], ""),
        ("\r\n\nHTTP/1.0 404 Not: Found\nA:b\n\nx", 404, &[("A", "b")], "x"),
        (
            "HTTP/1.1 200 OK\r\nx-a : 1\r\nContent-Length \t: 2\r\n\r\n",
            200,
            &[("x-a", "1"), ("Content-Length", "2")],
            "",
        ),
    ] {
        for step in [1, 7, 4096] {
            let (found, headers, end) = read(bytes.as_bytes(), step).unwrap().unwrap();
            assert_eq!((found, &bytes[end..]), (status, rest), "{bytes:?} by {step}");
            let found: Vec<_> = headers
                .iter()
                .map(|(n, v)| (str::from_utf8(n).unwrap(), str::from_utf8(v).unwrap()))
                .collect();
            assert_eq!(found, fields, "{bytes:?}");
        }
    }
    for (most, bytes) in [
        (4, "hello\r\n\r\n".to_owned()),
        (16, "220 smtp.test ESMTP\r\n".to_owned()),
        (16, "HTTP/2 200 OK\r\n\r\n".to_owned()),
        (22, "HTTP/1.1 1000 X\r\n\r\n".to_owned()),
        (21, "HTTP/1.1 099 X\r\n\r\n".to_owned()),
        (25, "HTTP/1.1 200 OK\r\ngarbage\r\n".to_owned()),
        (4100, format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(5000))),
        (4100, "\r\n".repeat(3000)),
        // What comes before a head counts, and a bare CR is no line.
        (4097, format!("{}HTTP/1.1 200 OK\r\n\r\n", "\r\n".repeat(2045))),
        (2, "\rHTTP/1.1 200 OK\r\n\r\n".to_owned()),
        (2000, format!("HTTP/1.1 200 OK\r\n{}", "Set-Cookie: a=b\r\n".repeat(200))),
    ] {
        if let Some(Err((_, here))) = read(bytes.as_bytes(), 1) {
            assert!(here <= if bytes.contains("Set-Cookie") { 3000 } else { most }, "{here}: {bytes:.40}");
        } else {
            panic!("{bytes:.40}");
        }
    }
}

#[test]
fn empty_lines_before_a_response_are_looked_at_once() {
    let bytes = "\r\n".repeat(1000);
    let mut scan = Scan::default();
    for here in 0..=bytes.len() {
        assert!(matches!(read_response(&bytes.as_bytes()[..here], &mut scan, 4096), Ok(None)));
        // A CR may be the first half of an empty line: it is looked at again with the next byte, and no other is.
        assert_eq!(scan.empty, here - here % 2);
    }
}

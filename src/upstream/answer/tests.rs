use super::*;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What is left of `sent`, received in pieces of `step` bytes; None when it is broken.
fn filtered(sent: &str, step: usize) -> Option<String> {
    let mut filter = Filter::default();
    let mut kept = Vec::new();
    for piece in sent.as_bytes().chunks(step) {
        kept.extend_from_slice(piece);
        let length = filter.pass(&mut kept, piece.len());
        kept.truncate(length);
        if filter.is_broken() {
            return None;
        }
    }
    Some(String::from_utf8(kept).unwrap())
}

#[test]
fn ureq_sees_what_it_can_read_however_the_bytes_arrive() {
    let long = format!("{CHUNKED}2;x={}\r\nhi\r\n0\r\n\r\n", "y".repeat(5000));
    let short = format!("{CHUNKED}2\r\nhi\r\n0\r\n\r\n");
    for (sent, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n2;", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n2;"),
        (
            "HTTP/1.1 100 C\r\nA: b\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 204 N\r\n\r\n",
            "HTTP/1.1 204 N\r\n\r\n",
        ),
        ("HTTP/1.1 101 S\r\nA: b\r\n\r\n\x01;\x02", "HTTP/1.1 101 S\r\nA: b\r\n\r\n\x01;\x02"),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1",
        ),
        ("nonsense\r\n\r\n", "nonsense\r\n\r\n"),
        (&long, &short),
        (&format!("{CHUNKED}2 ; a\r\nhi\r\n0;z\r\nT: 1\r\nU: 2\r\n\r\nHTTP"), &format!("{short}HTTP")),
        (&format!("{CHUNKED}0A\r\n01\r\n345;89\r\n0"), &format!("{CHUNKED}0A\r\n01\r\n345;89\r\n0")),
    ] {
        for step in [1, 2, 7, 100_000] {
            assert_eq!(filtered(sent, step).as_deref(), Some(expected), "{step}");
        }
    }
}

#[test]
fn fields_pass_by_all_but_those_that_ureq_reads_the_answer_by() {
    const FIELDS: [(&str, &str); 5] = [
        ("Set-Cookie", "a=1"),
        ("content-Length", "2"),
        ("X-A", ""),
        ("Connection", "close"),
        ("set-cookie", "b"),
    ];
    for (sent, left) in [
        (
            "HTTP/1.1 100 C\r\nA: b\r\n\r\n\r\nHTTP/1.1 200 Fine: so\r\nSet-Cookie: a=1\r\ncontent-Length:  2 \r\nX-A:\r\n\
             Connection: close\r\nset-cookie: b\r\n\r\nX: y\r\n\r\n",
            "\r\nHTTP/1.1 200 Fine: so\r\ncontent-Length:  2 \r\nConnection: close\r\n\r\nX: y\r\n\r\n",
        ),
        // Of line ends httparse takes the LF alone, too.
        (
            "HTTP/1.1 200\nSet-Cookie:a=1\ncontent-Length:2\nX-A:\nConnection:close\nset-cookie:b\n\n\n",
            "HTTP/1.1 200\ncontent-Length:2\nConnection:close\n\n\n",
        ),
    ] {
        for step in [1, 2, 7, 100_000] {
            let mut filter = Filter::default();
            filter.restart(true);
            let mut kept = Vec::new();
            for piece in sent.as_bytes().chunks(step) {
                kept.extend_from_slice(piece);
                let length = filter.pass(&mut kept, piece.len());
                kept.truncate(length);
            }
            assert_eq!(std::str::from_utf8(&kept), Ok(left), "{step}");
            assert_eq!(filter.take_fields(), Some(Fields::from(FIELDS)), "{step}");
            assert_eq!(filter.take_fields(), None);
        }
    }
}

#[test]
fn chunks_that_make_no_sense_are_broken() {
    let trailers = format!("0\r\nX: {}\r\n\r\n", "y".repeat(MAX_OVERHEAD));
    let extension = format!("1;{}\r\n", "y".repeat(MAX_OVERHEAD + 1));
    for chunks in [
        "+1\r\n",
        "-1\r\n",
        " 1\r\n",
        "0x1\r\n",
        "\r\n",
        ";x\r\n",
        "1\n",
        "1\rx",
        "1;x\n",
        "2\r\nhix",
        "2\r\nhi\rx",
        "00000000000000001\r\n",
        "0\r\n\rx",
        "0\r\nT: 1\r\n\n",
        "0\r\nT: 1\nU",
        "0\r\nT: 1\r\n ",
        "0\r\nHTTP/1.1",
        "0\r\n: 1",
        "0\r\nT : 1",
        "0\r\nT: \0",
        "1;\0",
        &trailers,
        &extension,
    ] {
        for step in [1, 100_000] {
            assert_eq!(filtered(&format!("{CHUNKED}{chunks}"), step), None, "{chunks:.20}");
        }
    }
}

//! What parses bytes of other programs holds for any bytes:
//!
//! - the fuzz targets' corpora, and a fixed number of mutations of each file, pass the checks of the fuzz targets;
//! - ureq reads every response that we accept as we do, row by row.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use http::Method;

use crate::checks;
use crate::checks::agreement::{Response, Verdict, compare};
use crate::pems;
use crate::sim::latin1;

/// Of each file.
const MUTATIONS: usize = 40;

fn run(target: &str, directory: &Path, mutations: usize) {
    let (_, check) = checks::ALL.iter().find(|(name, _)| *name == target).unwrap();
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|file| file.is_file());
    assert!(files.len() > 9, "{} has too few files", directory.display());
    let inputs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    // The order of files decides about the mutations, not the time or the machine.
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (file, input) in files.iter().zip(&inputs) {
        let mut one = input.clone();
        for mutation in 0..=mutations {
            if catch_unwind(AssertUnwindSafe(|| check(&one))).is_err() {
                let found = std::env::temp_dir().join(format!("auth-proxy-{target}-finding"));
                fs::write(&found, &one).unwrap();
                panic!("{}, mutation {mutation}, kept in {}", file.display(), found.display());
            }
            one.clone_from(input);
            for _ in 0..=random.below(3) {
                random.mutate(&mut one, &inputs);
            }
        }
    }
}

fn corpus(target: &str) {
    run(target, &Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target), MUTATIONS);
}

#[test]
fn the_response_corpus_holds() {
    corpus("response");
}

#[test]
fn the_agreement_corpus_holds() {
    corpus("agreement");
    run("agreement", &Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/response"), MUTATIONS);
}

#[test]
fn the_chunked_corpus_holds() {
    corpus("chunked");
}

#[test]
fn the_entra_corpus_holds() {
    corpus("entra");
}

#[test]
fn the_filter_corpus_holds() {
    corpus("filter");
}

#[test]
fn the_head_corpus_holds() {
    corpus("head");
}

#[test]
fn the_location_corpus_holds() {
    corpus("location");
}

#[test]
fn the_certificate_corpus_holds() {
    corpus("pem");
    // With keys in them, so that they are not in the repository.
    run("pem", pems::directory(), 5);
}

#[test]
fn the_corpus_of_files_with_passwords_holds() {
    corpus("pfx");
    run("pfx", pems::directory(), 1);
}

/// xorshift64, the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    /// One change of the kind that fuzzers make.
    fn mutate(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        const BYTES: &[u8] = b"\r\n\0 \t:;,%/?&=-+0aF\x7f\xff";
        let at = self.below(bytes.len() + 1);
        let to = at + self.below(bytes.len() - at + 1);
        match self.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 => bytes.insert(at, BYTES[self.below(BYTES.len())]),
            2 => drop(bytes.drain(at..to.min(at + 8))),
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[at..to].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = &others[self.below(others.len())];
                bytes.splice(at..to, other[self.below(other.len() + 1)..].iter().copied());
            }
        }
    }
}

/// What a row expects.
#[derive(Debug, PartialEq)]
enum Read {
    /// Both read this status and this body, and find this after it; a connection that can be used again or cannot.
    Whole(u16, &'static str, &'static str, Then),
    /// Both read this status and this much of the body.
    Truncated(u16, &'static str),
    /// We refuse it, whatever ureq does.
    Refused,
    /// ureq refuses it, and this exception says why.
    Excused(&'static str),
}

#[derive(Debug, PartialEq)]
enum Then {
    Reuse,
    Close,
}

use Read::{Excused, Refused, Truncated, Whole};
use Then::{Close, Reuse};

/// For `GET`, unless the row says `HEAD` in front.
#[rustfmt::skip]
const ROWS: &[(&str, Read)] = &[
    // Content-Length.
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcrest", Whole(200, "abc", "rest", Reuse)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 003\r\n\r\nabc", Whole(200, "abc", "", Reuse)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabcrest", Whole(200, "abc", "rest", Reuse)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3,03\r\n\r\nabcrest", Whole(200, "abc", "rest", Reuse)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\nabcrest", Whole(200, "abc", "rest", Reuse)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabcd", Refused),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", Refused),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3,\r\n\r\nabc", Refused),
    ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nabc", Refused),
    ("HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc", Refused),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\nabc", Refused),
    ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nabc", Refused),
    ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nabc", Truncated(200, "abc")),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", Truncated(200, "abc")),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nrest", Whole(200, "", "rest", Reuse)),
    // Transfer-Encoding, alone and with Content-Length.
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nrest", Whole(200, "abc", "rest", Reuse)),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: ChunkeD\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Whole(200, "abc", "", Reuse)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nrest", Whole(200, "a", "rest", Reuse)),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\na\r\n0\r\n\r\nrest", Whole(200, "a", "rest", Reuse)),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n0\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\nabc", Refused),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
    // Chunks.
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n00\r\n\r\nrest", Whole(200, "abc", "rest", Reuse)),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3 ;a\r\nabc\r\n0;z\r\n\r\n", Whole(200, "abc", "", Reuse)),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b;c=\"d\";e=ffffff\r\nabc\r\n0\r\n\r\n", Whole(200, "abc", "", Reuse)),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b;c=\"d\";e=fffffff\r\nabc\r\n0\r\n\r\n", Excused("long chunk extension")),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0;aaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n", Excused("long chunk extension")),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: 1\r\nU:\r\n\r\nrest", Whole(200, "", "rest", Reuse)),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: 1\r\n folded\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: 1\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n\r\n0\r\n\r\nx\r\n0\r\n\r\nrest", Whole(200, "\r\n0\r\n\r\nx", "rest", Reuse)),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", Truncated(200, "abc")),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", Truncated(200, "abc")),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", Truncated(200, "abc")),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Truncated(200, "")),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000003\r\nabc\r\n0\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc", Truncated(200, "abc")),
    // Responses without a body, whatever their fields say.
    ("HTTP/1.1 204 No Content\r\n\r\nrest", Whole(204, "", "rest", Reuse)),
    ("HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nrest", Whole(204, "", "rest", Reuse)),
    ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\nrest", Whole(204, "", "rest", Reuse)),
    ("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nrest", Whole(304, "", "rest", Reuse)),
    ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\nrest", Whole(304, "", "rest", Reuse)),
    ("HTTP/1.1 205 Reset Content\r\n\r\nrest", Whole(205, "rest", "", Close)),
    ("HEAD HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nrest", Whole(200, "", "rest", Reuse)),
    ("HEAD HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nrest", Whole(200, "", "rest", Reuse)),
    ("HEAD HTTP/1.1 200 OK\r\n\r\nrest", Whole(200, "", "rest", Reuse)),
    ("HEAD HTTP/1.1 302 Found\r\nLocation: /\r\n\r\nrest", Whole(302, "", "rest", Reuse)),
    ("HEAD HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Refused),
    // 1xx.
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\narest", Whole(200, "a", "rest", Reuse)),
    ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 404 N\r\nContent-Length: 1\r\n\r\na", Whole(404, "a", "", Reuse)),
    ("HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Excused("100 with fields")),
    ("HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Whole(200, "", "", Reuse)),
    ("HTTP/1.1 103 Early Hints\r\nContent-Length: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Excused("framing fields of a 1xx response")),
    ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nrest", Whole(101, "", "rest", Close)),
    ("HTTP/1.1 103 Early Hints\r\n\r\n", Refused),
    // Until the connection closes, and what else ends it.
    ("HTTP/1.1 200 OK\r\n\r\nabc", Whole(200, "abc", "", Close)),
    ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\nabc", Whole(302, "abc", "", Close)),
    ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 3\r\n\r\nabcrest", Whole(302, "abc", "rest", Reuse)),
    ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabcrest", Whole(200, "abc", "rest", Close)),
    ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 3\r\n\r\nabc", Whole(200, "abc", "", Close)),
    ("HTTP/1.0 200 OK\r\n\r\nabc", Whole(200, "abc", "", Close)),
    ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabcrest", Whole(200, "abc", "rest", Close)),
    ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabcrest", Whole(200, "abc", "rest", Reuse)),
    ("HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 3\r\n\r\nabc", Whole(200, "abc", "", Close)),
    ("HTTP/1.0 200 OK\r\nConnection: keep-alive, \u{e9}\r\nContent-Length: 0\r\n\r\n", Excused("Connection beyond ASCII")),
    ("HTTP/1.1 200 OK\r\nConnection: close, \u{e9}\r\nContent-Length: 0\r\n\r\n", Whole(200, "", "", Close)),
    // Status lines.
    ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Whole(200, "", "", Reuse)),
    ("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", Whole(200, "", "", Reuse)),
    ("HTTP/1.1 299 \u{e9}\r\nContent-Length: 0\r\n\r\n", Whole(299, "", "", Reuse)),
    ("HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", Whole(999, "", "", Reuse)),
    ("HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", Refused),
    ("HTTP/1.1 20 X\r\nContent-Length: 0\r\n\r\n", Refused),
    ("HTTP/1.1  200 OK\r\n\r\n", Refused),
    ("HTTP/1.2 200 OK\r\n\r\n", Refused),
    ("HTTP/2 200 OK\r\n\r\n", Refused),
    ("ICY 200 OK\r\n\r\n", Refused),
    ("HTTP/1.1 200 a\rb\r\n\r\n", Refused),
    // Lines and fields.
    ("HTTP/1.1 200 OK\nContent-Length: 3\n\nabcrest", Whole(200, "abc", "rest", Reuse)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\n\r\nabcrest", Whole(200, "abc", "rest", Reuse)),
    ("HTTP/1.1 200 OK\nContent-Length: 3\r\n\nabcrest", Whole(200, "abc", "rest", Reuse)),
    ("\r\n\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcrest", Whole(200, "abc", "rest", Reuse)),
    ("\rHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Refused),
    ("HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc", Excused("white space before a colon")),
    ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nA: b\rContent-Length: 3\r\n\r\nabc", Refused),
    ("HTTP/1.1 200 OK\r\n A: b\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nA\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", Refused),
    ("HTTP/1.1 200 OK\r\nContent-Length:\t 3 \t\r\n\r\nabc", Whole(200, "abc", "", Reuse)),
    ("HTTP/1.1 200 OK\r\nA:\r\nB: \u{e9}\r\nA: 2\r\ncontent-LENGTH: 0\r\n\r\n", Whole(200, "", "", Reuse)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", Refused),
    ("", Refused),
];

#[test]
fn ureq_reads_every_response_that_we_accept_as_we_do() {
    for (row, expected) in ROWS {
        let (method, sent) =
            row.strip_prefix("HEAD ").map_or((Method::GET, *row), |sent| (Method::HEAD, sent));
        let after = |end: usize| latin1(&sent.as_bytes()[end..]);
        let is_as_expected = match (compare(sent.as_bytes(), &method), expected) {
            (Verdict::Same(Response { status, body, end: Some(end), is_reusable, .. }), Whole(..)) => {
                let then = if is_reusable { Reuse } else { Close };
                let Whole(expected_status, expected_body, rest, expected_then) = expected else {
                    unreachable!()
                };
                (status, latin1(&body).as_str(), after(end).as_str(), &then)
                    == (*expected_status, *expected_body, *rest, expected_then)
            }
            (Verdict::Same(Response { status, body, end: None, .. }), Truncated(expected, part)) => {
                (status, body.as_slice()) == (*expected, part.as_bytes())
            }
            (Verdict::Refused, Refused) => true,
            (Verdict::Excused(name), Excused(expected)) => name == *expected,
            _ => false,
        };
        assert!(is_as_expected, "{row:?}: {:?} and not {expected:?}", compare(sent.as_bytes(), &method));
    }
}

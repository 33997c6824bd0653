//! Bodies of any size, in both directions.

use ring::digest::{SHA256, digest};

use super::Pair;
use crate::client::Raw;
use crate::sim::{BodyEnd, pattern};

/// Larger than every buffer on the way.
const BIG: usize = 50 * 1000 * 1000;

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_file_is_uploaded_and_downloaded_again() {
    let pair = Pair::start();
    let content = pattern(0, 300_000);
    let mut form = Vec::new();
    let parts = [("purpose", "", &b"batch"[..]), ("file", "; filename=\"data.jsonl\"", &content)];
    for (name, more, bytes) in parts {
        let head = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n");
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(bytes);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--edge--\r\n");
    let mut client = pair.client();
    let headers = [("Content-Type", "multipart/form-data; boundary=edge")];
    let file = client.request("POST", "/openai/files?api-version=2024-10-21", &headers, &form);
    assert_eq!(file.status, 200, "{}", file.text());
    let file = file.json();
    assert_eq!((&file["filename"], &file["purpose"]), (&"data.jsonl".into(), &"batch".into()));
    let id = file["id"].as_str().unwrap();
    let again = client.get(&format!("/openai/files/{id}/content?api-version=2024-10-21"));
    assert_eq!((again.status, again.body == content), (200, true));
    assert_eq!(pair.sim.azure.requests()[0].body, form);
}

#[test]
fn a_big_upload_arrives_whole() {
    let pair = Pair::start();
    let body = pattern(7, BIG);
    let response = pair.client().request("POST", "/sim/upload", &[], &body);
    let seen = response.json();
    assert_eq!((&seen["bytes"], &seen["sha256"]), (&BIG.into(), &sha256(&body).into()));
}

#[test]
fn a_big_download_arrives_whole() {
    let pair = Pair::start();
    let whole = sha256(&pattern(0, BIG));
    let mut client = pair.client();
    for chunked in ["0", "1"] {
        let response = client.get(&format!("/sim/bytes/{BIG}?chunked={chunked}"));
        assert_eq!(response.fault, None);
        assert_eq!((response.body.len(), sha256(&response.body)), (BIG, whole.clone()));
        let length = (chunked == "0").then(|| BIG.to_string());
        assert_eq!(response.header("content-length"), length);
    }
}

#[test]
#[cfg_attr(feature = "tiny_http", ignore = "tiny_http's decoder takes a chunk cut short for the end: 411")]
fn a_chunked_upload_arrives_whole_and_chunked() {
    let pair = Pair::start();
    let mut client = pair.client();
    let body = pattern(3, 200_000);
    let mut request = b"POST /sim/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(7777) {
        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    for _ in 0..2 {
        client.raw.send(&request).unwrap();
        let seen = client.response("POST").unwrap().json();
        assert_eq!((&seen["body_length"], &seen["body_sha256"]), (&body.len().into(), &sha256(&body).into()));
    }
    let seen = pair.sim.azure.finished_request_to("/sim/echo");
    assert_eq!(seen.header("transfer-encoding").as_deref(), Some("chunked"));
    assert_eq!((seen.header("content-length"), seen.body_end), (None, BodyEnd::Clean));
}

#[test]
fn an_invited_body_is_sent() {
    let pair = Pair::start();
    let mut client = pair.client();
    let head = "POST /sim/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.raw.send(head).unwrap();
    let invitation = client.raw.read_some(crate::sim::patience()).unwrap();
    assert!(invitation.starts_with(b"HTTP/1.1 100 Continue\r\n"));
    assert!(invitation.ends_with(b"\r\n\r\n"));
    client.raw.send("hello").unwrap();
    assert_eq!(client.response("POST").unwrap().json()["body"], "hello");
}

#[test]
fn an_upload_cut_short_never_looks_complete() {
    let pair = Pair::start();
    for (sent, reset) in [(3000, false), (3000, true), (100_000, false), (100_000, true)] {
        let mut raw = Raw::connect(pair.address());
        let path = format!("/sim/upload/{sent}/{reset}");
        raw.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")).unwrap();
        raw.send(pattern(0, sent)).unwrap();
        // The upstream has begun to read it.
        pair.sim.azure.request_to(&path);
        if reset {
            raw.reset()
        } else {
            drop(raw)
        }
        let seen = pair.sim.azure.finished_request_to(&path);
        assert_eq!(seen.body_end, BodyEnd::Truncated, "{sent} bytes, reset: {reset}");
    }
    assert!(pair.proxy.health().status == 200);
}

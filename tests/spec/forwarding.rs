//! A request reaches the upstream with our token and otherwise as it is; the response comes back as it is:
//!
//! - every method, target, header field and body of any size, counted or chunked;
//! - what a client sends as a credential stays here, exactly one bearer token leaves;
//! - errors of the upstream pass byte for byte, with their header fields;
//! - a connection serves many requests, and closes when the client asks for it.
//!
//! On either HTTP server that the build can have.

use std::collections::BTreeSet;

use ring::digest::{SHA256, digest};
use serde_json::json;

use crate::sim::{BodyEnd, ScriptedResponse, pattern, timeout};
use crate::support::api::DEPLOYMENT_CHAT;
use crate::support::client::Ended;
use crate::support::fixture::Fixture;
use crate::support::load::both_ways;
use crate::support::program::not_on_tiny_http;

/// Larger than every buffer on the way.
const BIG: usize = 50 * 1000 * 1000;

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_method_is_forwarded_with_and_without_a_body() {
    let fixture = Fixture::tls();
    let mut client = fixture.client();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "foo"] {
        for body in [&b""[..], b"some body"] {
            let response = client.request(method, "/sim/echo?x=1", &[], body);
            assert_eq!(response.status, 200, "{method}");
            let seen = response.json();
            assert_eq!(seen["method"], method);
            assert_eq!(seen["body"], String::from_utf8_lossy(body).into_owned(), "{method}");
        }
    }
}

#[test]
fn head_has_the_headers_and_no_body() {
    let fixture = Fixture::tls();
    let mut client = fixture.client();
    let response = client.request("HEAD", "/sim/bytes/1234", &[], b"");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-length").as_deref(), Some("1234"));
    assert!(response.header("x-request-id").is_some());
    // No body comes before the next response.
    assert_eq!(client.get("/sim/bytes/7").body.len(), 7);
}

#[test]
fn the_target_is_joined_to_the_base_path_byte_for_byte() {
    let target = "/sim/echo?a=%2f%2F&b=c+d&&e=;x=%7e~'()*,:@/?&f";
    for (base, wanted) in [
        ("", target.to_owned()),
        ("/", target.to_owned()),
        ("/some/base", format!("/some/base{target}")),
        ("/some/base/", format!("/some/base{target}")),
    ] {
        let fixture = Fixture::at_base_path(base);
        assert_eq!(fixture.client().get(target).json()["target"], wanted, "API_BASE_URL ends in {base:?}");
        let host = format!("localhost:{}", fixture.sim.azure.server.port());
        assert_eq!(fixture.sim.azure.requests()[0].header("host"), Some(host));
    }
}

#[test]
fn no_credential_of_the_client_leaves_and_exactly_one_of_ours_does() {
    let fixture = Fixture::tls();
    let headers = [
        ("Authorization", "Bearer sk-of-the-client"),
        ("authorization", "Basic Zm9vOmJhcg=="),
        ("api-key", "sk-of-the-client"),
        ("X-API-Key", "sk-of-the-client"),
        ("Ocp-Apim-Subscription-Key", "sk-of-the-client"),
        ("Proxy-Authorization", "Basic Zm9vOmJhcg=="),
        ("Content-Type", "application/json"),
        ("OpenAI-Beta", "assistants=v2"),
        ("User-Agent", "some-sdk/1.2"),
        ("Accept", "application/json"),
    ];
    let body = json!({"messages": [{"role": "user", "content": "hi"}]}).to_string();
    let response = fixture.client().request("POST", DEPLOYMENT_CHAT, &headers, body.as_bytes());
    assert_eq!(response.status, 200);
    let seen = fixture.sim.azure.request_to(DEPLOYMENT_CHAT.split('?').next().unwrap());
    assert!(!String::from_utf8_lossy(&seen.raw_head).contains("of-the-client"));
    assert_eq!(seen.header_values("authorization").len(), 1);
    assert!(seen.bearer().is_some_and(|token| token.len() > 20));
    // Nothing else is added or lost.
    let names: BTreeSet<String> = seen.header_names().into_iter().collect();
    let wanted =
        ["accept", "authorization", "content-length", "content-type", "host", "openai-beta", "user-agent"];
    assert_eq!(names, wanted.map(str::to_owned).into());
    assert_eq!(seen.body, body.as_bytes());
}

#[test]
fn a_chat_completion_is_forwarded() {
    let fixture = Fixture::tls();
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
    let response = fixture.client().post_json(DEPLOYMENT_CHAT, &body);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    let content = &response.json()["choices"][0]["message"]["content"];
    assert_eq!(content, "Hello from the simulated Azure OpenAI.");
}

#[test]
fn embeddings_are_forwarded() {
    let fixture = Fixture::tls();
    let body = json!({"input": ["one", "two", "three"], "dimensions": 1536});
    let target = "/openai/deployments/text-embedding-3-small/embeddings?api-version=2024-10-21";
    let response = fixture.client().post_json(target, &body);
    let data = response.json()["data"].clone();
    assert_eq!((response.status, data.as_array().unwrap().len()), (200, 3));
    assert_eq!(data[2]["embedding"].as_array().unwrap().len(), 1536);
}

#[test]
fn an_error_of_the_upstream_passes_byte_for_byte() {
    let fixture = Fixture::tls();
    let body = "{\"error\": {\"code\": \"429\",\n  \"message\":\"Requests have exceeded the rate limit \u{e9}\"}}\r\n";
    let given = [
        ("retry-after", "7"),
        ("retry-after-ms", "6543"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ms-region", "Simulated  Central"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2; Path=/"),
        ("content-type", "application/json; charset=\"utf-8\""),
    ];
    let response = given
        .iter()
        .fold(ScriptedResponse::status(429), |response, (name, value)| response.header(name, value));
    fixture.sim.azure.script([response.body(body)]);
    let response = fixture.client().get("/openai/models?api-version=2024-10-21");
    assert_eq!(response.status, 429);
    assert_eq!(response.text(), body);
    let got: BTreeSet<(String, String)> = (response.headers.iter())
        .map(|(name, value)| (name.to_ascii_lowercase(), String::from_utf8(value.clone()).unwrap()))
        .filter(|(name, _)| !["date", "keep-alive"].contains(&name.as_str()))
        .collect();
    let length = body.len().to_string();
    let wanted = [&given[..], &[("content-length", length.as_str())]].concat();
    assert_eq!(got, wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
}

#[test]
fn one_connection_serves_many_requests() {
    let fixture = Fixture::tls();
    let mut client = fixture.client();
    for round in 0..50 {
        let body = vec![b'x'; round * 100];
        let response = client.request("POST", "/sim/echo", &[], &body);
        assert_eq!(response.json()["body_length"], body.len());
        assert_eq!(response.header("connection"), None);
        assert_eq!(client.get("/health").text(), r#"{"status":"ok"}"#);
    }
}

#[test]
fn a_connection_closes_when_the_client_asks_for_it() {
    let fixture = Fixture::tls();
    let mut client = fixture.client();
    let response = client.request("GET", "/sim/echo", &[("Connection", "close")], b"");
    assert_eq!(response.header("connection").as_deref(), Some("close"));
    let (rest, ended) = client.raw.read_to_end(timeout());
    assert_eq!((rest.len(), ended), (0, Ended::Closed));
}

#[test]
fn a_file_is_uploaded_and_downloaded_again() {
    let fixture = Fixture::tls();
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
    let mut client = fixture.client();
    let headers = [("Content-Type", "multipart/form-data; boundary=edge")];
    let file = client.request("POST", "/openai/files?api-version=2024-10-21", &headers, &form);
    assert_eq!(file.status, 200, "{}", file.text());
    let file = file.json();
    assert_eq!((&file["filename"], &file["purpose"]), (&"data.jsonl".into(), &"batch".into()));
    let id = file["id"].as_str().unwrap();
    let again = client.get(&format!("/openai/files/{id}/content?api-version=2024-10-21"));
    assert_eq!((again.status, again.body == content), (200, true));
    assert_eq!(fixture.sim.azure.requests()[0].body, form);
}

#[test]
fn a_big_upload_arrives_whole() {
    let fixture = Fixture::tls();
    let body = pattern(7, BIG);
    let response = fixture.client().request("POST", "/sim/upload", &[], &body);
    let seen = response.json();
    assert_eq!((&seen["bytes"], &seen["sha256"]), (&BIG.into(), &sha256(&body).into()));
}

#[test]
fn a_big_download_arrives_whole() {
    let fixture = Fixture::tls();
    let whole = sha256(&pattern(0, BIG));
    let mut client = fixture.client();
    for chunked in ["0", "1"] {
        let response = client.get(&format!("/sim/bytes/{BIG}?chunked={chunked}"));
        assert_eq!(response.fault, None);
        assert_eq!((response.body.len(), sha256(&response.body)), (BIG, whole.clone()));
        let length = (chunked == "0").then(|| BIG.to_string());
        assert_eq!(response.header("content-length"), length);
    }
}

#[test]
fn a_chunked_upload_arrives_whole_and_chunked() {
    if not_on_tiny_http("tiny_http's decoder takes a chunk cut short for the end: 411") {
        return;
    }
    let fixture = Fixture::tls();
    let mut client = fixture.client();
    let body = pattern(3, 200_000);
    let mut request =
        b"POST /sim/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
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
    let seen = fixture.sim.azure.finished_request_to("/sim/echo");
    assert_eq!(seen.header("transfer-encoding").as_deref(), Some("chunked"));
    assert_eq!((seen.header("content-length"), seen.body_end), (None, BodyEnd::Clean));
}

#[test]
fn a_body_is_sent_after_100_continue() {
    let fixture = Fixture::tls();
    let mut client = fixture.client();
    let head =
        "POST /sim/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.raw.send(head).unwrap();
    let interim = client.raw.read_some(timeout()).unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 Continue\r\n"));
    assert!(interim.ends_with(b"\r\n\r\n"));
    client.raw.send("hello").unwrap();
    assert_eq!(client.response("POST").unwrap().json()["body"], "hello");
}

#[test]
fn two_hundred_megabytes_each_way_need_no_memory() {
    if not_on_tiny_http("tiny_http accepts no chunked request bodies: 411") {
        return;
    }
    both_ways(200 << 20);
}

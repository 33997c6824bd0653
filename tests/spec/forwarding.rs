//! Methods, targets, headers, responses.

use std::collections::BTreeSet;

use serde_json::json;

use super::{CHAT, Pair};
use crate::sim::ScriptedResponse;

#[test]
fn every_method_passes_with_and_without_a_body() {
    let pair = Pair::start();
    let mut client = pair.client();
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
    let pair = Pair::start();
    let mut client = pair.client();
    let response = client.request("HEAD", "/sim/bytes/1234", &[], b"");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-length").as_deref(), Some("1234"));
    assert!(response.header("x-request-id").is_some());
    // Nothing of a body is in front of the next response.
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
        let pair = Pair::start_at(base);
        assert_eq!(pair.client().get(target).json()["target"], wanted, "API_BASE_URL ends in {base:?}");
        let host = format!("localhost:{}", pair.sim.azure.server.port());
        assert_eq!(pair.sim.azure.requests()[0].header("host"), Some(host));
    }
}

#[test]
fn the_clients_credentials_stay_here_and_exactly_one_of_ours_leaves() {
    let pair = Pair::start();
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
    let response = pair.client().request("POST", CHAT, &headers, body.as_bytes());
    assert_eq!(response.status, 200);
    let seen = pair.sim.azure.request_to(CHAT.split('?').next().unwrap());
    assert!(!String::from_utf8_lossy(&seen.raw_head).contains("of-the-client"));
    assert_eq!(seen.header_values("authorization").len(), 1);
    assert!(seen.bearer().is_some_and(|token| token.len() > 20));
    // Nothing is added besides, and nothing else is lost.
    let names: BTreeSet<String> = seen.header_names().into_iter().collect();
    let wanted =
        ["accept", "authorization", "content-length", "content-type", "host", "openai-beta", "user-agent"];
    assert_eq!(names, wanted.map(str::to_owned).into());
    assert_eq!(seen.body, body.as_bytes());
}

#[test]
fn a_chat_completion_is_forwarded() {
    let pair = Pair::start();
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
    let response = pair.client().post_json(CHAT, &body);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    let content = &response.json()["choices"][0]["message"]["content"];
    assert_eq!(content, "Hello from the simulated Azure OpenAI.");
}

#[test]
fn embeddings_are_forwarded() {
    let pair = Pair::start();
    let body = json!({"input": ["one", "two", "three"], "dimensions": 1536});
    let target = "/openai/deployments/text-embedding-3-small/embeddings?api-version=2024-10-21";
    let response = pair.client().post_json(target, &body);
    let data = response.json()["data"].clone();
    assert_eq!((response.status, data.as_array().unwrap().len()), (200, 3));
    assert_eq!(data[2]["embedding"].as_array().unwrap().len(), 1536);
}

#[test]
fn errors_pass_as_they_are() {
    let pair = Pair::start();
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
    let response = given.iter().fold(ScriptedResponse::status(429), |response, (name, value)| response.header(name, value));
    pair.sim.azure.script([response.body(body)]);
    let response = pair.client().get("/openai/models?api-version=2024-10-21");
    assert_eq!(response.status, 429);
    assert_eq!(response.text(), body);
    let got: BTreeSet<(String, String)> = (response.headers.iter())
        .map(|(name, value)| (name.to_ascii_lowercase(), String::from_utf8(value.clone()).unwrap()))
        .filter(|(name, _)| name != "date")
        .collect();
    let length = body.len().to_string();
    let wanted = [&given[..], &[("content-length", length.as_str())]].concat();
    assert_eq!(got, wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
}

#[test]
fn one_connection_serves_many_requests() {
    let pair = Pair::start();
    let mut client = pair.client();
    for round in 0..50 {
        let body = vec![b'x'; round * 100];
        let response = client.request("POST", "/sim/echo", &[], &body);
        assert_eq!(response.json()["body_length"], body.len());
        assert_eq!(response.header("connection"), None);
        assert_eq!(client.get("/health").text(), r#"{"status":"ok"}"#);
    }
}

#[test]
fn a_client_that_wants_the_connection_closed_has_it_closed() {
    let pair = Pair::start();
    let mut client = pair.client();
    let response = client.request("GET", "/sim/echo", &[("Connection", "close")], b"");
    assert_eq!(response.header("connection").as_deref(), Some("close"));
    let (rest, ended) = client.raw.read_to_end(crate::sim::patience());
    assert_eq!((rest.len(), ended), (0, crate::client::Ended::Closed));
}

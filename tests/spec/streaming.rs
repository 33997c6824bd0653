//! Streams: each event comes when the upstream sends it, and an end is an end.

use std::time::Duration;

use serde_json::json;

use super::{CHAT, Pair, events};
use crate::client::Ended;
use crate::sim::{ScriptedResponse, Step, patience};

const SSE_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_streamed_chat_is_complete() {
    let pair = Pair::start();
    let body = json!({"stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let response = pair.client().post_json(CHAT, &body);
    assert_eq!((response.status, response.fault.clone()), (200, None));
    assert!(response.header("content-type").unwrap().starts_with("text/event-stream"));
    let events = events(&response);
    assert_eq!(events.last().unwrap(), "[DONE]");
    let words = events[..events.len() - 1].iter().map(|event| {
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
    });
    assert_eq!(words.collect::<String>(), "Hello from the simulated Azure OpenAI.");
}

#[test]
fn the_first_event_comes_before_the_upstream_sends_the_second() {
    let pair = Pair::start();
    let first = "6\r\nfirst\n\r\n";
    pair.sim.azure.script([ScriptedResponse::steps([
        Step::Write(format!("{SSE_HEAD}{first}").into_bytes()),
        // The second never comes.
        Step::WaitForPeerClose,
    ])]);
    let mut client = pair.client();
    client.send("GET", "/stream", &[], b"").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(first.as_bytes()) {
        let bytes = client.raw.read_some(patience()).unwrap();
        assert!(!bytes.is_empty(), "the stream ended");
        seen.extend(bytes);
    }
    assert!(pair.sim.azure.request_to("/stream").done.is_none());
}

#[test]
fn events_come_one_by_one() {
    let pair = Pair::start();
    let pause = Duration::from_millis(200);
    let response = pair.client().get("/sim/sse?events=6&pause_ms=200");
    assert_eq!(events(&response).len(), 7);
    let (first, last) = (response.arrivals[0].0, response.arrivals[response.arrivals.len() - 1].0);
    assert!(last - first > pause * 4, "all came within {:?}", last - first);
}

#[test]
fn a_stream_cut_short_never_looks_complete() {
    let pair = Pair::start();
    let chunk = "6\r\nfirst\n\r\n";
    for end in [Step::Reset, Step::CloseWithoutNotify, Step::Close] {
        let write = Step::Write(format!("{SSE_HEAD}{chunk}").into_bytes());
        pair.sim.azure.script([ScriptedResponse::steps([write, end])]);
        let mut client = pair.client();
        let response = client.get("/cut");
        assert_eq!((response.status, response.text().as_str()), (200, "first\n"));
        assert!(response.fault.is_some(), "it looks complete");
    }
}

#[test]
fn a_body_cut_short_never_looks_complete() {
    let pair = Pair::start();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly so much";
    pair.sim.azure.raw(head);
    let mut client = pair.client();
    client.send("GET", "/cut", &[], b"").unwrap();
    // tiny_http leaves the connection open: the client waits for the rest.
    let (seen, ended) = client.raw.read_to_end(Duration::from_millis(1000));
    assert!(seen.ends_with(b"\r\n\r\nonly so much"));
    let open = cfg!(feature = "tiny_http");
    assert_eq!(ended == Ended::Waiting, open, "{ended:?}");
}

#[test]
fn a_stream_outlasts_its_clients_silence_and_others_are_served_beside_it() {
    let pair = Pair::start();
    let mut streams: Vec<_> = (0..8).map(|_| pair.client()).collect();
    for stream in &mut streams {
        stream.send("GET", "/sim/sse?events=10&pause_ms=100", &[], b"").unwrap();
    }
    for _ in 0..10 {
        assert_eq!(pair.client().get("/sim/echo").status, 200);
    }
    for stream in &mut streams {
        let response = stream.response("GET").unwrap();
        assert_eq!((events(&response).len(), response.fault.clone()), (11, None));
    }
}

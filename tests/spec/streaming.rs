//! Streams:
//!
//! - each event reaches the client before the upstream writes the next one;
//! - a stream that breaks off never looks complete;
//! - a stream goes on while its client is silent, and others are served beside it.
//!
//! On either HTTP server that the build can have, and on every transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::sim::{ScriptedResponse, Step, latin1, timeout};
use crate::support::api::DEPLOYMENT_CHAT;
use crate::support::client::Response;
use crate::support::fixture::Fixture;

const SSE_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The data of each event.
fn events(response: &Response) -> Vec<String> {
    let text = response.text();
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}

#[test]
fn a_streamed_chat_is_complete() {
    for fixture in Fixture::each() {
        let body = json!({"stream": true, "messages": [{"role": "user", "content": "hi"}]});
        let response = fixture.client().post_json(DEPLOYMENT_CHAT, &body);
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
}

#[test]
fn a_stream_that_breaks_off_never_looks_complete() {
    for fixture in Fixture::each() {
        let chunk = "6\r\nfirst\n\r\n";
        for end in [Step::Reset, Step::CloseWithoutNotify, Step::Close] {
            let write = Step::Write(format!("{SSE_HEAD}{chunk}").into_bytes());
            fixture.sim.azure.script([ScriptedResponse::steps([write, end])]);
            let mut client = fixture.client();
            let response = client.get("/broken");
            assert_eq!((response.status, response.text().as_str()), (200, "first\n"));
            assert!(response.fault.is_some(), "it looks complete");
        }
    }
}

#[test]
fn a_stream_goes_on_while_its_client_is_silent_and_others_are_served() {
    for fixture in Fixture::each() {
        let mut streams: Vec<_> = (0..8).map(|_| fixture.client()).collect();
        for stream in &mut streams {
            stream.send("GET", "/sim/sse?events=10&pause_ms=100", &[], b"").unwrap();
        }
        for _ in 0..10 {
            assert_eq!(fixture.client().get("/sim/echo").status, 200);
        }
        for stream in &mut streams {
            let response = stream.response("GET").unwrap();
            assert_eq!((events(&response).len(), response.fault.clone()), (11, None));
        }
    }
}

/// The upstream writes an event once the client has read the one before it: an event that is held back stays the
/// last.
#[test]
fn each_event_arrives_before_the_next_is_written() {
    for fixture in Fixture::each() {
        let read = Arc::new(AtomicU64::new(0));
        let event = |i: u64| format!("data: {i}\n\n");
        let mut steps = vec![Step::Write(SSE_HEAD.into())];
        for i in 0..20 {
            steps.push(Step::Await(Arc::clone(&read), i));
            steps.push(Step::Write(format!("{:x}\r\n{}\r\n", event(i).len(), event(i)).into()));
        }
        steps.extend([Step::Write("0\r\n\r\n".into()), Step::KeepAlive]);
        fixture.sim.azure.script([ScriptedResponse::steps(steps)]);
        let mut client = fixture.client();
        client.raw.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut seen = String::new();
        for i in 0..20 {
            while !seen.contains(&event(i)) {
                let bytes = client.raw.read_some(timeout()).unwrap();
                assert!(!bytes.is_empty(), "the stream ended before event {i}: {seen}");
                seen.push_str(&latin1(&bytes));
            }
            read.store(i + 1, Ordering::SeqCst);
        }
    }
}

//! The fake Azure OpenAI responds as the real one does, to those who may ask.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sim::{BodyEnd, Options, ScriptedResponse, Sim, pattern};
use crate::support::client::{Client, Raw, Response};

const CHAT: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";

/// A client of the fake Azure with a good token.
struct Session {
    sim: Sim,
    client: Client,
    authorization: String,
}

impl Session {
    fn new() -> Self {
        let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], sim.azure.server.port()));
        let authorization = format!("Bearer {}", sim.entra.issue());
        Self { sim, client: Client::connect(address), authorization }
    }

    fn get(&mut self, target: &str) -> Response {
        self.client.request("GET", target, &[("Authorization", &self.authorization)], b"")
    }

    fn post(&mut self, target: &str, body: &Value) -> Response {
        self.post_bytes(target, "application/json", body.to_string().as_bytes())
    }

    fn post_bytes(&mut self, target: &str, content_type: &str, body: &[u8]) -> Response {
        let headers = [("Authorization", self.authorization.as_str()), ("Content-Type", content_type)];
        self.client.request("POST", target, &headers, body)
    }
}

/// The data of each event.
fn events(response: &Response) -> Vec<String> {
    let text = response.text();
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}

fn messages(extra: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

#[test]
fn the_gate_opens_for_one_good_bearer_token_only() {
    let mut session = Session::new();
    let good = session.authorization.clone();
    let good = good.as_str();
    assert_eq!(session.get("/sim/echo").status, 200);
    let refused: [&[(&str, &str)]; 8] = [
        &[],
        &[("Authorization", "Bearer dummy")],
        &[("Authorization", good), ("Authorization", good)],
        &[("Authorization", good), ("api-key", "k")],
        &[("Authorization", good), ("X-Api-Key", "k")],
        &[("Authorization", good), ("Ocp-Apim-Subscription-Key", "k")],
        &[("Authorization", good), ("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.k")],
        &[("Authorization", "Basic Zm9vOmJhcg==")],
    ];
    for headers in refused {
        assert_eq!(session.client.request("GET", "/sim/echo", headers, b"").status, 401, "{headers:?}");
    }
    for query in ["api-key=k", "x=1&API%2dKEY=k", "Authorization=Bearer%20k"] {
        let response = session.get(&format!("/sim/echo?{query}"));
        assert_eq!(response.status, 401, "{query}");
        assert!(response.json()["error"]["message"].as_str().unwrap().contains("invalid subscription key"));
    }
    session.sim.azure.revoke_tokens();
    let response = session.get("/sim/echo");
    assert_eq!((response.status, &response.json()["statusCode"]), (401, &json!(401)));
    assert_eq!(session.sim.azure.requests().last().unwrap().note, "the token is revoked");
}

#[test]
fn tokens_expire() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    sim.entra.set_lifetime(0, None);
    let authorization = format!("Bearer {}", sim.entra.issue());
    let mut client = Client::connect(std::net::SocketAddr::from(([127, 0, 0, 1], sim.azure.server.port())));
    assert_eq!(client.request("GET", "/sim/echo", &[("Authorization", &authorization)], b"").status, 401);
    assert_eq!(sim.azure.requests()[0].note, "the token has expired");
}

#[test]
fn more_than_ten_custom_headers_are_too_many() {
    let mut session = Session::new();
    let names: Vec<String> = (0..11).map(|number| format!("X-Custom-{number}")).collect();
    let authorization = session.authorization.clone();
    let mut headers = vec![("Authorization", authorization.as_str())];
    headers.extend(names.iter().map(|name| (name.as_str(), "1")));
    assert_eq!(session.client.request("GET", "/sim/echo", &headers, b"").status, 431);
    headers.pop();
    assert_eq!(session.client.request("GET", "/sim/echo", &headers, b"").status, 200);
}

#[test]
fn chat_completions_come_whole_and_as_a_stream() {
    let mut session = Session::new();
    let whole = session.post(CHAT, &messages(json!({})));
    assert_eq!(whole.json()["choices"][0]["message"]["content"], "Hello from the simulated Azure OpenAI.");
    assert_eq!(whole.json()["model"], "gpt-4o");
    for name in ["apim-request-id", "x-request-id", "x-ms-region", "x-ratelimit-remaining-tokens", "date"] {
        assert!(whole.header(name).is_some(), "{name}");
    }

    session.sim.azure.set_pause(Duration::from_millis(20));
    let extra = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}});
    let streamed = session.post("/openai/v1/chat/completions", &messages(extra));
    assert_eq!(streamed.header("content-type").unwrap(), "text/event-stream; charset=utf-8");
    let events = events(&streamed);
    assert_eq!(events.last().unwrap(), "[DONE]");
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    let words: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(words, "Hello from the simulated Azure OpenAI.");
    assert_eq!(chunks.last().unwrap()["usage"]["total_tokens"], 17);
    let (first, last) = (streamed.arrivals[0].0, streamed.arrivals.last().unwrap().0);
    assert!(last - first >= Duration::from_millis(100), "events come one by one");
}

#[test]
fn tools_are_called() {
    let mut session = Session::new();
    let tools = json!({"tools": [{"type": "function", "function": {"name": "weather"}}]});
    let whole = session.post(CHAT, &messages(tools.clone())).json();
    let call = &whole["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call, &json!({"name": "weather", "arguments": r#"{"city":"Paris"}"#}));
    let mut streaming = messages(tools);
    streaming["stream"] = json!(true);
    let data = events(&session.post(CHAT, &streaming)).join("");
    assert!(
        data.contains(r#""name":"weather""#) && data.contains(r#""finish_reason":"tool_calls""#),
        "{data}"
    );
}

#[test]
fn errors_can_be_asked_for() {
    let mut session = Session::new();
    let limited =
        session.post("/openai/deployments/error-429/chat/completions?api-version=1", &messages(json!({})));
    assert_eq!((limited.status, limited.header("retry-after-ms").unwrap().as_str()), (429, "6543"));
    for (model, status) in [("error-500", 500), ("error-content-filter", 400)] {
        assert_eq!(
            session.post("/openai/v1/chat/completions", &messages(json!({"model": model}))).status,
            status
        );
    }
    for unknown in
        ["/v1/chat/completions", "/openai/deployments/gpt-4o/chat/completions", "/openai/v1/nothing"]
    {
        assert_eq!(session.post(unknown, &messages(json!({}))).status, 404, "{unknown}");
    }
    assert_eq!(session.get("/sim/status/418").status, 418);
    assert_eq!(session.get("/sim/status/204").status, 204);
}

#[test]
fn the_other_endpoints_respond() {
    let mut session = Session::new();
    let floats = session
        .post("/openai/v1/embeddings", &json!({"input": ["a", "b"], "model": "e", "dimensions": 3}))
        .json();
    assert_eq!(floats["data"][1]["embedding"], json!([0.0, 0.125, 0.25]));
    let input = json!({"input": "a", "model": "e", "dimensions": 2, "encoding_format": "base64"});
    assert_eq!(session.post("/openai/v1/embeddings", &input).json()["data"][0]["embedding"], "AAAAAAAAAD4=");
    assert_eq!(session.get("/openai/models?api-version=1").json()["data"][0]["id"], "gpt-4o");
    let text = session.post("/openai/v1/completions", &json!({"prompt": "a", "model": "c"})).json();
    assert_eq!(text["object"], "text_completion");
    let response = session.post("/openai/v1/responses", &json!({"input": "a", "model": "c", "stream": true}));
    assert!(response.text().starts_with("event: response.created\ndata: {"));
    assert!(events(&response).last().unwrap().contains("response.completed"));
    let speech = session.post("/openai/v1/audio/speech", &json!({"input": "a"}));
    assert_eq!(speech.body, pattern(0, 48_000));
    let image = session.post("/openai/v1/images/generations", &json!({"prompt": "a"})).json();
    assert!(image["data"][0]["b64_json"].is_string());
}

#[test]
fn files_come_back_as_they_were_sent() {
    let mut session = Session::new();
    let content = "{\"a\": 1}\r\n--b\r\n".repeat(100);
    let form = format!(
        "--bound\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--bound\r\nContent-Disposition: \
         form-data; name=\"file\"; filename=\"a.jsonl\"\r\nContent-Type: text/plain\r\n\r\n{content}\r\n--bound--\r\n"
    );
    let kind = "multipart/form-data; boundary=bound";
    let file = session.post_bytes("/openai/v1/files", kind, form.as_bytes()).json();
    assert_eq!(
        (&file["filename"], &file["purpose"], &file["bytes"]),
        (&json!("a.jsonl"), &json!("batch"), &json!(content.len()))
    );
    let path = format!("/openai/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!(session.get(&format!("{path}/content")).text(), content);
    assert_eq!(session.get("/openai/v1/files").json()["data"][0]["id"], file["id"]);
    let authorization = session.authorization.clone();
    session.client.request("DELETE", &path, &[("Authorization", &authorization)], b"");
    assert_eq!(session.get(&path).status, 404);
    let transcript = session.post_bytes("/openai/v1/audio/transcriptions", kind, form.as_bytes()).json();
    assert_eq!(transcript["text"], format!("A recording of {} bytes.", content.len()));
}

#[test]
fn probes_respond_with_what_they_saw() {
    let mut session = Session::new();
    let authorization = session.authorization.clone();
    let headers = [("aUTHORIZATION", authorization.as_str()), ("X-Odd", "a\tb"), ("X-Odd", "c")];
    let echo = session.client.request("PROPFIND", "/sim/echo?a=%2f&&b", &headers, b"body").json();
    assert_eq!((&echo["method"], &echo["target"]), (&json!("PROPFIND"), &json!("/sim/echo?a=%2f&&b")));
    assert_eq!(echo["headers"][1], json!(["aUTHORIZATION", authorization]));
    assert_eq!(echo["headers"].as_array().unwrap()[2..4], [json!(["X-Odd", "a\tb"]), json!(["X-Odd", "c"])]);
    assert_eq!((&echo["body"], &echo["body_length"]), (&json!("body"), &json!(4)));
    assert_eq!(session.get("/sim/bytes/100000").body, pattern(0, 100_000));
    assert_eq!(session.get("/sim/bytes/100000?chunked=1").body, pattern(0, 100_000));
    assert_eq!(
        session.client.request("HEAD", "/sim/bytes/7", &headers, b"").header("content-length").unwrap(),
        "7"
    );
    assert_eq!(session.get("/sim/gzip").header("content-encoding").unwrap(), "gzip");
    let stamps = events(&session.get("/sim/sse?events=3&pause_ms=5&size=10"));
    assert_eq!((stamps.len(), stamps[3].as_str()), (4, "[DONE]"));
    let stamp =
        |index: usize| serde_json::from_str::<Value>(&stamps[index]).unwrap()["unix_ns"].as_u64().unwrap();
    assert!(stamp(2) - stamp(0) >= 10_000_000);
    let body = pattern(0, 3 << 20);
    let upload = session.post_bytes("/sim/upload", "application/octet-stream", &body).json();
    assert_eq!(upload["bytes"], json!(body.len()));
    let record = session.sim.azure.finished_request_to("/sim/upload");
    assert_eq!((record.body_end, record.body.len()), (BodyEnd::Clean, 1 << 20));
    assert_eq!(record.body_sha256, upload["sha256"].as_str().unwrap());
    assert_eq!(record.connection, 1, "one connection carried everything");
}

#[test]
fn azure_speaks_tls() {
    let sim = Sim::start(Options::default());
    let ca = std::fs::read_to_string(sim.dir.join("ca.pem")).unwrap();
    let mut client = Client::new(Raw::connect_tls(sim.azure.server.port(), &ca));
    let authorization = format!("Bearer {}", sim.entra.issue());
    let headers = [("Authorization", authorization.as_str())];
    assert_eq!(client.request("GET", "/sim/bytes/300000", &headers, b"").body, pattern(0, 300_000));
    assert_eq!(
        client.request("POST", "/sim/upload", &headers, &pattern(0, 300_000)).json()["bytes"],
        300_000
    );
}

#[test]
fn scripted_responses_come_before_or_after_the_gate() {
    let mut session = Session::new();
    session.sim.azure.script([ScriptedResponse::status(202)
        .header("Operation-Location", "https://x/y")
        .header("X-Odd", "\u{e9}")]);
    let response = session.client.get("/anything");
    assert_eq!((response.status, response.header_values("x-odd")), (202, vec!["\u{e9}".to_owned()]));
    session.sim.azure.at("/fixed", ScriptedResponse::status(200).json(&json!({"fixed": true})));
    assert_eq!(session.client.get("/fixed").status, 401);
    assert_eq!(session.get("/fixed").json(), json!({"fixed": true}));
    assert_eq!(session.get("/fixed?again").json(), json!({"fixed": true}));
    let begin = Instant::now();
    session.sim.azure.at("/sim/echo", ScriptedResponse::default_behavior().delay(Duration::from_millis(60)));
    assert_eq!(session.get("/sim/echo").json()["method"], "GET");
    assert!(begin.elapsed() >= Duration::from_millis(60));
}

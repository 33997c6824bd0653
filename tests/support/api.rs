//! Requests as an application makes them, and what the simulator saw of them and of the sign-in.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::client::{Client, Response};
use crate::sim::{Request, Sim, latin1};

pub const MODELS: &str = "/openai/v1/models";
pub const CHAT: &str = "/openai/v1/chat/completions";
pub const DEPLOYMENT_CHAT: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";

/// A chat completion.
pub fn chat(client: &mut Client) -> Response {
    let messages = json!([{"role": "user", "content": "hello"}]);
    client.post_json(CHAT, &json!({"model": "gpt-4o", "messages": messages}))
}

/// One field of a token request's form, as it stands there.
pub fn field(request: &Request, name: &str) -> String {
    let body = latin1(&request.body);
    let found = body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {body:?}")).to_owned()
}

/// Header and claims of the assertion in a token request.
pub fn assertion(request: &Request) -> (Value, Value) {
    let assertion = field(request, "client_assertion");
    let parts: Vec<&str> = assertion.split('.').collect();
    let read = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (read(parts[0]), read(parts[1]))
}

/// How many token requests were granted.
pub fn granted(sim: &Sim) -> usize {
    sim.entra.requests().iter().filter(|request| request.note == "token issued").count()
}

/// Fails if Azure ever saw a token that it does not accept.
#[track_caller]
pub fn every_token_was_good(sim: &Sim) {
    for request in sim.azure.requests() {
        assert!(!request.note.contains("token"), "{} {}", request.target(), request.note);
    }
}

/// Waits longer than the usual timeout, for what takes the program's own timers.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    started.elapsed()
}

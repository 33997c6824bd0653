//! Signing in and staying signed in: the real program against the simulator.

mod bad_input;
mod caller_key;
mod certificate;
mod clouds;
mod in_process;
mod outage;
mod refused;
mod rotation;
mod secrets;
mod sleep;
mod soak;
mod startup;
mod traffic;
mod unauthorized;
mod workload;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::client::{Client, Response};
use crate::sim::{Request, Sim, latin1};

/// A path that Azure responds to.
const MODELS: &str = "/openai/v1/models";
const CHAT: &str = "/openai/v1/chat/completions";

/// A chat completion.
fn chat(client: &mut Client) -> Response {
    let messages = json!([{"role": "user", "content": "hello"}]);
    client.post_json(CHAT, &json!({"model": "gpt-4o", "messages": messages}))
}

/// One field of a token request's form, as it stands there.
fn field(request: &Request, name: &str) -> String {
    let body = latin1(&request.body);
    let found = body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {body:?}")).to_owned()
}

/// Header and claims of the assertion in a token request.
fn assertion(request: &Request) -> (Value, Value) {
    let assertion = field(request, "client_assertion");
    let parts: Vec<&str> = assertion.split('.').collect();
    let read = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (read(parts[0]), read(parts[1]))
}

/// How many token requests were granted.
fn granted(sim: &Sim) -> usize {
    sim.entra.requests().iter().filter(|request| request.note == "token issued").count()
}

/// Fails if Azure ever saw a token that it does not accept.
#[track_caller]
fn every_token_was_good(sim: &Sim) {
    for request in sim.azure.requests() {
        assert!(!request.note.contains("token"), "{} {}", request.target(), request.note);
    }
}

/// Waits longer than the usual patience, for what takes the program's own timers.
#[track_caller]
fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    started.elapsed()
}

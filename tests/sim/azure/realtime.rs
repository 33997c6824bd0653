//! The realtime API, as far as one turn of a conversation needs it.

use std::io;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::websocket::{Message, WebSocket};
use super::{ok, unix, usual_headers};
use crate::sim::exchange::Exchange;
use crate::sim::tokens;

const WORDS: [&str; 3] = ["Hello", " in", " realtime."];

/// A WebSocket subprotocol of this prefix carries a key.
pub(super) const KEY_SUBPROTOCOL: &str = "openai-insecure-api-key.";

/// The ephemeral keys that were minted.
#[derive(Default)]
pub(super) struct EphemeralKeys(Mutex<Vec<String>>);

impl EphemeralKeys {
    pub(super) fn contains(&self, key: &str) -> bool {
        self.0.lock().unwrap().iter().any(|minted| minted == key)
    }

    /// `POST realtime/client_secrets`.
    pub(super) fn mint(&self, exchange: &mut Exchange<'_>) -> io::Result<()> {
        let key = format!("ek_{}", tokens::uuid().replace('-', ""));
        self.0.lock().unwrap().push(key.clone());
        ok(exchange, &json!({"value": key, "expires_at": unix() + 600, "session": session_object()}))
    }
}

/// `POST realtime/calls`: one description of a WebRTC session for another.
pub(super) fn calls(exchange: &mut Exchange<'_>, offer: &[u8]) -> io::Result<()> {
    if !offer.starts_with(b"v=0") {
        return exchange.json(400, &usual_headers().borrow(), &json!({"error": {"message": "no SDP offer"}}));
    }
    let own = [("Content-Type", "application/sdp"), ("Location", "/openai/v1/realtime/calls/rtc_simulated")];
    exchange.respond(201, &own, b"v=0\r\ns=simulated\r\n")
}

pub(super) fn realtime(exchange: &mut Exchange<'_>, path: &str) -> io::Result<()> {
    // The preview under /openai/realtime names its events differently.
    let text_event = if path.contains("/v1/") { "response.output_text" } else { "response.text" };
    let Some(socket) = WebSocket::accept(exchange)? else { return Ok(()) };
    let mut session = Session { socket, text_event };
    session.event("session.created", json!({"session": session_object()}))?;
    loop {
        match session.socket.receive()? {
            Message::Text(text) => session.client_event(&text)?,
            Message::Binary(bytes) => session.socket.send(2, &bytes)?,
            Message::Closed => return Ok(()),
        }
    }
}

struct Session<'a, 'b> {
    socket: WebSocket<'a, 'b>,
    text_event: &'static str,
}

impl Session<'_, '_> {
    fn client_event(&mut self, text: &str) -> io::Result<()> {
        let Ok(event) = serde_json::from_str::<Value>(text) else { return self.socket.text(text) };
        self.socket.note(&format!("event {}", event["type"]));
        match event["type"].as_str() {
            Some("session.update") => self.event("session.updated", json!({"session": session_object()})),
            Some("conversation.item.create") => {
                let mut item = event["item"].clone();
                item["id"] = json!(format!("item_{}", tokens::uuid()));
                item["object"] = json!("realtime.item");
                item["status"] = json!("completed");
                if self.text_event == "response.text" {
                    return self
                        .event("conversation.item.created", json!({"previous_item_id": null, "item": item}));
                }
                self.event("conversation.item.added", json!({"previous_item_id": null, "item": item}))?;
                self.event("conversation.item.done", json!({"previous_item_id": null, "item": item}))
            }
            Some("response.create") => self.respond(),
            // Whatever else it is, it comes back as it was.
            _ => self.socket.text(text),
        }
    }

    fn respond(&mut self) -> io::Result<()> {
        let (id, item_id) = (format!("resp_{}", tokens::uuid()), format!("item_{}", tokens::uuid()));
        let kind = if self.text_event == "response.text" { "text" } else { "output_text" };
        let part = |text: &str| json!({"type": kind, "text": text});
        let item = |status: &str, content: Value| {
            json!({"id": item_id, "object": "realtime.item", "type": "message", "status": status,
                "role": "assistant", "content": content})
        };
        let response = |status: &str, output: Value| {
            json!({"id": id, "object": "realtime.response", "status": status, "status_details": null, "output": output,
                "usage": {"total_tokens": 5, "input_tokens": 2, "output_tokens": 3}})
        };
        let at = |mut value: Value| {
            value["response_id"] = json!(id);
            value["item_id"] = json!(item_id);
            value["output_index"] = json!(0);
            value["content_index"] = json!(0);
            value
        };
        let (delta, done) = (format!("{}.delta", self.text_event), format!("{}.done", self.text_event));
        let finished = item("completed", json!([part(&WORDS.concat())]));
        self.event("response.created", json!({"response": response("in_progress", json!([]))}))?;
        let added = json!({"response_id": id, "output_index": 0, "item": item("in_progress", json!([]))});
        self.event("response.output_item.added", added)?;
        self.event("response.content_part.added", at(json!({"part": part("")})))?;
        for word in WORDS {
            self.event(&delta, at(json!({"delta": word})))?;
        }
        self.event(&done, at(json!({"text": WORDS.concat()})))?;
        self.event("response.content_part.done", at(json!({"part": part(&WORDS.concat())})))?;
        self.event(
            "response.output_item.done",
            json!({"response_id": id, "output_index": 0, "item": finished}),
        )?;
        self.event("response.done", json!({"response": response("completed", json!([finished]))}))
    }

    fn event(&mut self, name: &str, mut value: Value) -> io::Result<()> {
        value["type"] = json!(name);
        value["event_id"] = json!(format!("event_{}", tokens::uuid()));
        self.socket.text(&value.to_string())
    }
}

fn session_object() -> Value {
    json!({"id": "sess_simulated", "object": "realtime.session", "type": "realtime", "model": "gpt-realtime",
        "output_modalities": ["text"], "instructions": "", "tools": [], "tool_choice": "auto"})
}

//! The Responses API: whole, or as its named events, with function calls.

use std::io;

use serde_json::{Value, json};

use super::chat::ARGUMENTS;
use super::sse::Events;
use super::{Call, ok, unix};
use crate::sim::exchange::Exchange;
use crate::sim::tokens;

const WORDS: [&str; 4] = ["Hello", " from", " the", " simulator."];

pub(super) fn responses(exchange: &mut Exchange<'_>, call: &Call<'_>) -> io::Result<()> {
    let (id, item_id) = (format!("resp_{}", tokens::uuid()), format!("msg_{}", tokens::uuid()));
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let item = |status: &str, content: Value| json!({"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content});
    let tool = function(call);
    let done = match &tool {
        Some(name) => function_call(name, "completed", ARGUMENTS),
        None => item("completed", json!([part(&WORDS.concat())])),
    };
    let response = |status: &str, output: Value, usage: Value| {
        json!({"id": id, "object": "response", "created_at": unix(), "status": status, "model": call.model,
            "output": output, "usage": usage, "error": null, "incomplete_details": null, "instructions": null,
            "metadata": {}, "parallel_tool_calls": true, "temperature": 1.0, "tool_choice": "auto", "tools": [],
            "top_p": 1.0})
    };
    let usage = json!({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 13});
    let complete = response("completed", json!([done]), usage);
    if call.json["stream"] != true {
        return ok(exchange, &complete);
    }

    let mut events = Events::start(exchange, call.pause)?;
    let mut number = 0;
    let mut send = |name: &str, mut value: Value| {
        value["type"] = json!(name);
        value["sequence_number"] = json!(number);
        number += 1;
        events.named(name, &value)
    };
    let at = |mut value: Value| {
        value["item_id"] = json!(item_id);
        value["output_index"] = json!(0);
        value["content_index"] = json!(0);
        value
    };
    let begun = response("in_progress", json!([]), Value::Null);
    send("response.created", json!({"response": begun}))?;
    send("response.in_progress", json!({"response": begun}))?;
    if let Some(name) = tool {
        let item = function_call(&name, "in_progress", "");
        let at = |mut value: Value| {
            value["item_id"] = item["id"].clone();
            value["output_index"] = json!(0);
            value
        };
        send("response.output_item.added", json!({"output_index": 0, "item": item}))?;
        for part in [&ARGUMENTS[..6], &ARGUMENTS[6..]] {
            send("response.function_call_arguments.delta", at(json!({"delta": part})))?;
        }
        send("response.function_call_arguments.done", at(json!({"name": name, "arguments": ARGUMENTS})))?;
        send("response.output_item.done", json!({"output_index": 0, "item": done}))?;
        send("response.completed", json!({"response": complete}))?;
        return events.finish();
    }
    send("response.output_item.added", json!({"output_index": 0, "item": item("in_progress", json!([]))}))?;
    send("response.content_part.added", at(json!({"part": part("")})))?;
    for word in WORDS {
        send("response.output_text.delta", at(json!({"delta": word, "logprobs": []})))?;
    }
    send("response.output_text.done", at(json!({"text": WORDS.concat(), "logprobs": []})))?;
    send("response.content_part.done", at(json!({"part": part(&WORDS.concat())})))?;
    send("response.output_item.done", json!({"output_index": 0, "item": done}))?;
    send("response.completed", json!({"response": complete}))?;
    events.finish()
}

/// The function to call: the first one offered, until its result is there.
fn function(call: &Call<'_>) -> Option<String> {
    let inputs = call.json["input"].as_array().map_or(&[][..], Vec::as_slice);
    if inputs.iter().any(|item| item["type"] == "function_call_output") {
        return None;
    }
    let name = call.json["tools"].as_array()?.first()?["name"].as_str()?;
    Some(name.to_owned())
}

fn function_call(name: &str, status: &str, arguments: &str) -> Value {
    json!({"id": "fc_simulated", "type": "function_call", "call_id": "call_simulated", "name": name,
        "status": status, "arguments": arguments})
}

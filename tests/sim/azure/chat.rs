//! Chat completions and their elder, completions: whole or streamed, with tool calls.

use std::io;

use serde_json::{Value, json};

use super::sse::Events;
use super::{Call, ok, unix};
use crate::sim::exchange::Exchange;
use crate::sim::tokens;

/// What the model has to say, in the pieces in which it streams.
const WORDS: [&str; 6] = ["Hello", " from", " the", " simulated", " Azure", " OpenAI."];

pub(super) fn chat(exchange: &mut Exchange<'_>, call: &Call<'_>) -> io::Result<()> {
    if !call.json["messages"].is_array() {
        return bad_request(exchange, "'messages' is a required property");
    }
    let tools = call.json["tools"].as_array().filter(|tools| !tools.is_empty());
    // The second turn brings the tool's result: text.
    let has_result =
        call.json["messages"].as_array().unwrap().iter().any(|message| message["role"] == "tool");
    let tool = tools.filter(|_| !has_result).map(|tools| tool_name(&tools[0]));
    if call.json["stream"] == true { stream(exchange, call, tool) } else { whole(exchange, call, tool) }
}

pub(super) fn completions(exchange: &mut Exchange<'_>, call: &Call<'_>) -> io::Result<()> {
    let id = format!("cmpl-{}", tokens::uuid());
    let chunk = |text: &str, finish: Value| {
        json!({"id": id, "object": "text_completion", "created": unix(), "model": call.model,
            "choices": [{"text": text, "index": 0, "logprobs": null, "finish_reason": finish}]})
    };
    if call.json["stream"] == true {
        let mut events = Events::start(exchange, call.pause)?;
        for word in WORDS {
            events.data(&chunk(word, Value::Null))?;
        }
        events.data(&chunk("", json!("stop")))?;
        return events.done();
    }
    let mut response = chunk(&WORDS.concat(), json!("stop"));
    response["usage"] = usage();
    ok(exchange, &response)
}

fn whole(exchange: &mut Exchange<'_>, call: &Call<'_>, tool: Option<String>) -> io::Result<()> {
    let (message, finish) = match tool {
        Some(name) => (
            json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [tool_call(&name, ARGUMENTS)]}),
            "tool_calls",
        ),
        None => (json!({"role": "assistant", "content": WORDS.concat(), "refusal": null}), "stop"),
    };
    ok(
        exchange,
        &json!({
            "id": format!("chatcmpl-{}", tokens::uuid()), "object": "chat.completion", "created": unix(),
            "model": call.model, "system_fingerprint": "fp_simulated",
            "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": null,
                "content_filter_results": filters()}],
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": filters()}],
            "usage": usage(),
        }),
    )
}

fn stream(exchange: &mut Exchange<'_>, call: &Call<'_>, tool: Option<String>) -> io::Result<()> {
    let (id, created) = (format!("chatcmpl-{}", tokens::uuid()), unix());
    let chunk = |choices: Value| {
        json!({"id": id, "object": "chat.completion.chunk", "created": created, "model": call.model,
            "system_fingerprint": "fp_simulated", "choices": choices})
    };
    let delta = |delta: Value, finish: Value| {
        chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]))
    };
    let mut events = Events::start(exchange, call.pause)?;
    // Azure's first event carries the verdict on the prompt and no choice.
    let mut verdict = chunk(json!([]));
    verdict["prompt_filter_results"] = json!([{"prompt_index": 0, "content_filter_results": filters()}]);
    events.data(&verdict)?;
    events.data(&delta(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null))?;
    let finish = if let Some(name) = tool {
        events.data(&delta(json!({"tool_calls": [with_index(tool_call(&name, ""))]}), Value::Null))?;
        for part in [&ARGUMENTS[..6], &ARGUMENTS[6..]] {
            let part = json!({"tool_calls": [{"index": 0, "function": {"arguments": part}}]});
            events.data(&delta(part, Value::Null))?;
        }
        "tool_calls"
    } else {
        for word in WORDS {
            events.data(&delta(json!({"content": word}), Value::Null))?;
        }
        "stop"
    };
    events.data(&delta(json!({}), json!(finish)))?;
    if call.json["stream_options"]["include_usage"] == true {
        let mut last = chunk(json!([]));
        last["usage"] = usage();
        events.data(&last)?;
    }
    events.done()
}

pub(super) const ARGUMENTS: &str = r#"{"city":"Paris"}"#;

fn tool_name(tool: &Value) -> String {
    tool["function"]["name"].as_str().unwrap_or("unnamed").to_owned()
}

fn tool_call(name: &str, arguments: &str) -> Value {
    json!({"id": "call_simulated", "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn with_index(mut call: Value) -> Value {
    call["index"] = json!(0);
    call
}

fn usage() -> Value {
    json!({"prompt_tokens": 11, "completion_tokens": 6, "total_tokens": 17})
}

fn filters() -> Value {
    let safe = json!({"filtered": false, "severity": "safe"});
    json!({"hate": safe, "self_harm": safe, "sexual": safe, "violence": safe})
}

pub(super) fn bad_request(exchange: &mut Exchange<'_>, message: &str) -> io::Result<()> {
    let error =
        json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}});
    exchange.json(400, &super::usual_headers().borrow(), &error)
}

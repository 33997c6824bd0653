//! Embeddings in both encodings, and the list of models.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Call, ok};
use crate::sim::exchange::Exchange;

pub(super) fn embeddings(exchange: &mut Exchange<'_>, call: &Call<'_>) -> io::Result<()> {
    let inputs = match &call.json["input"] {
        Value::String(_) => 1,
        // A list of numbers is one text of tokens.
        Value::Array(list) if list.first().is_some_and(|first| !first.is_number()) => list.len(),
        Value::Array(_) => 1,
        _ => return super::chat::bad_request(exchange, "'input' is a required property"),
    };
    let dimensions = call.json["dimensions"].as_u64().unwrap_or(8).min(4096);
    let data: Vec<Value> = (0..inputs)
        .map(|index| {
            // Eighths are exact in binary: both encodings carry the same numbers.
            let vector: Vec<f32> =
                (0..dimensions).map(|at| f32::from(u16::try_from(at % 64).unwrap()) / 8.0).collect();
            let embedding = if call.json["encoding_format"] == "base64" {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let usage = json!({"prompt_tokens": inputs * 3, "total_tokens": inputs * 3});
    ok(exchange, &json!({"object": "list", "data": data, "model": call.model, "usage": usage}))
}

pub(super) fn models(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let model = |id: &str| {
        json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "system",
            "status": "succeeded", "lifecycle_status": "generally-available"})
    };
    ok(exchange, &json!({"object": "list", "data": [model("gpt-4o"), model("text-embedding-3-small")]}))
}

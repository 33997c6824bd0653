//! Speech, which responds with bytes, and transcription, which takes a form.

use std::io;

use serde_json::json;

use super::{Call, ok, usual_headers};
use crate::sim::exchange::Exchange;
use crate::sim::pattern;

/// How much audio a piece of speech has.
pub(super) const SPEECH_BYTES: usize = 48_000;

pub(super) fn speech(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let usual = usual_headers();
    exchange.start(200, &[&usual.borrow()[..], &[("Content-Type", "audio/mpeg")]].concat())?;
    for piece in pattern(0, SPEECH_BYTES).chunks(4096) {
        exchange.piece(piece)?;
    }
    exchange.finish()
}

pub(super) fn transcriptions(exchange: &mut Exchange<'_>, call: &Call<'_>) -> io::Result<()> {
    let parts = super::files::parts(&exchange.head.value("content-type"), call.body);
    match parts.iter().find(|part| part.name == "file") {
        Some(file) => ok(exchange, &json!({"text": format!("A recording of {} bytes.", file.content.len())})),
        None => super::chat::bad_request(exchange, "the form has no part named 'file'"),
    }
}

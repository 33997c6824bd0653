//! Image generation: always the same pixel.

use std::io;

use serde_json::json;

use super::{ok, unix};
use crate::sim::exchange::Exchange;

/// A PNG of one pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

pub(super) fn generations(exchange: &mut Exchange<'_>) -> io::Result<()> {
    ok(exchange, &json!({"created": unix(), "data": [{"b64_json": PIXEL, "revised_prompt": "one pixel"}]}))
}

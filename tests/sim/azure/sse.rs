//! Server-sent events: each in one chunk and one write, with a pause between them.

use std::io;
use std::time::Duration;

use serde_json::Value;

use super::usual_headers;
use crate::sim::exchange::Exchange;

/// A stream of events that has begun.
pub(super) struct Events<'a, 'b> {
    exchange: &'a mut Exchange<'b>,
    pause: Duration,
    first: bool,
}

impl<'a, 'b> Events<'a, 'b> {
    pub(super) fn start(exchange: &'a mut Exchange<'b>, pause: Duration) -> io::Result<Self> {
        let usual = usual_headers();
        let own = [
            ("Content-Type", "text/event-stream; charset=utf-8"),
            ("Cache-Control", "no-cache"),
            ("x-accel-buffering", "no"),
        ];
        exchange.start(200, &[&usual.borrow()[..], &own].concat())?;
        Ok(Self { exchange, pause, first: true })
    }

    /// An event without a name, as chat completions have it.
    pub(super) fn data(&mut self, value: &Value) -> io::Result<()> {
        self.text(&format!("data: {value}\n\n"))
    }

    /// An event with a name, as responses have it.
    pub(super) fn named(&mut self, name: &str, value: &Value) -> io::Result<()> {
        self.text(&format!("event: {name}\ndata: {value}\n\n"))
    }

    /// Any text; waits before it, except at the first.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.text_with(|| text.to_owned())
    }

    /// Text that is made at the moment of its writing.
    pub(super) fn text_with(&mut self, text: impl FnOnce() -> String) -> io::Result<()> {
        if !std::mem::take(&mut self.first) && !self.pause.is_zero() {
            self.exchange.think(self.pause)?;
        }
        self.exchange.piece(text().as_bytes())
    }

    pub(super) fn done(self) -> io::Result<()> {
        self.exchange.piece(b"data: [DONE]\n\n")?;
        self.finish()
    }

    pub(super) fn finish(self) -> io::Result<()> {
        self.exchange.finish()
    }
}

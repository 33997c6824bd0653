//! Models named `throttled-…`: from the first request on, each asks for timeout until a second has passed. A client that
//! waits as long as it is asked to succeeds at its second try, one that knows better does not.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;

use super::usual_headers;
use crate::sim::exchange::Exchange;

const WINDOW: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Throttle {
    opens: Mutex<HashMap<String, Instant>>,
}

impl Throttle {
    /// How long this model still wants to be left alone.
    pub(super) fn left(&self, model: &str) -> Option<Duration> {
        if !model.starts_with("throttled-") {
            return None;
        }
        let mut opens = self.opens.lock().unwrap();
        let open = *opens.entry(model.to_owned()).or_insert_with(|| Instant::now() + WINDOW);
        open.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

pub(super) fn refuse(exchange: &mut Exchange<'_>, left: Duration) -> io::Result<()> {
    // Rounded up: who waits exactly so long has waited long enough.
    let (milliseconds, seconds) = ((left.as_millis() + 1).to_string(), (left.as_secs() + 1).to_string());
    let own = [("retry-after", seconds.as_str()), ("retry-after-ms", &milliseconds)];
    let error = json!({"error": {"code": "429", "message": "Requests have exceeded the call rate limit."}});
    exchange.json(429, &[&usual_headers().borrow()[..], &own].concat(), &error)
}

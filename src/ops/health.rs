//! `GET /health`: whether a request would be served now.

use http::StatusCode;
use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::server::{ErrorResponse, Exchange, send_full};
use crate::token::{Status, TokenStore};

pub(crate) const PATH: &str = "/health";

/// 200 `{"status":"ok"}` exactly when there is a usable token and no shutdown; else 503 and why. Load does not change it,
/// and the upstream is not contacted: a busy sidecar must not be restarted.
pub(crate) fn respond(tokens: &TokenStore, exchange: &mut dyn Exchange) {
    let status = tokens.status();
    if status.ready() { send_ok(exchange) } else { send_unavailable(status, exchange) }
}

/// 200 once there was a token, for good; until then 503 and why.
pub(crate) fn respond_started(tokens: &TokenStore, exchange: &mut dyn Exchange) {
    let status = tokens.status();
    // A count that only grows is a latch that cannot be taken back.
    if status.successes > 0 { send_ok(exchange) } else { send_unavailable(status, exchange) }
}

/// 200 `{"status":"ok"}`.
pub(crate) fn send_ok(exchange: &mut dyn Exchange) {
    send_full(exchange, StatusCode::OK, &headers(), br#"{"status":"ok"}"#);
}

fn headers() -> Fields {
    let mut headers = ErrorResponse::json_headers();
    headers.push("cache-control", b"no-store");
    headers
}

/// Why requests are not served; none when they are.
pub(super) fn reason(status: &Status) -> Option<String> {
    (!status.ready()).then(|| match &status.unavailable {
        Some(unavailable) => unavailable.to_string(),
        None if status.has_died() => "the token refresher has stopped".to_owned(),
        None => "the proxy is stopping".to_owned(),
    })
}

fn send_unavailable(status: Status, exchange: &mut dyn Exchange) {
    let mut headers = headers();
    let mut body = Map::new();
    body.insert("status".into(), "unavailable".into());
    body.insert("reason".into(), reason(&status).into());
    if let Some(unavailable) = status.unavailable {
        let texts = [
            ("code", unavailable.code.map(|code| format!("AADSTS{code}"))),
            ("remedy", unavailable.remedy),
            ("trace_id", unavailable.trace_id),
            ("correlation_id", unavailable.correlation_id),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                body.insert(name.into(), text.into());
            }
        }
        headers.push("retry-after", unavailable.retry_after.as_secs().to_string().as_bytes());
    }
    let body = Value::Object(body).to_string();
    send_full(exchange, StatusCode::SERVICE_UNAVAILABLE, &headers, body.as_bytes());
}

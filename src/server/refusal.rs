//! An answer of our own: an error in the shape that OpenAI's SDKs read.

use http::StatusCode;
use serde_json::{Map, Value};

use super::{Exchange, Length};
use crate::fields::Fields;

/// A refusal: the status, and what the JSON body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// `error.type`.
    pub kind: &'static str,
    /// `error.code`.
    pub code: String,
    /// `error.message`, for a person: no secret, no query string.
    pub message: String,
    /// More members of `error`.
    pub details: Vec<(&'static str, Value)>,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// `x-should-retry`: OpenAI's SDKs retry or give up as it says, whatever the status.
    pub should_retry: Option<bool>,
}

impl Refusal {
    /// A refusal whose request is at fault.
    pub fn request(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self::new(status, "invalid_request_error", code, message)
    }

    /// A refusal of a kind.
    pub fn new(status: StatusCode, kind: &'static str, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            code: code.to_owned(),
            message: message.into(),
            details: Vec::new(),
            retry_after: None,
            should_retry: None,
        }
    }

    /// There are more connections than we serve: come back soon.
    pub fn too_many_connections() -> Self {
        Self::overloaded("too many connections at once; try again, or raise MAX_CONNECTIONS")
    }

    /// There is more of something than we serve at a time: come back soon.
    pub fn overloaded(why: &str) -> Self {
        let message = format!("auth-proxy is overloaded: {why}");
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "overloaded", message);
        refusal.retry_after = Some(1);
        refusal
    }

    /// The JSON body: `{"error":{"message","type","code",…}}`.
    pub fn body(&self) -> Vec<u8> {
        let mut error = Map::new();
        error.insert("message".into(), self.message.clone().into());
        error.insert("type".into(), self.kind.into());
        error.insert("param".into(), Value::Null);
        error.insert("code".into(), self.code.clone().into());
        for (name, value) in &self.details {
            error.insert((*name).into(), value.clone());
        }
        let mut root = Map::new();
        root.insert("error".into(), error.into());
        Value::Object(root).to_string().into_bytes()
    }

    /// The header fields of a JSON body.
    pub fn json_headers() -> Fields {
        Fields::from([("content-type", "application/json")])
    }

    /// The header fields.
    pub fn headers(&self) -> Fields {
        let mut headers = Self::json_headers();
        if let Some(seconds) = self.retry_after {
            headers.push("retry-after", seconds.to_string().as_bytes());
        }
        if let Some(retry) = self.should_retry {
            headers.push("x-should-retry", if retry { b"true" } else { b"false" });
        }
        headers
    }

    /// Gives this as the whole answer. A client that is gone does not matter.
    pub fn send(&self, exchange: &mut dyn Exchange) {
        send_whole(exchange, self.status, &self.headers(), &self.body());
    }
}

/// Gives a whole small answer at once.
pub fn send_whole(exchange: &mut dyn Exchange, status: StatusCode, headers: &Fields, body: &[u8]) {
    exchange.start(status, headers, Length::Known(body.len() as u64));
    if exchange.write(body).is_ok() {
        let _ = exchange.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_openais_shape() {
        let mut refusal = Refusal::request(StatusCode::BAD_REQUEST, "bad_head", "a \"quoted\" fault");
        refusal.details.push(("trace_id", "t".into()));
        let value: Value = serde_json::from_slice(&refusal.body()).unwrap();
        assert_eq!(value["error"]["message"], "a \"quoted\" fault");
        assert_eq!(value["error"]["type"], "invalid_request_error");
        assert_eq!(value["error"]["code"], "bad_head");
        assert_eq!(value["error"]["trace_id"], "t");
    }
}

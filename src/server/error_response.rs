//! A response of our own: an error in the shape that OpenAI's SDKs read.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::{Map, Value};

use super::{Exchange, Length};
use crate::fields::Fields;
use crate::http1::head::{FaultKind, HeadFault};

/// Which limit or resource is exhausted: in messages, logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// `MAX_CONNECTIONS`.
    Connections,
    Descriptors,
    /// Permits for large request heads.
    LargeHeads,
    Memory,
    Threads,
}

impl Overload {
    pub const ALL: [Self; 5] =
        [Self::Connections, Self::Descriptors, Self::LargeHeads, Self::Memory, Self::Threads];

    /// As logs and metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Descriptors => "descriptors",
            Self::LargeHeads => "large_heads",
            Self::Memory => "memory",
            Self::Threads => "threads",
        }
    }

    /// What is exhausted, and what to do about it.
    fn message(self) -> &'static str {
        match self {
            Self::Connections => "too many connections; retry later, or raise MAX_CONNECTIONS",
            Self::Descriptors => "out of file descriptors; retry later, or raise ulimit -n (LimitNOFILE)",
            Self::LargeHeads => "too many requests with a large header section; retry later",
            Self::Memory => "out of memory for another connection; retry later, or raise the memory limit",
            Self::Threads => {
                "out of threads for another connection; retry later, or raise the process limit (pids.max, ulimit -u)"
            }
        }
    }
}

/// The status, and what the JSON body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
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
    /// Which limit or resource is exhausted, if that is why.
    pub overload: Option<Overload>,
}

impl From<HeadFault> for ErrorResponse {
    fn from(fault: HeadFault) -> Self {
        let (status, code) = match fault.kind {
            FaultKind::BadRequest => (StatusCode::BAD_REQUEST, "bad_request"),
            FaultKind::FieldsTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large"),
            FaultKind::MethodNotSupported => (StatusCode::NOT_IMPLEMENTED, "method_not_supported"),
            FaultKind::TransferCodingNotSupported => {
                (StatusCode::NOT_IMPLEMENTED, "transfer_encoding_not_supported")
            }
            FaultKind::UriTooLong => (StatusCode::URI_TOO_LONG, "uri_too_long"),
            FaultKind::VersionNotSupported => {
                (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "http_version_not_supported")
            }
        };
        Self::request(status, code, fault.message)
    }
}

impl ErrorResponse {
    /// For a request that is at fault.
    pub fn request(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self::new(status, "invalid_request_error", code, message)
    }

    /// An error response of a kind (`error.type`).
    pub fn new(status: StatusCode, kind: &'static str, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            code: code.to_owned(),
            message: message.into(),
            details: Vec::new(),
            retry_after: None,
            should_retry: None,
            overload: None,
        }
    }

    /// 503: a limit or resource is exhausted, a retry soon may succeed.
    pub fn overloaded(by: Overload) -> Self {
        let message = format!("auth-proxy is overloaded: {}", by.message());
        let mut response = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "overloaded", message);
        response.retry_after = Some(1);
        response.overload = Some(by);
        response
    }

    /// 400: plain HTTP where TLS is spoken.
    pub fn tls_required() -> Self {
        let message = "this port speaks TLS, and the request came as plain HTTP: use https://";
        Self::request(StatusCode::BAD_REQUEST, "tls_required", message)
    }

    /// The JSON body: `{"error":{"message","type","code",…}}`.
    pub fn body(&self) -> Vec<u8> {
        let mut error = Map::new();
        error.insert("message".into(), self.message.clone().into());
        error.insert("type".into(), self.kind.into());
        error.insert("param".into(), Value::Null);
        error.insert("code".into(), self.code.clone().into());
        if let Some(by) = self.overload {
            error.insert("reason".into(), by.name().into());
        }
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

    /// Sends it as the whole response. Errors of a client that has disconnected are ignored.
    pub fn send(&self, exchange: &mut dyn Exchange) {
        send_full(exchange, self.status, &self.headers(), &self.body());
    }
}

/// Sends a whole small response of our own at once. "An origin server with a clock … MUST generate a Date header field in
/// all 2xx (Successful), 3xx (Redirection), and 4xx (Client Error) responses" (RFC 9110 section 6.6.1).
pub fn send_full(exchange: &mut dyn Exchange, status: StatusCode, headers: &Fields, body: &[u8]) {
    let mut headers = headers.clone();
    headers.push("date", httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    exchange.start(status, &headers, Length::Known(body.len() as u64));
    if exchange.write(body).is_ok() {
        let _ = exchange.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_openais_shape() {
        let mut response = ErrorResponse::request(StatusCode::BAD_REQUEST, "bad_head", "a \"quoted\" fault");
        response.details.push(("trace_id", "t".into()));
        let value: Value = serde_json::from_slice(&response.body()).unwrap();
        assert_eq!(value["error"]["message"], "a \"quoted\" fault");
        assert_eq!(value["error"]["type"], "invalid_request_error");
        assert_eq!(value["error"]["code"], "bad_head");
        assert_eq!(value["error"]["trace_id"], "t");
    }
}

//! Why a request got no answer from the destination, and what the caller is told. Causes go to the log; the caller
//! learns the kind and what to do.

use std::io;

use http::StatusCode;
use serde_json::Value;

use crate::server::Refusal;
use crate::token::Unavailable;
use crate::upstream::Fault;

/// The kind of a request that we refuse without asking the destination.
pub(super) const REFUSED: &str = "refused";
/// What to do when the destination hangs up.
const CLOSED: &str =
    "the client may try again; if it repeats, check port and scheme of API_BASE_URL, and firewalls";

/// A request that failed before an answer began.
#[derive(Debug)]
pub(super) enum Failure {
    /// The caller gets this; the cause is for the log.
    Refused {
        /// What the caller gets.
        refusal: Box<Refusal>,
        /// The cause: its kind for metrics, its text for the log, and what to do about it.
        kind: &'static str,
        cause: String,
        hint: Option<String>,
    },
    /// Nobody is left to be told.
    ClientGone,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let cause = refusal.message.clone();
        Self::Refused { refusal: Box::new(refusal), kind: REFUSED, cause, hint: None }
    }
}

/// The failure behind an error of ureq's.
pub(super) fn from_ureq(error: &ureq::Error) -> Failure {
    if let Some(fault) = Fault::inside(error) {
        return from_fault(fault);
    }
    let cause = error.to_string();
    match error {
        ureq::Error::Timeout(_) => {
            let message = "the destination did not answer in time";
            let cause = "it was silent for longer than READ_IDLE_TIMEOUT".into();
            let hint = Some("raise READ_IDLE_TIMEOUT if answers may take that long".into());
            refused(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message, "timeout", cause, hint)
        }
        ureq::Error::Io(io) if io.kind() == io::ErrorKind::UnexpectedEof => {
            let message = "the destination closed the connection without an answer";
            refused(StatusCode::BAD_GATEWAY, "upstream_closed", message, "closed", cause, Some(CLOSED.into()))
        }
        ureq::Error::LargeResponseHeader(..) => {
            let message = "the destination's answer has a head larger than 64 KiB";
            refused(StatusCode::BAD_GATEWAY, "upstream_bad_answer", message, "bad_answer", cause, None)
        }
        _ => bad_answer(cause),
    }
}

/// The connection ended before an answer came: what a stale pooled connection looks like.
pub(super) fn is_disconnect(error: &ureq::Error) -> bool {
    match Fault::inside(error) {
        Some(fault) => matches!(fault, Fault::Truncated(_)),
        None => matches!(error, ureq::Error::Io(io) if io.kind() == io::ErrorKind::UnexpectedEof),
    }
}

/// Connecting took so long that the token must not be sent any more; nothing was.
pub(super) fn is_too_late(error: &ureq::Error) -> bool {
    matches!(Fault::inside(error), Some(Fault::TooLate))
}

/// An answer that cannot be passed on.
pub(super) fn bad_answer(cause: String) -> Failure {
    let message = "the destination's answer is not valid HTTP/1.1";
    let hint =
        Some("check port and scheme of API_BASE_URL: something else than HTTP may answer there".into());
    refused(StatusCode::BAD_GATEWAY, "upstream_bad_answer", message, "bad_answer", cause, hint)
}

fn from_fault(fault: &Fault) -> Failure {
    let gateway = |code: &'static str, message: &str| {
        let status = if code == "upstream_connect_timeout" {
            StatusCode::GATEWAY_TIMEOUT
        } else {
            StatusCode::BAD_GATEWAY
        };
        refused(status, code, message, fault.kind(), fault.to_string(), fault.hint())
    };
    match fault {
        Fault::ClientGone => Failure::ClientGone,
        Fault::RequestBody(cause) => from_request_body(cause),
        Fault::Resolve { .. } => gateway("upstream_dns", "the destination's name cannot be resolved"),
        Fault::Connect { .. } => gateway("upstream_unreachable", "cannot connect to the destination"),
        Fault::ConnectTimeout { .. } => {
            gateway("upstream_connect_timeout", "no connection to the destination in time")
        }
        Fault::EgressProxy { .. } => {
            gateway("upstream_egress_proxy", "the egress proxy does not let the connection through")
        }
        Fault::Tls { .. } => {
            gateway("upstream_tls", "the destination's TLS certificate or handshake is refused")
        }
        Fault::TooLate => {
            let message = "the access token expired before there was a connection to the destination";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            refused(status, "token_expired", message, fault.kind(), fault.to_string(), None)
        }
        Fault::Truncated(_) => {
            let (message, cause) =
                ("the destination broke the connection without an answer", fault.to_string());
            let hint = Some(CLOSED.into());
            refused(StatusCode::BAD_GATEWAY, "upstream_closed", message, fault.kind(), cause, hint)
        }
    }
}

/// The caller's own body is at fault.
fn from_request_body(cause: &io::Error) -> Failure {
    let (status, code) = match cause.kind() {
        io::ErrorKind::InvalidData => (StatusCode::BAD_REQUEST, "bad_request"),
        io::ErrorKind::TimedOut => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
        io::ErrorKind::FileTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        _ => return Failure::ClientGone,
    };
    let message = match code {
        "bad_request" => format!("the request body is malformed: {cause}"),
        "request_timeout" => "the request body paused for too long".to_owned(),
        _ => "the destination refused the request body while it was being sent".to_owned(),
    };
    Refusal::request(status, code, message).into()
}

fn refused(
    status: StatusCode,
    code: &'static str,
    message: &str,
    kind: &'static str,
    cause: String,
    hint: Option<String>,
) -> Failure {
    let mut refusal = Refusal::new(status, "upstream_error", code, format!("auth-proxy: {message}"));
    if code == "upstream_tls" {
        // The same certificate will be shown again.
        refusal.should_retry = Some(false);
    }
    refusal.details.extend(hint.clone().map(|hint| ("remedy", Value::from(hint))));
    Failure::Refused { refusal: Box::new(refusal), kind, cause, hint }
}

/// 503: there is no token to send the request with.
pub(super) fn no_token(unavailable: &Unavailable) -> Refusal {
    let mut refusal = Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "authentication_error",
        &unavailable.code.map_or_else(|| "token_unavailable".to_owned(), |code| format!("AADSTS{code}")),
        format!("auth-proxy cannot sign in to Entra ID: {unavailable}"),
    );
    let mut detail = |name, value: Option<&str>| {
        if let Some(value) = value {
            refusal.details.push((name, Value::from(value)));
        }
    };
    detail("remedy", unavailable.remedy.as_deref());
    detail("trace_id", unavailable.trace_id.as_deref());
    detail("correlation_id", unavailable.correlation_id.as_deref());
    refusal.retry_after = Some(unavailable.retry_after.as_secs());
    if unavailable.permanent {
        refusal.should_retry = Some(false);
    }
    refusal
}

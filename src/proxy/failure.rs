//! Why a request got no response from the upstream, and the error response to the client. Causes go to the log; the client
//! gets the kind and what to do.

use std::io;

use http::StatusCode;
use serde_json::Value;

use crate::net::{ConnectError, whole_seconds};
use crate::server::ErrorResponse;
use crate::token::Unavailable;
use crate::upstream::Fault;

/// The kind of a request that we reject without sending it to the upstream.
pub(super) const REFUSED: &str = "refused";
/// The kind of one that could not be sent for want of a token.
pub(super) const NO_TOKEN: &str = "token_unavailable";
/// The hint when the upstream closes the connection.
const CLOSED_HINT: &str =
    "the client may retry; if it happens again, check port and scheme of API_BASE_URL, and firewalls";

/// A request that failed before a response began.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client gets this; the cause is for the log.
    Refused {
        response: Box<ErrorResponse>,
        /// The cause: its kind for metrics, its text for the log, and what to do about it.
        kind: &'static str,
        cause: String,
        hint: Option<String>,
    },
    /// The client has disconnected.
    ClientGone,
}

impl From<ErrorResponse> for Failure {
    fn from(response: ErrorResponse) -> Self {
        let cause = response.message.clone();
        Self::Refused { response: Box::new(response), kind: REFUSED, cause, hint: None }
    }
}

/// The failure that an error of ureq stands for.
pub(super) fn from_ureq(error: &ureq::Error) -> Failure {
    if let Some(fault) = Fault::inside(error) {
        return from_fault(fault);
    }
    match error {
        ureq::Error::Timeout(_) => {
            let message = "the upstream did not respond in time";
            let cause = "no data within READ_IDLE_TIMEOUT".into();
            let hint = Some("raise READ_IDLE_TIMEOUT if responses may take that long".into());
            refused(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message, "timeout", cause, hint)
        }
        // The streams and the response's head are read by us, and our faults have names. Whatever else ureq objects to is
        // the request as we built it.
        error => from_fault(&Fault::Internal(error.to_string())),
    }
}

/// What an error means that ended a response early.
pub(super) fn abort_cause(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(ureq::Error::Timeout(_)) => "no data within READ_IDLE_TIMEOUT".to_owned(),
        _ => Fault::inside_io(error).map_or_else(|| error.to_string(), Fault::to_string),
    }
}

/// The failure that an error of a response's body stands for, of which nothing was relayed yet.
pub(super) fn from_body(error: &io::Error) -> Failure {
    if let Some(fault) = Fault::inside_io(error) {
        return from_fault(fault);
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(error) => from_ureq(error),
        None => from_fault(&Fault::Internal(error.to_string())),
    }
}

/// The connection ended before a response came: what a stale idle connection looks like.
pub(super) fn is_disconnect(error: &ureq::Error) -> bool {
    matches!(Fault::inside(error), Some(Fault::Truncated(_) | Fault::Closed))
}

/// A response that cannot be relayed.
pub(super) fn bad_response(cause: String) -> Failure {
    let message = "the upstream's response is not valid HTTP/1.1";
    let hint = Some("check port and scheme of API_BASE_URL: that port may not speak HTTP".into());
    refused(StatusCode::BAD_GATEWAY, "upstream_bad_response", message, "bad_response", cause, hint)
}

pub(super) fn from_fault(fault: &Fault) -> Failure {
    match fault {
        Fault::Connect(error) => from_connect_error(error),
        Fault::ClientGone => Failure::ClientGone,
        Fault::RequestBody(cause) => from_request_body(cause),
        Fault::BadResponse(why) => bad_response(why.clone()),
        Fault::Closed => {
            let message = "the upstream closed the connection without a response";
            let hint = Some(CLOSED_HINT.into());
            refused(
                StatusCode::BAD_GATEWAY,
                "upstream_closed",
                message,
                fault.kind(),
                fault.to_string(),
                hint,
            )
        }
        Fault::EarlyResponse | Fault::Internal(_) => {
            let message = "auth-proxy: internal error, a bug of auth-proxy; see its log";
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            let response = ErrorResponse::new(status, "server_error", "internal_error", message);
            let (kind, cause) = (fault.kind(), fault.to_string());
            Failure::Refused { response: Box::new(response), kind, cause, hint: None }
        }
        Fault::Truncated(_) => {
            let (message, cause) = (
                "the upstream closed the connection in the middle of its response's header section",
                fault.to_string(),
            );
            let hint = Some(CLOSED_HINT.into());
            refused(StatusCode::BAD_GATEWAY, "upstream_closed", message, fault.kind(), cause, hint)
        }
    }
}

/// The failure when there is no connection.
fn from_connect_error(error: &ConnectError) -> Failure {
    let gateway = |code: &'static str, message: &str| {
        let status = if code == "upstream_connect_timeout" {
            StatusCode::GATEWAY_TIMEOUT
        } else {
            StatusCode::BAD_GATEWAY
        };
        refused(status, code, message, error.kind(), error.to_string(), error.hint())
    };
    match error {
        ConnectError::ClientGone => Failure::ClientGone,
        ConnectError::Resolve { .. } => {
            gateway("upstream_dns", "the upstream's host name cannot be resolved")
        }
        ConnectError::Connect { .. } => gateway("upstream_unreachable", "cannot connect to the upstream"),
        ConnectError::Timeout { .. } => {
            gateway("upstream_connect_timeout", "connecting to the upstream timed out")
        }
        ConnectError::EgressProxy { .. } => {
            gateway("upstream_egress_proxy", "the egress proxy refuses the connection")
        }
        ConnectError::EgressProxyAuth { error: auth_error, retry_in, .. } => {
            let seconds = retry_in.map(whole_seconds);
            let next = seconds.map_or_else(String::new, |n| format!("; the next attempt is in {n} s"));
            let mut failure =
                gateway("upstream_egress_proxy", &format!("the egress proxy {auth_error}{next}"));
            if let (Failure::Refused { response, .. }, Some(_)) = (&mut failure, seconds) {
                response.retry_after = seconds;
                // Until then the same credentials are not even presented.
                response.should_retry = Some(false);
            }
            failure
        }
        ConnectError::Tls { .. } => gateway("upstream_tls", "the TLS handshake with the upstream failed"),
    }
}

/// The client's own body is at fault.
fn from_request_body(cause: &io::Error) -> Failure {
    let (status, code) = match cause.kind() {
        io::ErrorKind::InvalidData => (StatusCode::BAD_REQUEST, "bad_request"),
        io::ErrorKind::TimedOut => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
        _ => return Failure::ClientGone,
    };
    let message = match status {
        StatusCode::BAD_REQUEST => format!("the request body is malformed: {cause}"),
        _ => "the request body paused for too long".to_owned(),
    };
    ErrorResponse::request(status, code, message).into()
}

fn refused(
    status: StatusCode,
    code: &'static str,
    message: &str,
    kind: &'static str,
    cause: String,
    hint: Option<String>,
) -> Failure {
    let mut response = ErrorResponse::new(status, "upstream_error", code, format!("auth-proxy: {message}"));
    if code == "upstream_tls" {
        // A retry would meet the same certificate.
        response.should_retry = Some(false);
    }
    response.details.extend(hint.clone().map(|hint| ("remedy", Value::from(hint))));
    Failure::Refused { response: Box::new(response), kind, cause, hint }
}

/// 503: there is no token to send the request with.
pub(super) fn no_token(unavailable: &Unavailable) -> Failure {
    let mut response = ErrorResponse::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "authentication_error",
        &unavailable.code.map_or_else(|| NO_TOKEN.to_owned(), |code| format!("AADSTS{code}")),
        format!("auth-proxy cannot sign in to Entra ID: {unavailable}"),
    );
    let mut detail = |name, value: Option<&str>| {
        if let Some(value) = value {
            response.details.push((name, Value::from(value)));
        }
    };
    detail("remedy", unavailable.remedy.as_deref());
    detail("trace_id", unavailable.trace_id.as_deref());
    detail("correlation_id", unavailable.correlation_id.as_deref());
    response.retry_after = Some(unavailable.retry_after.as_secs());
    if unavailable.permanent {
        response.should_retry = Some(false);
    }
    let (cause, hint) = (response.message.clone(), unavailable.remedy.clone());
    Failure::Refused { response: Box::new(response), kind: NO_TOKEN, cause, hint }
}

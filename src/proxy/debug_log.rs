//! `LOG_LEVEL=debug`: what was decided about a request, and which header fields it arrived and left with, by name alone.
//! Below that level nothing is collected.

use http::StatusCode;

use super::target;
use super::upstream_request::UpstreamRequest;
use crate::config::LogLevel;
use crate::fields::{self, Fields};
use crate::log;
use crate::server::Head;

/// More names than this are only counted.
const MAX_NAMES: usize = 40;

/// What a request arrived with.
pub(super) struct CapturedHeaders {
    names: Vec<String>,
    credentials_in_query: usize,
}

impl CapturedHeaders {
    /// Captures the names when they will be logged.
    pub(super) fn capture(head: &Head) -> Option<Self> {
        log::enabled(LogLevel::Debug).then(|| Self {
            names: names(&head.headers).map(str::to_owned).collect(),
            credentials_in_query: target::credentials(&head.target).count(),
        })
    }

    /// Logs what the request arrived with, and what of that is not forwarded.
    pub(super) fn log_headers(self, request: &UpstreamRequest, path: &str) {
        let (stripped, passed): (Vec<_>, Vec<_>) =
            self.names.iter().map(String::as_str).partition(|name| !request.passes(name));
        log::debug(
            "request headers",
            &[
                ("path", &path),
                ("passed", &list(passed.into_iter())),
                ("stripped", &list(stripped.into_iter())),
                ("credentials_stripped_from_query", &self.credentials_in_query),
                ("websocket", &request.websocket),
            ],
        );
    }
}

/// The request is about to be sent; with the first bytes of its body, when those are buffered.
pub(super) fn sending(path: &str, has_buffered_body: bool) {
    log::debug("request sent", &[("path", &path), ("body_buffered", &has_buffered_body)]);
}

pub(super) fn retrying(path: &str, why: &str) {
    log::debug("request will be retried", &[("path", &path), ("why", &why)]);
}

/// There is no usable token yet.
pub(super) fn waiting_for_token(path: &str) {
    log::debug("request waiting for a token", &[("path", &path)]);
}

pub(super) fn response_headers(path: &str, status: StatusCode, headers: &Fields) {
    if log::enabled(LogLevel::Debug) {
        let names = list(names(headers));
        log::debug("response headers", &[("path", &path), ("status", &status.as_u16()), ("names", &names)]);
    }
}

fn names(headers: &Fields) -> impl Iterator<Item = &str> {
    headers.iter().map(|(name, _)| fields::readable(name))
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let mut list = names[..names.len().min(MAX_NAMES)].join(",").to_ascii_lowercase();
    if names.len() > MAX_NAMES {
        list.push_str(&format!(" and {} more", names.len() - MAX_NAMES));
    }
    list
}

//! Error responses of the upstream that somebody has to look at. Each passes to its client unchanged, and its request has its
//! line; of each kind there is a warning besides, once a minute, with Azure's code, what it means and what to do.

use std::time::{Duration, Instant};

use http::StatusCode;

use crate::fields::Fields;
use crate::log::{self, Digest, Entry, Value};
use crate::upstream::diagnosis::{Diagnosis, UpstreamError, diagnose};

/// Errors of one kind are logged this often.
const PERIOD: Duration = Duration::from_secs(60);
/// Codes of one status that mean the same and have lines of their own; further ones share a line. Codes are the upstream's,
/// and one that makes up a code for each response must not keep other errors from being logged.
const MAX_CODES: usize = 4;
const OTHER_CODE: &str = "other";
/// More than the known statuses with as many codes.
const MAX_KINDS: usize = 256;
/// Azure's errors are smaller. Of a larger one nothing is read.
const MAX_BODY: usize = 4096;

/// The body of an error response, copied while it passes. It is read for its code and never logged.
#[derive(Debug)]
pub(super) struct ErrorBody {
    status: StatusCode,
    /// None when it cannot be read: too large, compressed or not JSON.
    json: Option<Vec<u8>>,
}

impl ErrorBody {
    /// For a response with this status and these fields; none when it is no error that somebody has to look at.
    pub(super) fn of(status: StatusCode, headers: &Fields) -> Option<Self> {
        if !matches!(status.as_u16(), 401 | 403 | 404 | 407 | 429 | 500..=599) {
            return None;
        }
        let content_type = headers.get("content-type").unwrap_or_default().to_ascii_lowercase();
        let is_json = content_type.windows(4).any(|part| part == b"json");
        let json = (is_json && !headers.contains("content-encoding")).then(Vec::new);
        Some(Self { status, json })
    }

    /// These bytes pass.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match &mut self.json {
            Some(json) if json.len() + bytes.len() <= MAX_BODY => json.extend_from_slice(bytes),
            json => *json = None,
        }
    }
}

/// Errors that were not logged yet.
#[derive(Debug)]
pub(crate) struct UpstreamErrorLog {
    digest: Digest<Kind, Last>,
    /// The usual scope that is not asked for, in case the upstream wants that one.
    other_scope: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Kind {
    status: u16,
    code: Option<String>,
    diagnosis: Diagnosis,
}

/// The last request that got such an error.
#[derive(Debug, Default)]
struct Last {
    /// Without the query.
    path: String,
    request_id: Option<String>,
}

impl Default for UpstreamErrorLog {
    fn default() -> Self {
        Self::new(None)
    }
}

impl UpstreamErrorLog {
    pub(super) fn new(other_scope: Option<&'static str>) -> Self {
        Self { digest: Digest::new(PERIOD, MAX_KINDS), other_scope }
    }

    /// Logs an error at once, or with others a minute after the last one of its kind. Returns what it means, and Azure's
    /// code.
    pub(super) fn record(
        &self,
        body: &ErrorBody,
        path: &str,
        request_id: Option<&str>,
    ) -> Option<(&'static str, Option<String>)> {
        let error = body.json.as_deref().map(UpstreamError::read).unwrap_or_default();
        let status = body.status.as_u16();
        let diagnosis = diagnose(status, &error, self.other_scope)?;
        let known = (diagnosis.meaning, error.code.clone());
        let kind = self.kind(Kind { status, code: error.code, diagnosis });
        let entry = self.digest.add(kind, Instant::now(), |last| {
            (last.path, last.request_id) = (log::excerpt(path), request_id.map(str::to_owned));
        });
        if let Some(entry) = entry {
            log_entry(&entry);
        }
        Some(known)
    }

    /// The kind that this one counts as.
    fn kind(&self, kind: Kind) -> Kind {
        let is_alike = |other: &Kind| (other.status, &other.diagnosis) == (kind.status, &kind.diagnosis);
        let is_new = kind.code.is_some() && self.digest.count(|other| *other == kind) == 0;
        if is_new && self.digest.count(is_alike) >= MAX_CODES {
            return Kind { code: Some(OTHER_CODE.to_owned()), ..kind };
        }
        kind
    }

    /// Logs all that was not logged yet.
    pub(crate) fn finish(&self) {
        self.digest.rest(Instant::now()).iter().for_each(log_entry);
    }

    /// Logs what has waited for its minute to pass. To be called every second.
    pub(crate) fn flush(&self) {
        self.digest.due(Instant::now()).iter().for_each(log_entry);
    }
}

fn log_entry(entry: &Entry<Kind, Last>) {
    let Entry { key: Kind { status, code, diagnosis }, count, details: last } = entry;
    let hint = diagnosis.hints.join("; ");
    let mut fields: Vec<(&str, &dyn Value)> = vec![("status", status)];
    fields.extend(code.iter().map(|code| ("code", code as &dyn Value)));
    fields.extend::<[(&str, &dyn Value); 4]>([
        ("meaning", &diagnosis.meaning),
        ("hint", &hint),
        ("count", count),
        ("path", &last.path),
    ]);
    fields.extend(last.request_id.iter().map(|id| ("apim_request_id", id as &dyn Value)));
    log::warn("the upstream responds with errors", &fields);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(status: u16, fields: &[(&str, &str)], pieces: &[&[u8]]) -> Option<ErrorBody> {
        let mut headers = Fields::default();
        fields.iter().for_each(|(name, value)| headers.push(name, value.as_bytes()));
        let mut body = ErrorBody::of(StatusCode::from_u16(status).unwrap(), &headers)?;
        pieces.iter().for_each(|piece| body.push(piece));
        Some(body)
    }

    #[test]
    fn codes_without_end_do_not_keep_others_from_being_logged() {
        let log = UpstreamErrorLog::new(None);
        let json = &[("content-type", "application/json")][..];
        let record = |status: u16, code: &str| {
            let error = format!(r#"{{"error":{{"code":"{code}"}}}}"#);
            log.record(&body(status, json, &[error.as_bytes()]).unwrap(), "/x", None)
        };
        for number in 0..1000 {
            let (_, code) = record(403, &format!("Code{number}")).unwrap();
            assert_eq!(code, Some(format!("Code{number}")), "the request's own line has it");
        }
        assert_eq!(log.digest.count(|kind| kind.status == 403), MAX_CODES + 1);
        record(401, "PermissionDenied");
        assert_eq!(log.digest.count(|kind| kind.status == 401), 1);
    }

    #[test]
    fn the_code_is_read_from_small_json_however_it_arrives() {
        let log = UpstreamErrorLog::new(None);
        let error = br#"{"error":{"code":"DeploymentNotFound","message":"s3cr3t"}}"#;
        let json = &[("Content-Type", "application/json; charset=utf-8")][..];
        let problem = &[("content-type", "application/problem+json")][..];
        let gzip = &[("content-type", "application/json"), ("content-encoding", "gzip")][..];
        let html = &[("content-type", "text/html")][..];
        let single: Vec<&[u8]> = error.chunks(1).collect();
        let large = vec![b' '; MAX_BODY];
        for (expected, fields, pieces) in [
            (Some("DeploymentNotFound"), json, vec![&error[..]]),
            (Some("DeploymentNotFound"), problem, single),
            (None, gzip, vec![&error[..]]),
            (None, html, vec![&error[..]]),
            (None, &[], vec![&error[..]]),
            (None, json, vec![&error[..], &large]),
            (None, json, vec![&error[..error.len() - 1]]),
            (None, json, vec![]),
        ] {
            let body = body(404, fields, &pieces).unwrap();
            let (_, code) = log.record(&body, "/x", None).unwrap();
            assert_eq!(code.as_deref(), expected, "{fields:?}");
        }
        for status in [200, 204, 302, 400, 409, 413] {
            assert!(body(status, json, &[]).is_none(), "{status}");
        }
    }
}

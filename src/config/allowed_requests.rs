//! `ALLOWED_REQUESTS`: patterns of the requests that may be forwarded. `proxy/allowed_requests.rs` compares.

use http::Method;

use super::BaseUrl;
use super::effective::{Shown, ValueSource};
use super::env::Env;
use super::value::Parsed;
use crate::http1::path;
use crate::report::{Problem, quote, quote_word, secret_kind, visible};

const NAME: &str = "ALLOWED_REQUESTS";

const STANDARD_METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// A request that matches one of these may be forwarded.
#[derive(Debug)]
pub(crate) struct AllowedRequests(pub(crate) Vec<RequestPattern>);

/// As it was understood.
impl Shown for RequestPattern {
    fn shown(&self) -> String {
        let method = self.method.as_ref().map_or("*", Method::as_str);
        let path = match &self.target {
            TargetPattern::Asterisk => "*",
            TargetPattern::Path(path) => path,
        };
        format!("{method} {}", visible(path))
    }
}

/// `METHOD PATH`.
#[derive(Debug)]
pub(crate) struct RequestPattern {
    /// None is any method.
    pub(crate) method: Option<Method>,
    pub(crate) target: TargetPattern,
}

#[derive(Debug)]
pub(crate) enum TargetPattern {
    /// The target of `OPTIONS *`.
    Asterisk,
    /// A path in normal form. In it `*` stands for what a segment has there, at the end for any rest.
    Path(String),
}

impl AllowedRequests {
    /// None if everything is allowed.
    pub(super) fn read(env: &mut Env<'_>) -> Option<Self> {
        let value = env
            .not_blank(NAME, "list what may be requested; unset it or leave it empty to allow everything")?;
        // As a whole: a part of a key does not look like one.
        if let Some(kind) = secret_kind(&value) {
            env.problem(
                Problem::new(format!("{NAME} holds {kind}, not requests")).hint(
                    "write entries such as `POST /openai/v1/*`; the value may belong to another variable",
                ),
            );
            return None;
        }
        let entries: Vec<&str> =
            value.split([',', '\n', '\r']).map(str::trim).filter(|entry| !entry.is_empty()).collect();
        if entries.is_empty() {
            env.problem(
                Problem::new(format!("{NAME} has no entry"))
                    .hint("write entries such as `POST /openai/v1/*`, or unset it to allow everything"),
            );
        }
        let patterns = entries.into_iter().filter_map(|entry| env.parse(NAME, entry, pattern));
        let allowed = Self(patterns.collect());
        env.record(NAME, allowed.0.shown(), ValueSource::Environment);
        Some(allowed)
    }

    /// Adds what is odd about it with this upstream: paths are compared as they are sent.
    pub(super) fn check_base_path(&self, base_url: &BaseUrl, env: &mut Env<'_>) {
        let base = &base_url.base_path;
        if base.is_empty() {
            return;
        }
        let base = match path::plain(base) {
            Ok(base) => format!("{base}/"),
            Err(why) => {
                return env.problem(
                    Problem::new(format!("{NAME} cannot be used: the path of API_BASE_URL has {why}"))
                        .hint("write the path of API_BASE_URL plainly, or leave it out"),
                );
            }
        };
        for pattern in &self.0 {
            let TargetPattern::Path(path) = &pattern.target else { continue };
            let (start, has_wildcard) =
                path.split_once('*').map_or((&**path, false), |(start, _)| (start, true));
            if !(start.starts_with(&base) || has_wildcard && base.starts_with(start)) {
                env.note(
                    Problem::new(format!("{NAME} has a path that no request can have: {}", quote(path)))
                        .hint(format!("begin it with the path of API_BASE_URL: {}", quote(&base))),
                );
            }
        }
    }
}

fn pattern(entry: &str) -> Parsed<RequestPattern> {
    let words: Vec<&str> = entry.split_whitespace().collect();
    let [method, path] = words[..] else {
        return Err(Problem::new(format!("has an entry that is not a method and a path: {}", quote(entry)))
            .hint("write entries such as `POST /openai/v1/*`, separated by commas; `*` is any method"));
    };
    let method = parse_method(method)?;
    Ok(RequestPattern { target: parse_target(method.as_ref(), path)?, method })
}

/// "The method token is case-sensitive" (RFC 9110 section 9.1).
fn parse_method(word: &str) -> Parsed<Option<Method>> {
    if word == "*" {
        return Ok(None);
    }
    if let Some(method) = STANDARD_METHODS.iter().find(|method| method.as_str().eq_ignore_ascii_case(word)) {
        return if method.as_str() == word {
            Ok(Some(method.clone()))
        } else {
            Err(Problem::new(format!("has a method that is not in capitals: {}", quote_word(word)))
                .hint(format!("write {method}: methods are case-sensitive")))
        };
    }
    if [Method::CONNECT, Method::TRACE].iter().any(|method| method.as_str().eq_ignore_ascii_case(word)) {
        return Err(Problem::new(format!("has a method that is never forwarded: {}", quote_word(word)))
            .hint("remove that entry: CONNECT and TRACE get 501"));
    }
    Method::from_bytes(word.as_bytes()).map(Some).map_err(|_| {
        Problem::new(format!("has an entry that does not begin with a method: {}", quote_word(word)))
            .hint("write entries such as `POST /openai/v1/*`, without quotes; `*` is any method")
    })
}

fn parse_target(method: Option<&Method>, path: &str) -> Parsed<TargetPattern> {
    if path == "*" {
        return if method == Some(&Method::OPTIONS) {
            Ok(TargetPattern::Asterisk)
        } else {
            Err(Problem::new("has `*` in place of a path").hint("write `/*` for every path"))
        };
    }
    // Neither is quoted: what follows may be private.
    for (mark, what) in [('?', "query"), ('#', "fragment")] {
        if path.contains(mark) {
            return Err(Problem::new(format!("has a path with a {what}"))
                .hint(format!("remove the `{mark}` and what follows it: only paths are compared")));
        }
    }
    if !path.starts_with('/') {
        return Err(Problem::new(format!("has a path that does not begin with a slash: {}", quote(path)))
            .hint("write the path that the upstream receives, such as /openai/v1/*"));
    }
    if path.contains("**") {
        return Err(Problem::new(format!("has `**` in a path: {}", quote(path)))
            .hint("write one `*`: at the end it stands for any rest, elsewhere for one segment"));
    }
    path::plain(path).map(TargetPattern::Path).map_err(|why| {
        Problem::new(format!("has a path with {why}: {}", quote(path)))
            .hint("write it plainly: paths are compared after dot segments and escapes are resolved")
    })
}

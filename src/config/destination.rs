//! `API_BASE_URL`: the one origin that the token may go to.

use http::uri::{Authority, Scheme};

/// The destination's origin and base path, parsed from `API_BASE_URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// `https`, or `http` where that is allowed.
    pub scheme: Scheme,
    /// Host and, unless it is the scheme's default, port; never userinfo.
    pub authority: Authority,
    /// The path in front of every request's path: empty, or `/` and at least one segment, without a trailing slash.
    pub base_path: String,
}

//! Which build this is. Nothing here depends on when or where it was built.

use std::env::consts::{ARCH, OS};

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, when the build was given it (`AUTH_PROXY_COMMIT`, as `make build` does).
pub(crate) const COMMIT: Option<&str> = match option_env!("AUTH_PROXY_COMMIT") {
    Some(commit) if commit.is_empty() => None,
    commit => commit,
};

pub(crate) const SERVER: &str = if cfg!(feature = "tiny_http") { "tiny_http" } else { "built-in" };

/// The target triple, from what the compiler provides: no build script is needed for it.
pub(crate) fn target() -> String {
    let environment = if cfg!(target_env = "musl") {
        "-musl"
    } else if cfg!(target_env = "gnu") {
        "-gnu"
    } else {
        ""
    };
    format!("{ARCH}-unknown-{OS}{environment}")
}

/// What `--version` prints after the program's name.
pub(crate) fn describe() -> String {
    let commit = COMMIT.map(|commit| format!(", commit {commit}")).unwrap_or_default();
    let server = if cfg!(feature = "tiny_http") { ", server tiny_http" } else { "" };
    format!("{VERSION} ({}{commit}{server})", target())
}

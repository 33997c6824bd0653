//! A file that cannot be read: why, in the terms of containers and volumes, and what to do about it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::net;
use crate::report::{Problem, shell_quoted};

/// `stat`, `open` or `read` failed.
pub(crate) fn not_opened(what: &str, path: &Path, error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::NotFound => not_found(what, path),
        io::ErrorKind::PermissionDenied => denied(what, path),
        _ => Problem::new(format!("{what} {} cannot be read: {error}", path.display())).hint(
            net::exhausted(error).unwrap_or(
                "check the file from inside the container or pod: is its volume mounted and intact?",
            ),
        ),
    }
}

/// The path exists, but is not a regular file.
pub(super) fn not_a_file(what: &str, path: &Path, is_directory: bool) -> Problem {
    let name = path.display();
    if !is_directory {
        return Problem::new(format!("{what} {name} is not a regular file"))
            .hint("it is read for every token, so a pipe or a device cannot be used");
    }
    let problem = Problem::new(format!("{what} {name} is a directory"));
    let files: Vec<_> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_file() && !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| entry.path().display().to_string())
        .take(5)
        .collect();
    if files.is_empty() {
        problem.hint(
            "docker makes an empty directory when the host's side of -v does not exist: check it on the host",
        )
    } else {
        problem
            .hint(format!("name the file in it: {}", files.join(", ")))
            .hint("of a certificate, a directory may be named that holds tls.crt and tls.key (a kubernetes.io/tls Secret)")
    }
}

pub(super) fn too_large(what: &str, path: &Path, limit: u64) -> Problem {
    Problem::new(format!("{what} {} is larger than {} KiB", path.display(), limit / 1024))
        .hint("this is the wrong file; check its contents and the path")
}

fn not_found(what: &str, path: &Path) -> Problem {
    let name = path.display();
    if let Ok(target) = fs::read_link(path) {
        return Problem::new(format!(
            "{what} {name} is a symbolic link to {}, which does not exist",
            target.display()
        ))
        .hint("mount the target as well, or the directory that holds both");
    }
    let problem = Problem::new(format!("{what} {name} does not exist"));
    let missing = path.ancestors().skip(1).filter(|parent| is_missing(parent)).last();
    let problem = match missing {
        Some(parent) => problem
            .hint(format!("not even {} exists: is the volume mounted, and at that path?", parent.display())),
        None => problem
            .hint("check the path as the container sees it; in a Secret's volume a key is the file's name"),
    };
    match std::env::current_dir() {
        Ok(here) if path.is_relative() => {
            problem.hint(format!("a relative path starts from {}; give an absolute one", here.display()))
        }
        _ => problem,
    }
}

fn is_missing(path: &Path) -> bool {
    !path.as_os_str().is_empty()
        && fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn denied(what: &str, path: &Path) -> Problem {
    let ids =
        ProcessIds { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    // The file itself if `stat` succeeds, or else the directory that denies access.
    let closed = match fs::metadata(path) {
        Ok(_) => path.to_owned(),
        Err(_) => closed_directory(path),
    };
    let denied = fs::metadata(&closed).ok().map(|metadata| DeniedPath {
        path: closed,
        is_directory: metadata.is_dir(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    });
    unreadable(what, path, &ids, denied.as_ref())
}

/// The lowest directory on the path whose metadata is readable: it is the one that denies access.
fn closed_directory(path: &Path) -> PathBuf {
    let visible = path.ancestors().skip(1).find(|parent| fs::metadata(parent).is_ok());
    visible.unwrap_or(path).to_owned()
}

/// Our ids, as the file system sees them.
struct ProcessIds {
    uid: u32,
    gid: u32,
}

/// The file or directory that denies access.
struct DeniedPath {
    path: PathBuf,
    is_directory: bool,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl DeniedPath {
    /// Whether mode and owner would grant access: then something else denies it.
    fn grants_access(&self, ids: &ProcessIds) -> bool {
        let bit = if self.is_directory { 0o1 } else { 0o4 };
        let shift = if ids.uid == self.uid {
            6
        } else if ids.gid == self.gid {
            3
        } else {
            0
        };
        ids.uid == 0 || self.mode & (bit << shift) != 0
    }
}

fn unreadable(what: &str, path: &Path, ids: &ProcessIds, denied: Option<&DeniedPath>) -> Problem {
    let (name, uid) = (path.display(), ids.uid);
    let Some(denied) = denied else {
        return Problem::new(format!("{what} {name} is unreadable for this user (uid {uid})"))
            .hint(format!("see the permissions along the path: namei -l {}", shell_quoted(path)));
    };
    let DeniedPath { mode, uid: owner, gid: group, .. } = *denied;
    let reason = if denied.is_directory {
        format!("directory {} has mode {mode:04o} and owner uid {owner}", denied.path.display())
    } else {
        format!("it has mode {mode:04o} and owner uid {owner}")
    };
    let problem = Problem::new(format!(
        "{what} {name} is unreadable for this user: {reason}, this process has uid {uid}"
    ));
    if denied.grants_access(ids) {
        return problem.hint(
            "mode and owner would allow it: SELinux or AppArmor may not; docker: -v HOST:CONTAINER:ro,z",
        );
    }
    let (change, it, allowed) =
        if denied.is_directory { ("x", "the directory", "enter") } else { ("r", "the file", "read") };
    let target = shell_quoted(&denied.path);
    if owner == uid {
        return problem.hint(format!("this user owns it: chmod u+{change} {target}"));
    }
    problem
        .hint(match owner {
            // Running as root to read a file is no advice.
            0 => format!("docker: on the host, chown {uid} {it}, or --user with a uid that may {allowed} it"),
            _ => format!("docker: run with --user {owner}:{group}, which owns it"),
        })
        .hint("kubernetes: securityContext.fsGroup on the pod, and defaultMode 0440 on the secret's volume")
        .hint(format!("elsewhere: chgrp {} {target} && chmod g+{change} {target}", ids.gid))
}

#[cfg(test)]
mod tests;

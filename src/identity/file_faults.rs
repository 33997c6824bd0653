//! A file that cannot be read: why, in the words of containers and volumes, and what to do about it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::file::quoted;
use crate::report::Problem;

/// `stat`, `open` or `read` failed.
pub(super) fn not_opened(what: &str, path: &Path, error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::NotFound => not_found(what, path),
        io::ErrorKind::PermissionDenied => denied(what, path),
        _ => Problem::new(format!("{what} {} cannot be read: {error}", path.display()))
            .hint("look at the file from inside the container or pod; is its volume mounted and sound?"),
    }
}

/// There is something, but it cannot be read like a file.
pub(super) fn not_a_file(what: &str, path: &Path, is_directory: bool) -> Problem {
    let name = path.display();
    if !is_directory {
        return Problem::new(format!("{what} {name} is not a regular file"))
            .hint("it is read again for every token, so that a pipe or a device does not do");
    }
    let problem = Problem::new(format!("{what} {name} is a directory"));
    let files: Vec<_> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.path().display().to_string())
        .take(5)
        .collect();
    if files.is_empty() {
        problem.hint(
            "docker makes an empty directory when the host's side of -v does not exist: check it on the host",
        )
    } else {
        problem.hint(format!("name the file in it: {}", files.join(", ")))
    }
}

pub(super) fn too_big(what: &str, path: &Path, limit: u64) -> Problem {
    Problem::new(format!("{what} {} is larger than {} KiB", path.display(), limit / 1024))
        .hint("this is not the file that is meant; look at it, and at the path")
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
        None => {
            problem.hint("check the path as the container sees it: the key of the secret is the file's name")
        }
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
    let us = Us { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    // The file itself when it can be looked at, or else the directory that may not be passed through.
    let closed = match fs::metadata(path) {
        Ok(_) => path.to_owned(),
        Err(_) => closed_directory(path),
    };
    let barrier = fs::metadata(&closed).ok().map(|metadata| Barrier {
        path: closed,
        is_directory: metadata.is_dir(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    });
    unreadable(what, path, &us, barrier.as_ref())
}

/// The lowest directory on the way that can still be looked at: it is the one that lets nobody through.
fn closed_directory(path: &Path) -> PathBuf {
    let visible = path.ancestors().skip(1).find(|parent| fs::metadata(parent).is_ok());
    visible.unwrap_or(path).to_owned()
}

/// Who we are to the file system.
struct Us {
    uid: u32,
    gid: u32,
}

/// What keeps us out.
struct Barrier {
    path: PathBuf,
    is_directory: bool,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Barrier {
    /// Whether mode and owner would let us in: then something else does not.
    fn lets_in(&self, us: &Us) -> bool {
        let bit = if self.is_directory { 0o1 } else { 0o4 };
        let shift = if us.uid == self.uid {
            6
        } else if us.gid == self.gid {
            3
        } else {
            0
        };
        us.uid == 0 || self.mode & (bit << shift) != 0
    }
}

fn unreadable(what: &str, path: &Path, us: &Us, barrier: Option<&Barrier>) -> Problem {
    let (name, uid) = (path.display(), us.uid);
    let Some(barrier) = barrier else {
        return Problem::new(format!("{what} {name} is unreadable for this user (uid {uid})"))
            .hint(format!("see every step of the way: namei -l {}", quoted(path)));
    };
    let Barrier { mode, uid: owner, gid: group, .. } = *barrier;
    let culprit = if barrier.is_directory {
        format!("directory {} has mode {mode:04o} and owner uid {owner}", barrier.path.display())
    } else {
        format!("it has mode {mode:04o} and owner uid {owner}")
    };
    let problem =
        Problem::new(format!("{what} {name} is unreadable for this user: {culprit}, we are uid {uid}"));
    if barrier.lets_in(us) {
        return problem.hint(
            "mode and owner would allow it: SELinux or AppArmor may not; docker: -v HOST:CONTAINER:ro,z",
        );
    }
    let change = if barrier.is_directory { "x" } else { "r" };
    let target = quoted(&barrier.path);
    problem
        .hint(match owner {
            // Running as root to read a file is no advice.
            0 => format!("docker: on the host, chown {uid} the file, or --user with a uid that may read it"),
            _ => format!("docker: run with --user {owner}:{group}, which owns it"),
        })
        .hint("kubernetes: securityContext.fsGroup on the pod, and defaultMode 0440 on the secret's volume")
        .hint(format!("elsewhere: chgrp {} {target} && chmod g+{change} {target}", us.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(barrier: &Barrier) -> Problem {
        unreadable(
            "certificate file",
            Path::new("/certs/id.pem"),
            &Us { uid: 65532, gid: 65532 },
            Some(barrier),
        )
    }

    fn barrier(mode: u32, uid: u32) -> Barrier {
        Barrier { path: "/certs/id.pem".into(), is_directory: false, mode, uid, gid: 1000 }
    }

    #[test]
    fn a_file_of_another_user_names_mode_owner_and_us() {
        let problem = told(&barrier(0o600, 1000));
        assert_eq!(
            problem.message,
            "certificate file /certs/id.pem is unreadable for this user: it has mode 0600 and owner uid 1000, we are uid 65532"
        );
        assert_eq!(problem.hints[0], "docker: run with --user 1000:1000, which owns it");
        assert!(problem.hints[1].contains("fsGroup"), "{problem}");
        assert!(problem.hints[2].ends_with("chmod g+r /certs/id.pem"), "{problem}");
    }

    #[test]
    fn a_file_of_root_does_not_make_us_root() {
        let problem = told(&barrier(0o400, 0));
        assert!(problem.hints[0].contains("chown 65532"), "{problem}");
        assert!(!problem.to_string().contains("--user 0"), "{problem}");
    }

    #[test]
    fn a_closed_directory_is_named() {
        let directory = Barrier { path: "/certs".into(), is_directory: true, mode: 0o700, uid: 0, gid: 0 };
        let problem = told(&directory);
        assert!(problem.message.contains("directory /certs has mode 0700 and owner uid 0"), "{problem}");
        assert!(problem.hints[2].ends_with("chmod g+x /certs"), "{problem}");
    }

    #[test]
    fn a_mode_that_allows_it_points_to_selinux() {
        let problem = told(&barrier(0o644, 0));
        assert_eq!(problem.hints.len(), 1);
        assert!(problem.hints[0].contains("SELinux"), "{problem}");
    }

    /// The child's part of the next test: loads the file as another user.
    #[test]
    fn unreadable_child() {
        if let Some(path) = std::env::var_os("AUTH_PROXY_TEST_UNREADABLE") {
            println!("{}", crate::identity::load(Path::new(&path), 0).unwrap_err());
        }
    }

    /// Root reads everything: as root, this test runs itself again as somebody else.
    #[test]
    fn a_private_file_of_another_user_is_explained() {
        use std::os::unix::fs::PermissionsExt as _;
        use std::os::unix::process::CommandExt as _;

        let directory = crate::identity::pems::scratch("unreadable");
        let inner = directory.join("certs");
        fs::create_dir(&inner).unwrap();
        let path = inner.join("id.pem");
        fs::write(&path, "secret").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let told = || {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "identity::file_faults::tests::unreadable_child", "--nocapture"]);
            child.env("AUTH_PROXY_TEST_UNREADABLE", &path);
            if rustix::process::geteuid().is_root() {
                child.uid(65534).gid(65534);
            }
            // A build directory that only root may enter ends the test here.
            child.output().ok().map(|out| String::from_utf8(out.stdout).unwrap())
        };
        mode(&directory, 0o755);
        mode(&inner, 0o755);
        mode(&path, 0o000);
        let Some(file) = told() else { return };
        let owner = rustix::process::geteuid().as_raw();
        assert!(file.contains(&format!("it has mode 0000 and owner uid {owner}, we are uid ")), "{file}");
        mode(&inner, 0o600);
        let directory_closed = told().unwrap();
        assert!(directory_closed.contains("certs has mode 0600 and owner uid"), "{directory_closed}");
        mode(&inner, 0o700);
        fs::remove_dir_all(directory).unwrap();
    }
}

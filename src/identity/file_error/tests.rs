//! Files that cannot be read, made for the purpose, and what is said about them.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::*;
use crate::identity::load;
use crate::identity::pems;

/// These files are refused before any date is looked at.
const NOW: u64 = 0;

fn problem_of(denied: &DeniedPath) -> Problem {
    unreadable(
        "certificate file",
        Path::new("/certs/id.pem"),
        &ProcessIds { uid: 65532, gid: 65532 },
        Some(denied),
    )
}

fn denied(mode: u32, uid: u32) -> DeniedPath {
    DeniedPath { path: "/certs/id.pem".into(), is_directory: false, mode, uid, gid: 1000 }
}

#[test]
fn a_file_of_another_user_names_mode_owner_and_us() {
    let problem = problem_of(&denied(0o600, 1000));
    assert_eq!(
        problem.message,
        "certificate file /certs/id.pem is unreadable for this user: it has mode 0600 and owner uid 1000, this process has uid 65532"
    );
    assert_eq!(problem.hints[0], "docker: run with --user 1000:1000, which owns it");
    assert!(problem.hints[1].contains("fsGroup"), "{problem}");
    assert!(problem.hints[2].ends_with("chmod g+r /certs/id.pem"), "{problem}");
}

#[test]
fn a_fault_of_the_system_is_not_one_of_the_file() {
    for (errno, hint) in [
        (rustix::io::Errno::MFILE, "ulimit -n"),
        (rustix::io::Errno::NFILE, "fs.file-max"),
        (rustix::io::Errno::IO, "volume"),
    ] {
        let problem = not_opened("certificate file", Path::new("/certs/id.pem"), &errno.into());
        assert!(problem.hints[0].contains(hint), "{problem}");
    }
}

#[test]
fn a_file_of_root_does_not_make_us_root() {
    let problem = problem_of(&denied(0o400, 0));
    assert!(problem.hints[0].contains("chown 65532"), "{problem}");
    assert!(!problem.to_string().contains("--user 0"), "{problem}");
}

#[test]
fn our_own_file_only_wants_its_mode_back() {
    let problem = problem_of(&denied(0o000, 65532));
    assert_eq!(problem.hints, ["this user owns it: chmod u+r /certs/id.pem"]);
}

#[test]
fn a_closed_directory_is_named() {
    let directory = DeniedPath { path: "/certs".into(), is_directory: true, mode: 0o700, uid: 0, gid: 0 };
    let problem = problem_of(&directory);
    assert!(problem.message.contains("directory /certs has mode 0700 and owner uid 0"), "{problem}");
    assert_eq!(
        problem.hints[0],
        "docker: on the host, chown 65532 the directory, or --user with a uid that may enter it"
    );
    assert!(problem.hints[2].ends_with("chmod g+x /certs"), "{problem}");
}

#[test]
fn a_mode_that_allows_it_points_to_selinux() {
    let problem = problem_of(&denied(0o644, 0));
    assert_eq!(problem.hints.len(), 1);
    assert!(problem.hints[0].contains("SELinux"), "{problem}");
}

/// The child's part of the next test: loads the file as another user.
#[test]
fn unreadable_child() {
    if let Some(path) = std::env::var_os("AUTH_PROXY_TEST_UNREADABLE") {
        println!("{}", load(Path::new(&path), 0).unwrap_err());
    }
}

/// Root reads everything: as root, this test runs itself again as another user.
#[test]
fn a_private_file_of_another_user_is_explained() {
    let directory = pems::scratch("unreadable");
    let inner = directory.join("certs");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("id.pem");
    fs::write(&path, "secret").unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let try_to_read = || {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let (_, module) = module_path!().split_once("::").unwrap();
        child.args(["--exact", &format!("{module}::unreadable_child"), "--nocapture"]);
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
    let Some(file) = try_to_read() else {
        fs::remove_dir_all(directory).unwrap();
        return;
    };
    let owner = rustix::process::geteuid().as_raw();
    assert!(
        file.contains(&format!("it has mode 0000 and owner uid {owner}, this process has uid ")),
        "{file}"
    );
    mode(&inner, 0o600);
    let directory_closed = try_to_read().unwrap();
    assert!(directory_closed.contains("certs has mode 0600 and owner uid"), "{directory_closed}");
    mode(&inner, 0o700);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_path_that_leads_nowhere_says_why() {
    let directory = pems::scratch("nowhere");
    let gone = directory.join("gone/deeper/id.pem");
    let problem = load(&gone, NOW).unwrap_err();
    assert_eq!(problem.message, format!("certificate file {} does not exist", gone.display()));
    assert!(
        problem.hints[0].starts_with(&format!("not even {} exists", directory.join("gone").display())),
        "{problem}"
    );

    let problem = load(&directory.join("id.pem"), NOW).unwrap_err();
    assert!(problem.hints[0].starts_with("check the path"), "{problem}");
    let problem = load(Path::new("no-such.pem"), NOW).unwrap_err();
    assert!(problem.hints[1].contains("a relative path starts from /"), "{problem}");

    let link = directory.join("link.pem");
    symlink("..data/id.pem", &link).unwrap();
    let problem = load(&link, NOW).unwrap_err();
    assert!(
        problem.message.ends_with("is a symbolic link to ..data/id.pem, which does not exist"),
        "{problem}"
    );
    assert!(!problem.hints.is_empty());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_is_no_file_is_not_read() {
    let directory = pems::scratch("no file");
    let problem = load(&directory, NOW).unwrap_err();
    assert_eq!(problem.message, format!("certificate file {} is a directory", directory.display()));
    assert!(problem.hints[0].contains("docker makes an empty directory"), "{problem}");
    fs::write(directory.join("tls.pem"), "").unwrap();
    let problem = load(&directory, NOW).unwrap_err();
    assert!(
        problem.hints[0].ends_with("no file/tls.pem") || problem.hints[0].contains("tls.pem"),
        "{problem}"
    );

    // Would wait for a writer for ever if it were opened.
    let pipe = directory.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let problem = load(&pipe, NOW).unwrap_err();
    assert!(problem.message.ends_with("is not a regular file"), "{problem}");
    assert!(!problem.hints.is_empty());

    let big = directory.join("big.pem");
    fs::write(&big, vec![b'\n'; 1024 * 1024 + 1]).unwrap();
    let problem = load(&big, NOW).unwrap_err();
    assert!(problem.message.ends_with("is larger than 1024 KiB"), "{problem}");
    assert!(!problem.hints.is_empty());
    fs::write(&big, vec![b'\n'; 1024 * 1024]).unwrap();
    assert!(load(&big, NOW).unwrap_err().message.ends_with("is empty"));
    fs::remove_dir_all(directory).unwrap();
}

//! The certificate files that `make.sh` makes, for unit and integration tests alike.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of one of the files.
pub(crate) fn pem(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(path.is_file(), "tests/data/make.sh makes no {name}");
    path
}

/// Where the files are: beside the test programs, made by the first one that asks. All dates in them are fixed, so
/// that they can be kept until `make.sh` changes.
pub(crate) fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/make.sh");
        let mut version = DefaultHasher::new();
        fs::read(script).expect("tests/data/make.sh is in the repository").hash(&mut version);
        let us = std::env::current_exe().expect("a test knows its program");
        let beside = us.parent().expect("a program is in a directory");
        let directory = beside.join(format!("pems-{:016x}", version.finish()));
        if !directory.is_dir() {
            // Under another name first: test programs run at the same time, and none must see half of it.
            let draft = beside.join(format!("pems-draft-{}", std::process::id()));
            let made = Command::new("sh").arg(script).arg(&draft).status().expect("there is a shell");
            assert!(made.success(), "tests/data/make.sh failed; it needs the openssl command line");
            if fs::rename(&draft, &directory).is_err() {
                // Another program was first.
                fs::remove_dir_all(&draft).expect("the draft is ours");
            }
        }
        directory
    })
}

/// A new empty directory for one test, which removes it when it is content.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let scratch = std::env::temp_dir().join(format!("auth-proxy {} {name}", std::process::id()));
    fs::create_dir(&scratch).expect("nobody else has this name");
    scratch
}

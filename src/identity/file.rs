//! Reads a small file that may be replaced while we run, and detects when it is.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::file_error;
use crate::files::{self, Stamp};
use crate::report::Problem;

/// A file that is read whole, repeatedly.
pub(super) struct WatchedFile {
    /// What the file is to a person, such as `certificate file`.
    what: &'static str,
    path: PathBuf,
    limit: u64,
    /// Its stamp just before the last attempt to read it; none when even `stat` failed.
    seen: Option<Stamp>,
    /// SHA-256 of what was read, and none when that failed.
    digest: Option<[u8; 32]>,
    /// The file was written so shortly before it was read that a later write may have the same stamp.
    is_racy: bool,
}

impl WatchedFile {
    pub(super) fn new(what: &'static str, path: &Path, limit: u64) -> Self {
        Self { what, path: path.to_owned(), limit, seen: None, digest: None, is_racy: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of what was read last, and none when that failed.
    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        self.digest
    }

    /// The whole content now.
    pub(super) fn read(&mut self) -> Result<Zeroizing<Vec<u8>>, Problem> {
        // The stamp is taken before the file is opened: a write in between shows as a change later, never the other way
        // round.
        self.seen = Stamp::of(&self.path);
        self.is_racy = self.seen.is_some_and(Stamp::is_racy);
        let content = read(self.what, &self.path, self.limit);
        self.digest = content.as_ref().ok().map(|content| digest(content));
        content
    }

    /// Whether another read may give something else than the last one. Costs one `stat`.
    pub(super) fn changed(&mut self) -> bool {
        let now = Stamp::of(&self.path);
        if now != self.seen {
            return true;
        }
        if self.is_racy && !now.is_some_and(Stamp::is_racy) {
            // The tick is over: read once more. What is there now cannot change without a new stamp.
            self.is_racy = false;
            let content = read(self.what, &self.path, self.limit);
            return content.ok().map(|content| digest(&content)) != self.digest;
        }
        false
    }
}

/// The whole content of a regular file of at most `limit` bytes, in a buffer that is wiped.
pub(super) fn read(what: &str, path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let failed = |error: io::Error| file_error::not_opened(what, path, &error);
    // The opened file is what is checked, whatever replaces it meanwhile.
    let file = files::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(file_error::not_a_file(what, path, metadata.is_dir()));
    }
    files::read_bounded(file, limit).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => file_error::too_large(what, path, limit),
        _ => failed(error),
    })
}

fn digest(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;
    use crate::files::TICK;
    use crate::identity::pems;

    /// On kernels with fine time stamps (6.13) no second write gets the same stamp, so that the case is constructed: what
    /// was read differs from what is there, under the same stamp.
    #[test]
    fn a_write_hidden_by_the_clocks_tick_shows_when_the_file_is_older() {
        let directory = pems::scratch("tick of the clock");
        let path = directory.join("file");
        fs::write(&path, "second").unwrap();
        let mut watched = WatchedFile::new("file", &path, 100);
        watched.read().unwrap();
        watched.digest = Some(digest(b"first!"));
        let deadline = Instant::now() + 10 * TICK;
        while !watched.changed() {
            assert!(Instant::now() < deadline, "the second write was never noticed");
            std::thread::yield_now();
        }
        watched.read().unwrap();
        assert!(!watched.changed());
        fs::remove_dir_all(directory).unwrap();
    }
}

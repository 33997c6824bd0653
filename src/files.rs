//! Files that other programs may replace while we run, of any size.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// The kernel stamps files with a clock that ticks every few milliseconds: two writes within one tick get the same stamp. A
/// file that was written less than this ago may be written again without a new stamp.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// What `stat` says about a file that changes when its content does, symbolic links followed: it sees a write in place,
/// a file moved over the old one, and kubelet's swap of `..data` alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Also moves when owner or mode do, which may make the file readable.
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp now; none when it cannot be had.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// The file was written so shortly ago that another write may get the same stamp. Both clocks are the kernel's; a
    /// test's clock has no part in this.
    pub(crate) fn is_racy(self) -> bool {
        let seconds = u64::try_from(self.changed.0).unwrap_or_default();
        let nanos = u32::try_from(self.changed.1).unwrap_or_default();
        SystemTime::now() < UNIX_EPOCH + Duration::new(seconds, nanos) + TICK
    }
}

/// What is known of a watched file, unless somebody else is looking at it: that one does it for all, so that a file system
/// which hangs holds up nobody else.
pub(crate) fn try_lock<T>(state: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match state.try_lock() {
        Ok(state) => Some(state),
        // A panic must not end the looking.
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Opens a file for reading. Opening a pipe does not wait for its writer.
///
/// # Errors
///
/// As `open(2)`.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::empty())
}

/// As [`open`], for a path whose last part must not be a symbolic link.
///
/// # Errors
///
/// As `open(2)`.
pub(crate) fn open_no_follow(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::NOFOLLOW)
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(flags).bits().cast_signed();
    File::options().read(true).custom_flags(flags).open(path)
}

/// The whole content of a file, in a buffer that is wiped.
///
/// # Errors
///
/// As `read(2)`, and [`ErrorKind::FileTooLarge`] when it has more than `limit` bytes.
pub(crate) fn read_bounded(file: File, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // Capacity for everything at once: growing would leave copies of a key. The length of a pipe is 0, and a file may grow.
    let room = file.metadata()?.len().min(limit) + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or_default()));
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

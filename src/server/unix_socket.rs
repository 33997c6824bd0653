//! A Unix socket bound to a path: who may connect, and what becomes of the file that it leaves.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Type};

use crate::net::Socket;

/// Our user and our group may connect, which takes the right to write (unix(7)).
const MODE: u32 = 0o660;
/// How long another instance is waited for that binds a socket in the same directory.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(1);

/// The file of a socket, removed with this value unless another has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path).map(|file| device_and_inode(&file));
        if found.is_ok_and(|found| found == self.device_and_inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn device_and_inode(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Listens on this path. A socket that nobody listens on any more, as one that was killed leaves it, is replaced.
///
/// # Errors
///
/// `AddrInUse` when another program listens there, `AlreadyExists` when something else than a socket is there, else the
/// system's.
pub(super) fn bind(path: &Path, backlog: i32) -> io::Result<(Socket, SocketFile)> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Until the socket listens: before that it refuses connections like one that nobody listens on.
    let _lock = lock_directory(path);
    if let Err(error) = socket.bind(&address) {
        if error.kind() != ErrorKind::AddrInUse {
            return Err(error);
        }
        remove_stale(path, &address)?;
        socket.bind(&address)?;
    }
    let device_and_inode = device_and_inode(&fs::symlink_metadata(path)?);
    let file = SocketFile { path: path.to_owned(), device_and_inode };
    // Nobody can connect before listen(2), so that the mode that the umask gave it lets nobody in.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok((socket, file))
}

/// Two instances that start at once must not take each other's socket for a stale one. Whoever may read the directory can
/// keep this lock, so that it is not insisted on.
fn lock_directory(path: &Path) -> Option<File> {
    let directory = File::open(path.parent()?).ok()?;
    let deadline = Instant::now() + MAX_LOCK_WAIT;
    while directory.try_lock().is_err() {
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(directory)
}

/// Removes the socket there if connections to it are refused; nothing else.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "what is there is not a socket"));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One whose backlog is full would let us wait.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(io::Error::new(ErrorKind::AddrInUse, "another program listens there")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    /// A directory of this test's own.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("auth-proxy {name} {}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn try_bind(path: &Path) -> Result<(Socket, SocketFile), ErrorKind> {
        bind(path, 8).map_err(|error| error.kind())
    }

    #[test]
    fn the_file_is_removed_with_the_listener_if_it_is_still_ours() {
        let directory = Directory::new("removal");
        let path = directory.0.join("proxy.sock");
        let (_socket, file) = try_bind(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, MODE);
        UnixStream::connect(&path).unwrap();
        drop(file);
        assert!(!path.exists());

        let (_socket, file) = try_bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _others = UnixListener::bind(&path).unwrap();
        drop(file);
        UnixStream::connect(&path).expect("what took its place stays");
    }

    #[test]
    fn what_is_on_the_path_is_replaced_only_if_it_is_a_socket_without_a_listener() {
        let directory = Directory::new("stale");
        let path = directory.0.join("proxy.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves it behind");
        drop(try_bind(&path).expect("a stale one is replaced"));

        let live = UnixListener::bind(&path).unwrap();
        assert_eq!(try_bind(&path).unwrap_err(), ErrorKind::AddrInUse);
        UnixStream::connect(&path).expect("a live one stays");
        drop(live);
        fs::remove_file(&path).unwrap();

        fs::write(&path, "a file").unwrap();
        assert_eq!(try_bind(&path).unwrap_err(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
        fs::remove_file(&path).unwrap();

        let stale = directory.0.join("stale.sock");
        drop(UnixListener::bind(&stale).unwrap());
        std::os::unix::fs::symlink(&stale, &path).unwrap();
        assert_eq!(try_bind(&path).unwrap_err(), ErrorKind::AlreadyExists, "a link is no socket");
        assert!(stale.exists());
        fs::remove_file(&path).unwrap();

        fs::create_dir(&path).unwrap();
        assert_eq!(try_bind(&path).unwrap_err(), ErrorKind::AlreadyExists);
        assert_eq!(try_bind(&directory.0.join("nowhere/proxy.sock")).unwrap_err(), ErrorKind::NotFound);
    }

    #[test]
    fn one_of_many_instances_that_start_at_once_gets_a_stale_path() {
        let directory = Directory::new("race");
        let path = directory.0.join("proxy.sock");
        for _ in 0..20 {
            let _ = fs::remove_file(&path);
            drop(UnixListener::bind(&path).unwrap());
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let path = path.clone();
                    std::thread::spawn(move || try_bind(&path))
                })
                .collect();
            let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        }
    }

    /// A full backlog would block whoever connects, and another program may keep the directory's lock.
    #[test]
    fn nobody_can_hold_up_the_start() {
        let directory = Directory::new("hold-up");
        let path = directory.0.join("proxy.sock");
        let (_full, _file) = bind(&path, 0).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        assert_eq!(try_bind(&path).unwrap_err(), ErrorKind::AddrInUse);

        let lock = File::open(&directory.0).unwrap();
        lock.lock().unwrap();
        let start = Instant::now();
        try_bind(&directory.0.join("another.sock")).unwrap();
        assert!(start.elapsed() >= MAX_LOCK_WAIT);
    }
}

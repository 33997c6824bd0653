//! One connection: bytes over plain TCP or TLS, with the unfriendly endings that tests need.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustls::{ServerConfig, ServerConnection, Stream};

/// More than this is not read ahead while the server thinks.
const READ_AHEAD: usize = 1 << 20;

/// A connection with the bytes that were read and not yet consumed.
pub struct Conn {
    tcp: Arc<TcpStream>,
    tls: Option<Box<ServerConnection>>,
    inbox: Vec<u8>,
    at: usize,
    scratch: Box<[u8]>,
    /// Nothing more may be written.
    closed: bool,
    pub state: Arc<ConnState>,
}

/// What the server knows of a connection that a thread of its own serves.
#[derive(Default)]
pub struct ConnState {
    /// Its first response has ended, and not a byte has come since.
    pub idle: AtomicBool,
    /// It ends with RST, whatever its thread is doing.
    pub reset: AtomicBool,
}

impl Conn {
    pub fn new(tcp: Arc<TcpStream>, tls: Option<&Arc<ServerConfig>>) -> Self {
        let tls = tls.map(|config| Box::new(ServerConnection::new(config.clone()).unwrap()));
        // Without this every small event would wait for the acknowledgement of the one before.
        let _ = tcp.set_nodelay(true);
        let (scratch, state) = (vec![0; 64 * 1024].into(), Arc::default());
        Self { tcp, tls, inbox: Vec::new(), at: 0, scratch, closed: false, state }
    }

    /// What has been read and not consumed.
    pub fn available(&self) -> &[u8] {
        &self.inbox[self.at..]
    }

    pub fn consume(&mut self, count: usize) {
        self.at += count;
        if self.at == self.inbox.len() {
            self.inbox.clear();
            self.at = 0;
        }
    }

    /// Waits for more bytes and returns how many came; 0 is the end. A TLS stream that ends without close_notify
    /// is an error.
    pub fn fill(&mut self) -> io::Result<usize> {
        if self.tls.as_ref().is_none_or(|tls| tls.wants_read()) {
            // The kernel resets no socket that somebody is reading, but one that somebody waits for.
            let _ = rustix::event::poll(&mut [PollFd::new(&*self.tcp, PollFlags::IN)], None);
        }
        self.state.idle.store(false, Ordering::SeqCst);
        self.read()
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut tcp = &*self.tcp;
        let count = match &mut self.tls {
            Some(tls) => Stream::new(tls.as_mut(), &mut tcp).read(&mut self.scratch)?,
            None => tcp.read(&mut self.scratch)?,
        };
        if self.at > 0 {
            self.inbox.drain(..self.at);
            self.at = 0;
        }
        self.inbox.extend_from_slice(&self.scratch[..count]);
        Ok(count)
    }

    /// As [`Conn::fill`], for at most this long; `None` when nothing came.
    pub fn fill_within(&mut self, timeout: Duration) -> io::Result<Option<usize>> {
        // Zero would mean "for ever".
        self.tcp.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        let result = self.read();
        self.tcp.set_read_timeout(None)?;
        match result {
            Ok(count) => Ok(Some(count)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Does nothing for this long, or until the peer closes: then the moment of it.
    pub fn think(&mut self, pause: Duration) -> Option<Instant> {
        let deadline = Instant::now().checked_add(pause)?;
        loop {
            let now = Instant::now();
            if now >= deadline {
                return None;
            }
            if self.available().len() > READ_AHEAD {
                std::thread::sleep((deadline - now).min(Duration::from_millis(5)));
                continue;
            }
            match self.fill_within(deadline - now) {
                Ok(None | Some(1..)) => {}
                Ok(Some(0)) | Err(_) => return Some(Instant::now()),
            }
        }
    }

    /// Writes all of it and flushes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.closed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let mut tcp = &*self.tcp;
        match &mut self.tls {
            Some(tls) => {
                let mut stream = Stream::new(tls.as_mut(), &mut tcp);
                stream.write_all(bytes)?;
                stream.flush()
            }
            None => tcp.write_all(bytes),
        }
    }

    /// The socket below, for those who go on without HTTP and TLS.
    pub fn take_socket(&mut self) -> Arc<TcpStream> {
        self.closed = true;
        self.tcp.clone()
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The orderly end: close_notify, FIN, and then reading until the peer has closed too, for a while. A socket
    /// closed with unread input would send RST, which can destroy the response on its way.
    pub fn close(&mut self) {
        if self.state.reset.load(Ordering::SeqCst) {
            return self.reset();
        }
        self.shutdown_write();
        self.linger(Duration::from_secs(2));
        self.closed = true;
    }

    /// Says that nothing more will be sent; reading goes on.
    pub fn shutdown_write(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let mut tcp = &*self.tcp;
            let _ = tls.complete_io(&mut tcp);
        }
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    /// FIN without close_notify: what a cut TLS stream looks like. The same as an orderly end without TLS.
    pub fn close_without_notify(&mut self) {
        let _ = self.tcp.shutdown(Shutdown::Write);
        self.linger(Duration::from_secs(2));
        self.closed = true;
    }

    /// RST: the kernel sends it when the last handle of the socket closes, which happens when this value drops.
    pub fn reset(&mut self) {
        let _ = socket2::SockRef::from(&*self.tcp).set_linger(Some(Duration::ZERO));
        self.closed = true;
    }

    fn linger(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.fill_within(left) {
                Ok(Some(1..)) => self.consume(self.available().len()),
                _ => return,
            }
        }
    }
}

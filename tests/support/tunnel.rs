//! WebSockets: either end of a tunnel, plain or TLS, and an upstream that leaves every byte of it to the test.

use std::cell::Cell;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use auth_proxy::testing::{Ready, wait_one};
use rustls::{Connection, ServerConnection};
use socket2::{SockAddr, Socket};

use super::client::{Client, Ended, Raw, Response};
use super::program::Proxy;
use super::transport::{Transport, transports};
use crate::sim::{Options, Sim, server_tls, timeout};

/// A connection that can be read and written at once.
pub struct Link {
    socket: Socket,
    tls: Option<Box<Connection>>,
    inbox: Vec<u8>,
}

impl Link {
    fn new(socket: Socket, tls: Option<Connection>) -> Self {
        socket.set_nonblocking(true).unwrap();
        Self { socket, tls: tls.map(Box::new), inbox: Vec::new() }
    }

    /// Sends what is taken at once; 0 when nothing is.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return or_zero(self.socket.write(bytes)) };
        let taken = tls.writer().write(bytes)?;
        self.flushed()?;
        Ok(taken)
    }

    /// Whether everything that was taken has left.
    pub fn flushed(&mut self) -> io::Result<bool> {
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) {
            if or_zero(tls.write_tls(&mut self.socket))? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is there now: `None` when nothing is, `Some(0)` at the end.
    pub fn try_receive(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.inbox.is_empty() {
            let count = self.inbox.len().min(into.len());
            into[..count].copy_from_slice(&self.inbox[..count]);
            self.inbox.drain(..count);
            return Ok(Some(count));
        }
        let Some(tls) = &mut self.tls else { return or_none(self.socket.read(into)) };
        loop {
            let read = or_none(tls.reader().read(into))?;
            if read.is_some() {
                return Ok(read);
            }
            if or_none(tls.read_tls(&mut self.socket))?.is_none() {
                return Ok(None);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut left = bytes.as_ref();
        while !left.is_empty() || !self.flushed()? {
            let taken = self.try_send(left)?;
            left = &left[taken..];
            if taken == 0 {
                wait_one(&self.socket, Ready::WRITE, Some(Instant::now() + timeout()))?;
            }
        }
        Ok(())
    }

    /// The next bytes; empty at the end.
    pub fn read_some(&mut self, timeout: Duration) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 64 * 1024];
        let count = self.read_within(&mut bytes, timeout)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// As [`Link::read_some`], into this.
    pub fn read_within(&mut self, into: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(count) = self.try_receive(into)? {
                return Ok(count);
            }
            self.flushed()?;
            wait_one(&self.socket, Ready::READ, Some(deadline))?;
        }
    }

    /// Exactly so many bytes.
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            let bytes = self.read_some(timeout()).unwrap();
            assert!(!bytes.is_empty(), "the end came after {} of {count} bytes", all.len());
            all.extend(bytes);
        }
        self.inbox.splice(0..0, all.drain(count..));
        all
    }

    /// Everything up to the end, or up to a silence of this length.
    pub fn read_to_end(&mut self, timeout: Duration) -> (Vec<u8>, Ended) {
        let mut all = Vec::new();
        loop {
            match self.read_some(timeout) {
                Ok(bytes) if bytes.is_empty() => return (all, Ended::Closed),
                Ok(bytes) => all.extend(bytes),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return (all, Ended::Waiting),
                Err(_) => return (all, Ended::Aborted),
            }
        }
    }

    /// A request or response head.
    pub fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read_exactly(1));
        }
        head.into_iter().map(char::from).collect()
    }

    /// The end of this direction: close_notify where there is TLS, then FIN.
    pub fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.send([]).unwrap();
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// FIN without close_notify.
    pub fn close_without_notify(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// RST; a Unix socket knows only the end.
    pub fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Bytes that the kernel of the other side has not acknowledged, by /proc/net/tcp.
    pub fn unacknowledged(&self) -> u64 {
        let hex = |address: SockAddr| format!("0100007F:{:04X}", address.as_socket().unwrap().port());
        let ends = [hex(self.socket.local_addr().unwrap()), hex(self.socket.peer_addr().unwrap())];
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows.find(|row| row[1..3] == ends).expect("this connection in /proc/net/tcp");
        u64::from_str_radix(row[4].split(':').next().unwrap(), 16).unwrap()
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl From<Client> for Link {
    /// The application's end, after its handshake.
    fn from(mut client: Client) -> Self {
        let inbox = client.take_inbox();
        let link = match client.raw {
            Raw::Plain(socket) => Self::new(socket, None),
            Raw::Tls(stream) => Self::new(stream.sock, Some(stream.conn.into())),
        };
        Self { inbox, ..link }
    }
}

/// Accepts connections and passes each on as soon as it has sent something.
pub struct ScriptedUpstream {
    url: String,
    accepted: Receiver<Link>,
}

impl ScriptedUpstream {
    pub fn start(tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let tls = tls.then(server_tls);
        let (sender, accepted) = mpsc::channel();
        // Waits in accept until the test program ends: it holds nothing that matters.
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                let tcp = tcp.unwrap();
                tcp.set_nodelay(true).unwrap();
                let tls = tls.as_ref().map(|config| ServerConnection::new(config.clone()).unwrap().into());
                if sender.send(Link::new(tcp.into(), tls)).is_err() {
                    return;
                }
            }
        });
        Self { url, accepted }
    }

    /// For `API_BASE_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next connection.
    pub fn accept(&self) -> Link {
        self.accepted.recv_timeout(timeout()).expect("a connection to the upstream")
    }
}

/// The fields of a handshake; the key is the example of RFC 6455, section 1.3.
pub const ASK: [(&str, &str); 4] = [
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// What grants it.
pub const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A proxy for an upstream that the test plays itself.
pub struct TunnelFixture {
    pub upstream: ScriptedUpstream,
    pub proxy: Proxy,
    pub opened: Cell<usize>,
    _sim: Sim,
}

impl TunnelFixture {
    pub fn start(tls: bool) -> Self {
        Self::start_with(tls, &[])
    }

    pub fn start_with(tls: bool, variables: &[(&str, &str)]) -> Self {
        Self::start_over(Transport::Tcp, tls, variables)
    }

    /// The application comes on this transport.
    pub fn start_over(transport: Transport, tls: bool, variables: &[(&str, &str)]) -> Self {
        let (sim, upstream) = (Sim::start(Options::default()), ScriptedUpstream::start(tls));
        let all = [&[("API_BASE_URL", upstream.url())], variables].concat();
        let proxy = Proxy::start_over(transport, &sim, &all);
        Self { proxy, upstream, opened: Cell::new(0), _sim: sim }
    }

    /// Every kind of upstream, and every transport of the application, each with a name for messages.
    pub fn each() -> impl Iterator<Item = (Self, String)> {
        let kinds = transports().iter().map(|transport| (*transport, false)).chain([(Transport::Tcp, true)]);
        kinds.map(|(transport, tls)| {
            let name = format!("application: {transport:?}, upstream with TLS: {tls}");
            eprintln!("  {name}");
            (Self::start_over(transport, tls, &[]), name)
        })
    }

    /// A tunnel: the application's end and the upstream's.
    pub fn open(&self) -> (Link, Link) {
        let mut client = self.proxy.client();
        client.send("GET", "/realtime", &ASK, b"").unwrap();
        let mut there = self.upstream.accept();
        there.read_head();
        there.send(GRANT).unwrap();
        assert_eq!(client.response("GET").unwrap().status, 101);
        self.opened.set(self.opened.get() + 1);
        (client.into(), there)
    }
}

/// Asks for a WebSocket.
pub fn open_websocket(client: &mut Client, target: &str) -> Response {
    client.request("GET", target, &ASK, b"")
}

/// A frame of a client: opcode and payload, masked with zeros.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0], payload].concat()
}

/// A frame of a server.
pub fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode, u8::try_from(payload.len()).unwrap()], payload].concat()
}

fn or_none(read: io::Result<usize>) -> io::Result<Option<usize>> {
    match read {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn or_zero(written: io::Result<usize>) -> io::Result<usize> {
    or_none(written).map(Option::unwrap_or_default)
}

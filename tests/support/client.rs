//! Two clients for tests: one that sends bytes exactly as they are, one that speaks HTTP/1.1 over a kept connection.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::Socket;

use crate::sim::{latin1, timeout};

/// A connection over TCP or a Unix socket, with TLS or without.
pub enum Raw {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer closed in order.
    Closed,
    /// RST, or TLS without close_notify.
    Aborted,
    /// The timeout came first.
    Waiting,
}

/// Unlike the stream's own read, this does not write first what a peer that has responded does not take any more.
fn read_tls(stream: &mut StreamOwned<ClientConnection, Socket>, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.conn.reader().read(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
        if stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        } else {
            stream.conn.read_tls(&mut stream.sock)?;
            stream.conn.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl Raw {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(&address, timeout())?;
        tcp.set_nodelay(true)?;
        Ok(Self::Plain(tcp.into()))
    }

    pub fn try_connect_unix(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).map(|socket| Self::Plain(socket.into()))
    }

    /// TLS to localhost, trusting the authorities of this PEM text alone.
    pub fn connect_tls(port: u16, ca: &str) -> Self {
        Self::connect(SocketAddr::from(([127, 0, 0, 1], port))).into_tls("localhost", ca)
    }

    /// Starts TLS on a plain connection, towards this name.
    pub fn into_tls(self, name: &str, ca: &str) -> Self {
        self.into_tls_as(name, ca, None)
    }

    /// The same with the certificate and key of a client in this PEM text.
    pub fn into_tls_as(self, name: &str, ca: &str, identity: Option<&str>) -> Self {
        let Self::Plain(socket) = self else { panic!("TLS within TLS") };
        let mut roots = RootCertStore::empty();
        let authorities: Vec<CertificateDer<'_>> =
            rustls_pemfile::certs(&mut ca.as_bytes()).collect::<Result<_, _>>().unwrap();
        roots.add_parsable_certificates(authorities);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let chain = rustls_pemfile::certs(&mut pem.as_bytes()).map(Result::unwrap).collect();
                let key = rustls_pemfile::private_key(&mut pem.as_bytes()).unwrap().unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let tls =
            ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
        Self::Tls(Box::new(StreamOwned::new(tls, socket)))
    }

    /// The socket below.
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes.as_ref()),
            Self::Tls(stream) => stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()),
        }
    }

    /// What comes next, waiting this long for its first byte; empty at the end of the stream.
    pub fn read_some(&mut self, timeout: Duration) -> io::Result<Vec<u8>> {
        self.socket().set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let read = match self {
                Self::Plain(socket) => socket.read(&mut bytes),
                Self::Tls(stream) => read_tls(stream, &mut bytes),
            };
            // With a time limit, Linux interrupts a read even when the process was only stopped and continued.
            if !matches!(&read, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
                return read.map(|count| bytes[..count].to_vec());
            }
        }
    }

    /// Everything until the peer closes, or until it has been silent for this long.
    pub fn read_to_end(&mut self, timeout: Duration) -> (Vec<u8>, Ended) {
        let mut all = Vec::new();
        loop {
            match self.read_some(timeout) {
                Ok(bytes) if bytes.is_empty() => return (all, Ended::Closed),
                Ok(bytes) => all.extend_from_slice(&bytes),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return (all, Ended::Waiting);
                }
                Err(_) => return (all, Ended::Aborted),
            }
        }
    }

    /// Sends an endless body until the peer takes no more of it; how many bytes it took.
    pub fn send_until_blocked(&mut self, piece: &[u8], limit: u64) -> u64 {
        self.socket().set_write_timeout(Some(timeout())).unwrap();
        let mut sent = 0;
        while sent < limit && self.send(piece).is_ok() {
            sent += piece.len() as u64;
        }
        sent
    }

    /// Ends this direction, close_notify first where there is TLS; the other stays open.
    pub fn end(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
        self.socket().shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with RST, as a client that dies does; a Unix socket knows only the end.
    pub fn reset(self) {
        self.socket().set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A response with the moment when each piece of its body came.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Every byte up to and including the empty line.
    pub raw_head: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// When, and how many bytes of the body had come by then.
    pub arrivals: Vec<(Instant, usize)>,
    /// Why the body is not complete, if it is not.
    pub fault: Option<String>,
}

impl Response {
    /// The only value of this header. Panics when it came more than once.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut values = self.header_values(name);
        assert!(values.len() < 2, "header {name} came {} times: {values:?}", values.len());
        values.pop()
    }

    pub fn header_values(&self, name: &str) -> Vec<String> {
        let values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        values.map(|(_, value)| latin1(value)).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", latin1(&self.body)))
    }
}

/// Speaks HTTP/1.1 over one connection, request after request.
pub struct Client {
    pub raw: Raw,
    host: String,
    inbox: Vec<u8>,
}

impl Client {
    pub fn new(raw: Raw) -> Self {
        Self { raw, host: "localhost".into(), inbox: Vec::new() }
    }

    pub fn connect(address: SocketAddr) -> Self {
        Self::new(Raw::connect(address))
    }

    /// Sends this as Host instead of `localhost`.
    pub fn with_host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// What was read beyond the last response; after a 101 it belongs to the new protocol.
    pub fn take_inbox(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.inbox)
    }

    pub fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[], b"")
    }

    /// None when the connection has ended.
    pub fn try_get(&mut self, target: &str) -> Option<Response> {
        self.send("GET", target, &[], b"").ok()?;
        self.response("GET").ok()
    }

    pub fn post_json(&mut self, target: &str, value: &serde_json::Value) -> Response {
        self.request("POST", target, &[("Content-Type", "application/json")], value.to_string().as_bytes())
    }

    /// A request with Host and, when there is a body, Content-Length; panics when no response comes.
    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.send(method, target, headers, body).unwrap();
        self.response(method).unwrap_or_else(|error| panic!("no response to {method} {target}: {error}"))
    }

    /// Sends a request and does not wait for the response.
    pub fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.raw.send([head.as_bytes(), b"\r\n", body].concat())
    }

    /// The response to a request of this method; an error only when there is no complete head.
    pub fn response(&mut self, method: &str) -> io::Result<Response> {
        let raw_head = self.line_block()?;
        let text = latin1(&raw_head);
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.ok_or_else(|| io::Error::other(format!("status line {status_line:?}")))?;
        let fields = lines.filter_map(|line| line.split_once(':'));
        let bytes = |value: &str| value.trim().chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let headers = fields.map(|(name, value)| (name.to_owned(), bytes(value))).collect();
        let mut response =
            Response { status, raw_head, headers, body: Vec::new(), arrivals: Vec::new(), fault: None };
        if (100..200).contains(&status) && status != 101 {
            return self.response(method);
        }
        if method != "HEAD" && !matches!(status, 101 | 204 | 304) {
            response.fault = self.body(&mut response).err().map(|error| error.to_string());
        }
        Ok(response)
    }

    fn body(&mut self, response: &mut Response) -> io::Result<()> {
        if response.header_values("transfer-encoding") == ["chunked"] {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
                let size = size.map_err(|_| io::Error::other(format!("chunk size {line:?}")))?;
                if size == 0 {
                    while !self.line()?.is_empty() {}
                    return Ok(());
                }
                self.take(size, response)?;
                if !self.line()?.is_empty() {
                    return Err(io::Error::other("no CR LF after a chunk"));
                }
            }
        }
        match response.header("content-length") {
            Some(length) => self.take(length.parse().map_err(io::Error::other)?, response),
            None => loop {
                self.take(self.inbox.len(), response)?;
                match self.fill() {
                    Ok(()) => {}
                    Err(error)
                        if error.kind() == io::ErrorKind::UnexpectedEof && error.get_ref().is_none() =>
                    {
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                }
            },
        }
    }

    fn take(&mut self, mut count: usize, response: &mut Response) -> io::Result<()> {
        while count > 0 {
            if self.inbox.is_empty() {
                self.fill()?;
            }
            let size = count.min(self.inbox.len());
            response.body.extend(self.inbox.drain(..size));
            response.arrivals.push((Instant::now(), response.body.len()));
            count -= size;
        }
        Ok(())
    }

    fn line_block(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.inbox.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                return Ok(self.inbox.drain(..end + 4).collect());
            }
            self.fill()?;
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.inbox.windows(2).position(|bytes| bytes == b"\r\n") {
                let line: Vec<u8> = self.inbox.drain(..end + 2).collect();
                return Ok(latin1(&line[..end]));
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let bytes = self.raw.read_some(timeout())?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.inbox.extend_from_slice(&bytes);
        Ok(())
    }
}

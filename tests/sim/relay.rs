//! A TCP relay in front of one of the servers that breaks connections as networks do. What is wrong can be changed while
//! connections are open.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What is wrong, on the way from the server to the client unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Everything comes later by this much.
    Latency(Duration),
    /// Takes everything, in both directions, and passes nothing on; open connections, too: the peer is gone without a word.
    BlackHole,
    /// RST after this many bytes; at 0 as soon as the client sends something.
    Reset(u64),
    /// FIN after this many bytes, as above.
    Truncate(u64),
    /// Pieces of this many bytes, with a pause after each.
    Slice(usize, Duration),
    /// So many bytes per second.
    Bandwidth(u64),
    /// The end of the connection never comes.
    NoClose,
    /// The first bytes, then the second ones so many times, in place of the server's.
    Send(Vec<u8>, Vec<u8>, u64),
}

/// A running relay.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<RelayState>,
    accepting: Option<JoinHandle<()>>,
}

/// How the server's side of a connection ends for the client.
enum End {
    Orderly,
    Reset,
    Never,
}

struct RelayState {
    target: SocketAddr,
    /// Counts its changes, so that an open connection counts bytes from the last.
    fault: Mutex<(Fault, u64)>,
    stopping: AtomicBool,
    accepted: AtomicU64,
}

impl Relay {
    /// To a loopback port, with nothing wrong.
    pub fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(RelayState {
            target: SocketAddr::from(([127, 0, 0, 1], port)),
            fault: Mutex::new((Fault::None, 0)),
            stopping: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
        });
        let for_accept = shared.clone();
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming() {
                if for_accept.stopping.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(client) = client {
                    for_accept.accepted.fetch_add(1, Ordering::SeqCst);
                    let shared = for_accept.clone();
                    std::thread::spawn(move || shared.relay(client));
                }
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on.
    pub fn set(&self, fault: Fault) {
        let mut current = self.shared.fault.lock().unwrap();
        *current = (fault, current.1 + 1);
    }

    /// How many connections were accepted.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

impl RelayState {
    fn fault(&self) -> (Fault, u64) {
        self.fault.lock().unwrap().clone()
    }

    fn relay(self: Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.target) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (up, from, to) = (self.clone(), client.try_clone().unwrap(), server.try_clone().unwrap());
        let sending = std::thread::spawn(move || up.up(&from, &to));
        match self.down(&server, &client) {
            End::Orderly => drop(client.shutdown(Shutdown::Write)),
            End::Reset => {
                let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
                // It leaves when the last handle is closed: the other thread must let go of its.
                let _ = client.shutdown(Shutdown::Read);
            }
            // Until the client leaves.
            End::Never => {
                let _ = sending.join();
                return;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
        let _ = sending.join();
    }

    /// What the client sends. Faults that stand in for the server's response begin here, when it sends something.
    fn up(&self, mut client: &TcpStream, mut server: &TcpStream) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(n @ 1..) = client.read(&mut buffer) {
            match self.fault().0 {
                Fault::BlackHole => {}
                Fault::Send(first, again, times) => {
                    let sent = client.write_all(&first).is_ok()
                        && (0..times).all(|_| client.write_all(&again).is_ok());
                    if sent {
                        let _ = client.shutdown(Shutdown::Write);
                    }
                    // Read on: unread bytes would turn the end into a reset.
                    while matches!(client.read(&mut buffer), Ok(1..)) {}
                    break;
                }
                Fault::Truncate(0) => {
                    let _ = client.shutdown(Shutdown::Write);
                    while matches!(client.read(&mut buffer), Ok(1..)) {}
                    break;
                }
                Fault::Reset(0) => {
                    let _ = socket2::SockRef::from(client).set_linger(Some(Duration::ZERO));
                    break;
                }
                _ => {
                    if server.write_all(&buffer[..n]).is_err() {
                        break;
                    }
                }
            }
        }
        let _ = server.shutdown(Shutdown::Both);
    }

    /// What the server sends.
    fn down(&self, server: &TcpStream, client: &TcpStream) -> End {
        let passed = self.pass(server, client);
        match self.fault().0 {
            Fault::Reset(_) => End::Reset,
            Fault::NoClose | Fault::BlackHole => End::Never,
            _ if passed.is_err() => End::Reset,
            _ => End::Orderly,
        }
    }

    fn pass(&self, mut server: &TcpStream, mut client: &TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        let (mut passed, mut of) = (0, 0);
        while let Ok(n @ 1..) = server.read(&mut buffer) {
            let (fault, change) = self.fault();
            if change != of {
                (passed, of) = (0, change);
            }
            let bytes = &buffer[..n];
            match fault {
                Fault::None | Fault::NoClose => client.write_all(bytes)?,
                Fault::Latency(pause) => {
                    std::thread::sleep(pause);
                    client.write_all(bytes)?;
                }
                Fault::BlackHole | Fault::Send(..) => {}
                Fault::Reset(limit) | Fault::Truncate(limit) => {
                    let left = usize::try_from(limit - passed).unwrap().min(n);
                    client.write_all(&bytes[..left])?;
                    if left < n {
                        return Ok(());
                    }
                }
                Fault::Slice(size, pause) => {
                    for piece in bytes.chunks(size) {
                        client.write_all(piece)?;
                        std::thread::sleep(pause);
                    }
                }
                Fault::Bandwidth(rate) => {
                    for piece in bytes.chunks(1024) {
                        client.write_all(piece)?;
                        std::thread::sleep(
                            Duration::from_secs(piece.len() as u64) / u32::try_from(rate).unwrap(),
                        );
                    }
                }
            }
            passed += n as u64;
        }
        Ok(())
    }
}

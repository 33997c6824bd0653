//! An egress proxy as companies have it: CONNECT, then bytes both ways. Every name leads to loopback, so that names
//! which nobody else resolves show that the proxy was used.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use super::exchange::Exchange;
use super::record::{Log, Request, latin1};
use super::server::Server;

/// A running egress proxy.
pub struct Egress {
    pub server: Server,
    log: Arc<Log>,
}

impl Egress {
    /// Lets everybody through, or those who send exactly this `Proxy-Authorization`.
    pub fn start(authorization: Option<&str>) -> Self {
        let log = Arc::new(Log::default());
        let wanted: Vec<String> = authorization.map(str::to_owned).into_iter().collect();
        let server = Server::start(0, None, log.clone(), Arc::new(move |exchange| handle(exchange, &wanted)));
        Self { server, log }
    }

    /// For `HTTPS_PROXY`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    /// Every CONNECT so far.
    pub fn requests(&self) -> Vec<Request> {
        self.log.requests()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }
}

fn handle(exchange: &mut Exchange<'_>, wanted: &[String]) -> io::Result<()> {
    if !wanted.is_empty() && exchange.head.values("proxy-authorization") != wanted {
        return exchange.answer(407, &[("Proxy-Authenticate", "Basic realm=\"sim\"")], b"");
    }
    let target = latin1(&exchange.head.target);
    let port = target.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let Some(port) = port.filter(|_| exchange.head.method == "CONNECT") else {
        exchange.note("not a CONNECT to host and port");
        return exchange.answer(400, &[], b"");
    };
    let Ok(mut upstream) = TcpStream::connect(("127.0.0.1", port)) else {
        return exchange.answer(502, &[], b"");
    };
    exchange.tunnel_opened()?;
    upstream.write_all(exchange.conn.available())?;
    let (client, server) = (exchange.conn.take_socket(), Arc::new(upstream));
    let (from, to) = (server.clone(), client.clone());
    let back = std::thread::spawn(move || copy(&from, &to));
    copy(&client, &server);
    let _ = back.join();
    Ok(())
}

/// Until the end of one direction, which is passed on.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

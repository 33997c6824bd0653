//! An egress proxy as companies have it: CONNECT, then bytes both ways. Every name leads to loopback, so that names
//! which nobody else resolves show that the proxy was used.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use super::exchange::Exchange;
use super::record::{Log, Request, latin1};
use super::server::Server;

/// A running egress proxy.
pub struct Egress {
    pub server: Server,
    log: Arc<Log>,
    door: Arc<Mutex<Door>>,
}

/// Whom it lets through.
struct Door {
    /// The one `Proxy-Authorization`; none lets everybody through.
    wanted: Option<String>,
    /// The `Proxy-Authenticate` of a 407.
    challenges: Vec<String>,
}

impl Egress {
    /// Lets everybody through, or those who send exactly this `Proxy-Authorization`.
    pub fn start(authorization: Option<&str>) -> Self {
        let log = Arc::new(Log::default());
        let door = Door {
            wanted: authorization.map(str::to_owned),
            challenges: vec!["Basic realm=\"sim\"".to_owned()],
        };
        let door = Arc::new(Mutex::new(door));
        let handle_with = door.clone();
        let handler = move |exchange: &mut Exchange<'_>| handle(exchange, &handle_with);
        Self { server: Server::start(0, None, log.clone(), Arc::new(handler)), log, door }
    }

    /// From now on another `Proxy-Authorization` is wanted, and a 407 says so with these challenges.
    pub fn demand(&self, authorization: &str, challenges: &[&str]) {
        *self.door.lock().unwrap() = Door {
            wanted: Some(authorization.to_owned()),
            challenges: challenges.iter().map(|challenge| (*challenge).to_owned()).collect(),
        };
    }

    /// How many were refused with 407.
    pub fn refused(&self) -> usize {
        self.requests().iter().filter(|request| request.status == Some(407)).count()
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

fn handle(exchange: &mut Exchange<'_>, door: &Mutex<Door>) -> io::Result<()> {
    let found = exchange.head.values("proxy-authorization");
    let refusal = {
        let Door { wanted, challenges } = &*door.lock().unwrap();
        let refused = wanted.as_ref().is_some_and(|wanted| found != [wanted.as_str()]);
        refused.then(|| challenges.clone())
    };
    if let Some(challenges) = refusal {
        let fields: Vec<_> = challenges.iter().map(|value| ("Proxy-Authenticate", value.as_str())).collect();
        return exchange.respond(407, &fields, b"");
    }
    let target = latin1(&exchange.head.target);
    let port = target.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let Some(port) = port.filter(|_| exchange.head.method == "CONNECT") else {
        exchange.note("not a CONNECT to host and port");
        return exchange.respond(400, &[], b"");
    };
    let Ok(mut upstream) = TcpStream::connect(("127.0.0.1", port)) else {
        return exchange.respond(502, &[], b"");
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

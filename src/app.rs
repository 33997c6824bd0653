//! Start and stop: builds the parts in order, starts their threads, and ends them.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::clock::Clock;
use crate::config::{Config, Credential};
use crate::identity::{AssertionSource, CertificateSource, FederatedTokenFile};
use crate::log;
use crate::proxy::Proxy;
use crate::report::Problem;
#[cfg(feature = "tiny_http")]
use crate::server::tiny_http::{Listener, Running};
use crate::server::{Limits, Stop};
#[cfg(not(feature = "tiny_http"))]
use crate::server::{Listener, Running};
use crate::sys::{self, Ready};
use crate::token::{Entra, Refresher, TokenStore};
use crate::upstream::Upstream;

/// What we need besides connections: standard streams, pipes, listener, files, token requests, with room to spare.
const DESCRIPTORS_OF_OURS: usize = 24;

/// Why the program did not start. The exit code tells them apart.
#[derive(Debug)]
pub enum StartFault {
    /// Settings are missing or wrong; all of them.
    Config(Vec<Problem>),
    /// Certificate or key cannot be used.
    Identity(Problem),
    /// The address cannot be bound.
    Listen(Problem),
    /// The system refuses something else: threads, descriptors.
    System(Problem),
}

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every request in flight was finished.
    Drained,
    /// `SHUTDOWN_GRACE` or a second signal cut some off, or the token refresher died.
    Forced,
}

/// The program at work.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    config: Arc<Config>,
    tokens: Arc<TokenStore>,
    server: Running,
    stop: Arc<Stop>,
    signals: UnixStream,
}

impl App {
    /// Builds everything and starts it; when this fails, nothing was started.
    ///
    /// # Errors
    ///
    /// See [`StartFault`].
    pub fn start(config: Config) -> Result<Self, StartFault> {
        let config = Arc::new(config);
        let clock = Clock::system();
        report_panics();
        let limits = limits(&config, sys::raise_descriptor_limit());
        for note in &config.notes {
            log::warn(&note.message, &[("hint", &note.hints.join("; "))]);
        }

        let source = identity(&config, &clock)?;
        let upstream = Upstream::new(&config).map_err(|problem| StartFault::Config(vec![problem]))?;
        let signals = signals().map_err(|error| system("signal handlers", &error))?;
        let stop = Arc::new(Stop::new().map_err(|error| system("a pipe", &error))?);
        let listener = listen(&config)?;
        let address = listener.address().map_err(|error| system("the listener's address", &error))?;

        let tokens = TokenStore::new(clock.clone());
        let entra =
            Entra::new(upstream.entra.clone(), clock, &config.token_url, &config.client_id, &config.scope);
        Refresher::new(Arc::clone(&tokens), source, Box::new(entra))
            .spawn()
            .map_err(|error| system("the token thread", &error))?;

        let proxy = Proxy::new(Arc::clone(&config), upstream, Arc::clone(&tokens));
        let server = listener
            .serve(Arc::new(proxy), limits, Arc::clone(&stop))
            .map_err(|error| system("the accept thread", &error))?;
        log::info("listening", &[("address", &address)]);
        Ok(Self { address, config, tokens, server, stop, signals })
    }

    /// Runs until SIGTERM or SIGINT, then lets requests in flight finish.
    pub fn run(mut self) -> Ending {
        while !self.signalled(Duration::from_secs(1)) {
            if self.tokens.died() {
                log::error("the token refresher has ended: so does the program", &[]);
                return Ending::Forced;
            }
        }
        let grace = self.config.shutdown_grace;
        let open = self.server.connections();
        log::info("stopping", &[("connections", &open), ("grace_seconds", &grace.as_secs())]);
        self.stop.say();
        self.tokens.stop();
        let deadline = Instant::now() + grace;
        loop {
            let step = Instant::now() + Duration::from_millis(50);
            if self.server.drain(step.min(deadline)) {
                log::info("stopped", &[]);
                return Ending::Drained;
            }
            let why = if Instant::now() >= deadline {
                "SHUTDOWN_GRACE is over"
            } else if self.signalled(Duration::ZERO) {
                "a second signal"
            } else {
                continue;
            };
            log::warn(
                "stopped with open connections",
                &[("connections", &self.server.connections()), ("why", &why)],
            );
            return Ending::Forced;
        }
    }

    /// Waits for a signal; takes it when there is one.
    fn signalled(&mut self, patience: Duration) -> bool {
        if sys::wait_one(&self.signals, Ready::READ, Some(Instant::now() + patience)).is_err() {
            return false;
        }
        io::Read::read(&mut self.signals, &mut [0]).is_ok()
    }
}

/// As many connections as asked for and as there are descriptors for: each takes one, and one to the destination.
fn limits(config: &Config, descriptors: Option<u64>) -> Limits {
    let limits = Limits { connections: config.max_connections, ..Limits::default() };
    let descriptors = descriptors.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let spare = descriptors.saturating_sub(DESCRIPTORS_OF_OURS);
    if spare / 2 >= limits.connections + limits.overflow / 2 {
        return limits;
    }
    let overflow = (spare / 8).min(limits.overflow);
    let connections = ((spare - overflow) / 2).clamp(1, limits.connections);
    if connections < limits.connections {
        log::warn(
            "fewer connections than MAX_CONNECTIONS: too few file descriptors",
            &[
                ("descriptors", &descriptors),
                ("connections", &connections),
                ("hint", &"raise ulimit -n (LimitNOFILE)"),
            ],
        );
    }
    Limits { connections, overflow, ..limits }
}

/// The certificate or token file, and the line that says who we will be.
fn identity(config: &Config, clock: &Clock) -> Result<Box<dyn AssertionSource>, StartFault> {
    let version = env!("CARGO_PKG_VERSION");
    let origin = config.destination.origin();
    let mut summary: Vec<(&str, &dyn std::fmt::Display)> = vec![
        ("version", &version),
        ("destination", &origin),
        ("base_path", &config.destination.base_path),
        ("token_url", &config.token_url),
        ("client_id", &config.client_id),
        ("scope", &config.scope),
    ];
    match &config.credential {
        Credential::Certificate { path, algorithm, send_chain } => {
            let source = CertificateSource::open(
                path,
                *algorithm,
                *send_chain,
                &config.client_id,
                &config.token_url,
                clock.clone(),
            )
            .map_err(StartFault::Identity)?;
            let (thumbprint, expires) = {
                let certificate = source.certificate();
                (certificate.sha1_hex(), log::rfc3339(certificate.not_after_unix))
            };
            summary.extend::<[(&str, &dyn std::fmt::Display); 2]>([
                ("certificate_sha1", &thumbprint),
                ("certificate_expires", &expires),
            ]);
            log::info("auth-proxy starts", &summary);
            Ok(Box::new(source))
        }
        Credential::FederatedTokenFile { path } => {
            let file = path.display();
            summary.push(("federated_token_file", &file));
            log::info("auth-proxy starts", &summary);
            Ok(Box::new(FederatedTokenFile::open(path).map_err(StartFault::Identity)?))
        }
    }
}

fn listen(config: &Config) -> Result<Listener, StartFault> {
    let (host, port) = (config.listen.host.as_str(), config.listen.port);
    let failed = |error: io::Error| {
        let problem = Problem::new(format!("cannot listen on HOST={host} PORT={port}: {error}"));
        StartFault::Listen(match error.kind() {
            ErrorKind::AddrInUse => {
                problem.hint("another program has this port: choose another PORT, or 0 for a free one")
            }
            ErrorKind::PermissionDenied => {
                problem.hint("ports below 1024 need a privilege: choose a higher PORT")
            }
            ErrorKind::AddrNotAvailable => {
                problem.hint("HOST must be an address of this machine, 0.0.0.0 or ::")
            }
            _ => problem.hint("HOST is an IPv4 address, an IPv6 address or a name of this machine"),
        })
    };
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(failed)?.collect();
    let listener = Listener::bind(&addresses).map_err(failed)?;
    if !addresses.iter().all(|address| address.ip().is_loopback()) && config.proxy_api_key.is_none() {
        log::warn(
            "anyone who reaches this port can call the destination with our token",
            &[(
                "hint",
                &"set HOST=127.0.0.1 when the application shares this host or pod, or set PROXY_API_KEY",
            )],
        );
    }
    Ok(listener)
}

/// SIGTERM and SIGINT as bytes to read. As PID 1 we would not even get them without handlers.
fn signals() -> io::Result<UnixStream> {
    let (receive, send) = UnixStream::pair()?;
    pipe::register(SIGTERM, send.try_clone()?)?;
    pipe::register(SIGINT, send)?;
    Ok(receive)
}

/// A panic is a line in the log: where, not what, for the what may hold a request.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        log::error(
            "a bug: this thread panicked; what it was doing has failed, everything else goes on",
            &[("at", &place), ("thread", &thread)],
        );
    }));
}

fn system(what: &str, error: &io::Error) -> StartFault {
    StartFault::System(Problem::new(format!("the system does not give us {what}: {error}")))
}

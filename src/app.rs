//! Start and stop: builds the parts in order, starts their threads, and ends them.

mod activation;
mod listen;
mod memory;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use listen::Administration;

use crate::clock::Clock;
use crate::config::Config;

use crate::log;
use crate::net::TlsAcceptor;
use crate::net::poll::{self, Ready};
use crate::ops::admin::Admin;
use crate::ops::metrics::Metrics;
use crate::ops::watch::Watch;
use crate::ops::{self, EffectiveLimits, Sources, notify};
use crate::process;
use crate::proxy::{Callers, PendingLogs, Proxy};
use crate::report::Problem;
#[cfg(not(feature = "tiny_http"))]
use crate::server::ServerHandle;
#[cfg(feature = "tiny_http")]
use crate::server::tiny_http::ServerHandle;
use crate::server::{Limits, ListenAddress, Overload, Shutdown};
use crate::summary::{self, Fact, Facts};
use crate::token::{self, OpenCredential, Refresher, TokenStore};
use crate::upstream::Upstream;

/// Why the program did not start. The exit code distinguishes them.
#[derive(Debug)]
pub(crate) enum StartError {
    /// Settings are missing or wrong; all of them.
    Config(Vec<Problem>),
    /// A certificate, a private key or the file of keys cannot be used.
    Identity(Problem),
    /// The address cannot be bound.
    Listen(Problem),
    /// The system refuses something else: threads, descriptors.
    System(Problem),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every request in flight was finished.
    Drained,
    /// `SHUTDOWN_GRACE` or a second signal ended some early, or the token refresher died.
    GraceExpired,
}

pub(crate) struct App {
    config: Arc<Config>,
    tokens: Arc<TokenStore>,
    metrics: Arc<Metrics>,
    pending_logs: PendingLogs,
    upstream: Upstream,
    server: ServerHandle,
    watch: Watch,
    stop: Arc<Shutdown>,
    signals: UnixStream,
}

impl App {
    /// Builds everything and starts it; when this fails, nothing was started.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub(crate) fn start(config: Config) -> Result<Self, StartError> {
        // First: as PID 1 we would lose a signal that comes while a file is awaited.
        let signals = signals().map_err(|error| system("signal handlers", &error))?;
        let given = activation::take().map_err(StartError::Listen)?;
        let config = Arc::new(config);
        let clock = Clock::system();
        let metrics = Arc::new(Metrics::new());
        ops::report_panics(Arc::clone(&metrics));
        let (descriptors, memory) = (process::raise_descriptor_limit(), memory::limit(Path::new("/")));
        let limits = listen::limits(&config, descriptors, memory);
        for note in &config.notes {
            log::warn(&note.message, &[("hint", &note.hints.join("; "))]);
        }

        let upstream = Upstream::new(&config).map_err(|problem| StartError::Config(vec![problem]))?;
        let callers = Callers::open(&config).map_err(StartError::Identity)?;
        let opened = token::open(&config, &config.scope, &upstream, &clock).map_err(StartError::Identity)?;
        let tls = config.tls.as_ref().map(TlsAcceptor::open).transpose().map_err(StartError::Identity)?;
        let tls = tls.map(Arc::new);
        log_startup(&config, &opened, callers.as_ref(), &limits);
        let stop = Arc::new(Shutdown::new().map_err(|error| system("a pipe", &error))?);
        let (given, given_names): (Vec<_>, Vec<_>) = given.into_iter().map(|it| (it.socket, it.name)).unzip();
        let listener = listen::bind(&config, given)?;
        let addresses = listener.addresses();
        // The settings refuse TLS in a build with tiny_http.
        #[cfg(not(feature = "tiny_http"))]
        let listener = listener.with_tls(tls.clone());
        listen::warn_if_open(&config, &addresses);
        let administration = Administration::bind(&config)?;

        let tokens = TokenStore::new(clock);
        Refresher::new(Arc::clone(&tokens), opened.credential)
            .spawn()
            .map_err(|error| system("the token thread", &error))?;

        let proxy = Proxy::new(
            Arc::clone(&config),
            callers,
            upstream.clone(),
            Arc::clone(&tokens),
            Arc::clone(&metrics),
        );
        let pending_logs = proxy.pending_logs();
        let (max_connections, connections_bound) = (limits.connections, limits.connections_bound);
        let server = listener
            .serve(Arc::new(proxy), limits, Arc::clone(&stop))
            .map_err(|error| system("the accept thread", &error))?;
        log_listening(&addresses, &given_names);
        let sources = Sources {
            config: Arc::clone(&config),
            metrics: Arc::clone(&metrics),
            tokens: Arc::clone(&tokens),
            certificate: opened.certificate,
            tls,
            clients: server.clients(),
            limits: EffectiveLimits { connections: max_connections, connections_bound, descriptors, memory },
        };
        let watch = Watch::new(
            Arc::clone(&metrics),
            Arc::clone(&tokens),
            config.base_url.authority.to_string(),
            server.clients(),
            max_connections,
        );
        administration.map(|it| it.serve(Admin::new(sources, pending_logs.refusals()))).transpose()?;
        notify::ready();
        Ok(Self { config, tokens, metrics, pending_logs, upstream, server, watch, stop, signals })
    }

    /// Runs until SIGTERM or SIGINT, then lets requests in flight finish.
    pub(crate) fn run(mut self) -> Ending {
        while !self.wait_for_signal(Duration::from_secs(1)) {
            self.count_connections();
            self.watch.look();
            self.pending_logs.flush();
            self.upstream.close_expired();
            if self.tokens.has_died() {
                log::error("the token refresher stopped unexpectedly; exiting", &[]);
                return Ending::GraceExpired;
            }
        }
        let grace = self.config.shutdown_grace;
        let open = self.server.connections();
        log::info("stopping", &[("connections", &open), ("grace_seconds", &grace.as_secs())]);
        notify::stopping();
        self.stop.trigger();
        self.tokens.stop();
        let deadline = Instant::now() + grace;
        loop {
            self.count_connections();
            self.pending_logs.flush();
            let step = Instant::now() + Duration::from_millis(50);
            if self.server.drain(step.min(deadline)) {
                self.pending_logs.finish();
                log::info("stopped", &[]);
                return Ending::Drained;
            }
            let why = if Instant::now() >= deadline {
                "SHUTDOWN_GRACE is over"
            } else if self.wait_for_signal(Duration::ZERO) {
                "a second signal"
            } else {
                continue;
            };
            self.pending_logs.finish();
            log::warn(
                "stopped with open connections",
                &[("connections", &self.server.connections()), ("why", &why)],
            );
            return Ending::GraceExpired;
        }
    }

    /// The server counts them itself; scrapes are seldom enough for a number that is a second old.
    fn count_connections(&self) {
        self.metrics.connections.set(self.server.connections());
    }

    /// Waits for a signal; takes it when there is one.
    fn wait_for_signal(&mut self, timeout: Duration) -> bool {
        if poll::wait_one(&self.signals, Ready::READ, Some(Instant::now() + timeout)).is_err() {
            return false;
        }
        io::Read::read(&mut self.signals, &mut [0]).is_ok()
    }
}

/// Logs everything that decides how the program behaves: what signs in, who may call, and what limits there are.
fn log_startup(config: &Config, opened: &OpenCredential, callers: Option<&Callers>, limits: &Limits) {
    let mut starting: Facts = vec![("version", env!("CARGO_PKG_VERSION").into())];
    starting.extend(summary::sign_in(config));
    if let Some(current) = &opened.certificate {
        let certificate = current.certificate();
        starting.push(("certificate_sha1", certificate.sha1_hex().into()));
        starting.push(("certificate_expires", log::rfc3339(certificate.not_after_unix).into()));
    }
    starting.extend(config.credential.details().into_iter().map(|(name, value)| (name, value.into())));
    log::info("auth-proxy starting", &summary::fields(&starting));
    log::info("settings for callers", &summary::fields(&summary::callers(config, callers)));
    let mut network = summary::network(config);
    network.push(("max_connections", Fact::Number(limits.connections)));
    let limited_by = match limits.connections_bound {
        Overload::Connections => "MAX_CONNECTIONS",
        resource => resource.name(),
    };
    network.push(("limited_by", limited_by.into()));
    log::info("settings for the network", &summary::fields(&network));
}

/// Logs where it listens; sockets of the service manager with their names.
fn log_listening(addresses: &[ListenAddress], given_names: &[String]) {
    for (number, address) in addresses.iter().enumerate() {
        match given_names.get(number) {
            Some(name) => log::info("listening", &[("address", address), ("socket_activation", name)]),
            None => log::info("listening", &[("address", address)]),
        }
    }
}

/// SIGTERM and SIGINT as bytes to read. As PID 1 we would not even get them without handlers.
fn signals() -> io::Result<UnixStream> {
    let (receive, send) = UnixStream::pair()?;
    pipe::register(SIGTERM, send.try_clone()?)?;
    pipe::register(SIGINT, send)?;
    Ok(receive)
}

fn system(what: &str, error: &io::Error) -> StartError {
    StartError::System(Problem::new(format!("the system does not provide {what}: {error}")))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    #[cfg(not(feature = "tiny_http"))]
    use crate::server::Listener;
    #[cfg(feature = "tiny_http")]
    use crate::server::tiny_http::Listener;
    use crate::server::{Exchange, Head, Service};
    use crate::token::store_with_dead_refresher;

    struct SilentService;

    impl Service for SilentService {
        fn serve(&self, _: Head, _: &mut dyn Exchange) {}
        fn reject_overloaded(&self, _: Head, _: Overload, _: &mut dyn Exchange) {}
    }

    #[test]
    fn a_refresher_that_died_ends_the_program() {
        let settings = |name: &str| match name {
            "AZURE_CLIENT_ID" | "AZURE_TENANT_ID" => Some("11111111-2222-4333-8444-555555555555".into()),
            "AZURE_CERTIFICATE_PATH" => Some("/nowhere.pem".into()),
            "API_BASE_URL" => Some("https://name.openai.azure.com".into()),
            _ => None,
        };
        let stop = Arc::new(Shutdown::new().unwrap());
        let listener = Listener::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        let (signals, no_signal) = UnixStream::pair().unwrap();
        let config = Arc::new(Config::from_lookup(&settings).unwrap());
        let (tokens, metrics) = (store_with_dead_refresher(), Arc::new(Metrics::new()));
        let server = listener.serve(Arc::new(SilentService), Limits::default(), Arc::clone(&stop)).unwrap();
        let clients = server.clients();
        let app = App {
            upstream: Upstream::new(&config).unwrap(),
            config,
            watch: Watch::new(Arc::clone(&metrics), Arc::clone(&tokens), String::new(), clients, 1),
            tokens,
            metrics,
            pending_logs: PendingLogs::default(),
            server,
            stop,
            signals,
        };
        assert_eq!(app.run(), Ending::GraceExpired, "the exit code says that it failed");
        drop(no_signal);
    }
}

//! The parts of the program put together by a test, as `app` does it, on a clock that the test sets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_proxy::testing::{
    Callers, Clock, Config, Limits, Listener, LogFormat, LogLevel, Metrics, MockClock, Proxy, Refresher,
    ServerHandle, Shutdown, TokenStore, Upstream, open_credential,
};

use crate::sim::Sim;
use crate::support::client::Client;

/// How far Entra ID's clock may be from ours here: tests let hours pass.
const SKEW: i64 = 7 * 24 * 3600;

/// A proxy inside the test's own process.
pub struct InProcess {
    pub mock_clock: Arc<MockClock>,
    pub tokens: Arc<TokenStore>,
    pub metrics: Arc<Metrics>,
    address: SocketAddr,
    stop: Arc<Shutdown>,
    running: ServerHandle,
}

impl InProcess {
    pub fn start(sim: &Sim) -> Self {
        // Its log would go to the standard error of the whole test run.
        auth_proxy::testing::init_log(LogLevel::Error, LogFormat::Text);
        sim.entra.set_clock(0, SKEW);
        let environment: std::collections::HashMap<_, _> = sim.env().into_iter().collect();
        let config = Arc::new(Config::from_lookup(&|name| environment.get(name).cloned()).unwrap());
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mock_clock = MockClock::at_unix(unix);
        let clock = Clock::mock(Arc::clone(&mock_clock));
        let upstream = Upstream::new(&config).unwrap();
        let credential = open_credential(&config, &upstream, &clock).unwrap().credential;
        let callers = Callers::open(&config).unwrap();
        let tokens = TokenStore::new(clock);
        Refresher::new(Arc::clone(&tokens), credential).spawn().unwrap();
        let stop = Arc::new(Shutdown::new().unwrap());
        let listener = Listener::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        let address = listener.address().unwrap();
        let metrics = Arc::new(Metrics::new());
        let proxy = Proxy::new(config, callers, upstream, Arc::clone(&tokens), Arc::clone(&metrics));
        let running = listener.serve(Arc::new(proxy), Limits::default(), Arc::clone(&stop)).unwrap();
        Self { mock_clock, tokens, metrics, address, stop, running }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.stop.trigger();
        self.tokens.stop();
        self.running.drain(Instant::now() + Duration::from_secs(5));
    }
}

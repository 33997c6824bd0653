use std::net::SocketAddr;

use super::*;
use crate::server::{Exchange, Head, Limits, Overload, Service};
use crate::token::abandoned;

struct Mute;

impl Service for Mute {
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
    let stop = Arc::new(Stop::new().unwrap());
    let listener = Listener::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
    let (signals, no_signal) = UnixStream::pair().unwrap();
    let config = Arc::new(Config::from_lookup(&settings).unwrap());
    let app = App {
        addresses: listener.addresses().unwrap(),
        admin_addresses: Vec::new(),
        upstream: Upstream::new(&config).unwrap(),
        config,
        tokens: abandoned(),
        metrics: Arc::new(Metrics::new()),
        server: listener.serve(Arc::new(Mute), Limits::default(), Arc::clone(&stop)).unwrap(),
        stop,
        signals,
    };
    assert_eq!(app.run(), Ending::Forced, "the exit code says that it failed");
    drop(no_signal);
}

//! Memory of the release binary: `make shipped`.

use crate::sim::material;
use crate::support::load::{both_ways, idle_websockets};

#[test]
fn a_gibibyte_each_way_needs_no_memory() {
    both_ways(1 << 30);
}

#[test]
fn a_thousand_idle_websockets_over_tls_cost_less_than_64_mb() {
    let pem = std::env::temp_dir().join(format!("auth-proxy-tls-{}.pem", std::process::id()));
    std::fs::write(&pem, &material().server).unwrap();
    let path = pem.to_str().unwrap();
    idle_websockets(1000, 60_000, &[("TLS_CERT_FILE", path), ("TLS_KEY_FILE", path)]);
    std::fs::remove_file(pem).unwrap();
}

#[test]
fn a_thousand_idle_websockets_cost_less_than_64_mb() {
    // And 4 MB for the program itself.
    idle_websockets(1000, 60_000, &[]);
}

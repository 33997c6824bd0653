//! Memory of the release binary: `make shipped`.

use crate::support::load::{both_ways, idle_websockets};

#[test]
fn a_gibibyte_each_way_needs_no_memory() {
    both_ways(1 << 30);
}

#[test]
fn a_thousand_idle_websockets_cost_less_than_64_mb() {
    // And 4 MB for the program itself.
    idle_websockets(1000, 60_000);
}

//! What the specification (`tests/spec`) and the slow tests (`tests/slow`) share: the program as a child process or inside the
//! test, clients, upstreams that a test plays itself, and load.

pub mod api;
pub mod client;
pub mod faults;
pub mod fixture;
pub mod in_process;
pub mod load;
pub mod program;
pub mod rotation;
pub mod secrets;
pub mod traffic;
pub mod transport;
pub mod tunnel;

//! The simulator checks others, so it is checked first.

mod assertions;
mod endpoints;
mod sockets;

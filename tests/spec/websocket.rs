//! WebSockets pass through the proxy:
//!
//! - the handshake reaches the upstream with our token and without any credential of the client ([`handshake`]);
//! - bytes pass both ways at once and unchanged, and neither direction waits for the other ([`duplex`]);
//! - each direction ends by itself, and an abrupt end of either side ends the other within a second ([`closing`]);
//! - an idle WebSocket costs little memory ([`duplex`]);
//! - they work through an egress proxy, and clients can send `PROXY_API_KEY` as browsers must ([`routes`]).

mod closing;
mod duplex;
mod handshake;
mod routes;

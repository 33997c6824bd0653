//! What integration tests, fuzz targets and examples use of this crate. The program itself is [`crate::run`] alone.

pub use crate::cli::{Exit, help};
pub use crate::clock::{Clock, MockClock};
pub use crate::config::{BaseUrl, Config, Credential, LogFormat, LogLevel, SETTINGS};
pub use crate::http1::chunked::{self, Decoder};
pub use crate::http1::fields::{self, Fields};
pub use crate::http1::framing::{Length, ResponseFraming};
pub use crate::http1::head::{
    HeadFault, RequestHead, ResponseHead, Scan, parse_request, read_request, read_response,
};
pub use crate::identity::{CertificateSource, KeyPair, from_file};
pub use crate::log::init as init_log;
pub use crate::net::poll::{Ready, wait_one};
pub use crate::ops::metrics::Metrics;
pub use crate::ops::report_panics;
pub use crate::proxy::{Callers, Proxy, headers, target};
pub use crate::report::Problem;
pub use crate::server::body::Body;
pub use crate::server::input::{Input, Source};
#[cfg(feature = "tiny_http")]
pub use crate::server::tiny_http;
pub use crate::server::{
    Credentials, ErrorResponse, Exchange, Limits, ListenAddress, Listener, Overload, Peer, PeerAddress,
    ServerHandle, Service, Shutdown, send_full,
};
pub use crate::token::{
    Class, Entra, Grant, REMEDIES, Refresher, TokenError, TokenStore, open as open_credential,
    response as token_response,
};
pub use crate::upstream::Upstream;

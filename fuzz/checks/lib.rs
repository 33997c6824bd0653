//! What must hold for any bytes, as plain functions that panic: for libFuzzer (`targets/`) and for the deterministic
//! run over `corpus/` (`tests/spec/parsers.rs`) alike. What is expected comes from the naive readers in here, which
//! share no code with the program's.

pub mod agreement;
pub mod chunked;
pub mod entra;
pub mod filter;
pub mod head;
pub mod location;
pub mod pem;
pub mod pfx;
mod pieces;
mod reference;
pub mod response;

/// Panics when something does not hold.
pub type Check = fn(&[u8]);

/// Every check and the name of its corpus.
pub const ALL: [(&str, Check); 9] = [
    ("agreement", agreement::check),
    ("chunked", chunked::check),
    ("entra", entra::check),
    ("filter", filter::check),
    ("head", head::check),
    ("location", location::check),
    ("pem", pem::check),
    ("pfx", pfx::check),
    ("response", response::check),
];

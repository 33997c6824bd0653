//! `TLS_CERT_FILE`, `TLS_KEY_FILE`, `TLS_CLIENT_CA_FILE`: TLS towards clients. And how the program itself is reached then.

use super::env::Env;
use super::listen::{admin_host, admin_port};
use super::{Environment, Listen, value};
use crate::net::TlsFiles;
use crate::report::Problem;

const CERTIFICATE: &str = "TLS_CERT_FILE";
const KEY: &str = "TLS_KEY_FILE";
const CLIENT_CA: &str = "TLS_CLIENT_CA_FILE";

/// The files, if there are any; none when something about them is wrong.
pub(super) fn read(env: &mut Env<'_>) -> Option<TlsFiles> {
    let is_set = |name| env.raw(name).is_some();
    let (has_certificate, has_key, has_client_ca) = (is_set(CERTIFICATE), is_set(KEY), is_set(CLIENT_CA));
    let lacks = |set: &str, unset: &str| {
        Problem::new(format!("{set} is set, but {unset} is not"))
            .hint("TLS needs a certificate and its key: set TLS_CERT_FILE and TLS_KEY_FILE, or none of them")
    };
    match (has_certificate, has_key) {
        (true, false) => env.problem(lacks(CERTIFICATE, KEY)),
        (false, true) => env.problem(lacks(KEY, CERTIFICATE)),
        (false, false) if has_client_ca => env.problem(lacks(CLIENT_CA, CERTIFICATE)),
        (true, true) if cfg!(feature = "tiny_http") => env.problem(
            Problem::new(format!(
                "{CERTIFICATE} is set, but this build's HTTP server (tiny_http) cannot do TLS"
            ))
            .hint("use the default build, or put a reverse proxy that does TLS before this one"),
        ),
        _ => {}
    }
    let certificate = env.optional(CERTIFICATE, value::path);
    let key = env.optional(KEY, value::path);
    let client_ca = env.optional(CLIENT_CA, value::path);
    Some(TlsFiles { certificate: certificate?, key: key?, client_ca })
}

/// How a program with the same environment is asked whether it is ready.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) listen: Listen,
    pub(crate) path: &'static str,
    /// The variables that say where.
    pub(crate) variables: &'static str,
    /// It speaks TLS there, with what these hold.
    pub(crate) tls: Option<TlsFiles>,
}

impl Probe {
    /// On `PORT`; where that demands client certificates, on `ADMIN_PORT`.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings, or that they do not say where.
    pub(crate) fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let mut env = Env::new(Environment { lookup, names: &[] });
        let listen = Listen::read(&mut env);
        let tls = read(&mut env);
        let demands_certificate = tls.as_ref().is_some_and(|files| files.client_ca.is_some());
        let probe = if demands_certificate {
            let port = admin_port(&mut env, &listen);
            if port.is_none() {
                env.problem(
                    Problem::new(format!(
                        "{CLIENT_CA} is set, so this command cannot call on PORT: it has no certificate"
                    ))
                    .hint(
                        "set ADMIN_PORT, for the proxy and for this command: it responds there without TLS",
                    ),
                );
            }
            let listen = Listen::Tcp { host: admin_host(&mut env, &listen), port: port.unwrap_or_default() };
            Self { listen, path: "/readyz", variables: "ADMIN_HOST and ADMIN_PORT", tls: None }
        } else {
            Self { listen, path: "/health", variables: "HOST and PORT", tls }
        };
        env.finish().map(|_| probe)
    }
}

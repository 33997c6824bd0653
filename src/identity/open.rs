//! From the settings to an identity: what a start does first, and `check`, too.

use super::{AssertionSource, CertificateSource, CurrentCertificate, FederatedTokenFile};
use crate::clock::Clock;
use crate::config::{Config, Credential};
use crate::report::Problem;

/// Who we are.
pub struct Identity {
    /// Where assertions come from.
    pub source: Box<dyn AssertionSource>,
    /// The certificate in use; none with workload identity.
    pub certificate: Option<CurrentCertificate>,
}

impl Identity {
    /// Reads the certificate or the token file that the settings name.
    ///
    /// # Errors
    ///
    /// It cannot be used.
    pub fn open(config: &Config, clock: &Clock) -> Result<Self, Problem> {
        match &config.credential {
            Credential::Certificate { path, algorithm, send_chain } => {
                let source = CertificateSource::open(
                    path,
                    *algorithm,
                    *send_chain,
                    &config.client_id,
                    &config.token_url,
                    clock.clone(),
                )?;
                let certificate = Some(source.current());
                Ok(Self { source: Box::new(source), certificate })
            }
            Credential::FederatedTokenFile { path } => {
                Ok(Self { source: Box::new(FederatedTokenFile::open(path)?), certificate: None })
            }
        }
    }
}

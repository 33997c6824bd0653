//! What signs in: one implementation for each kind of credential, opened from the settings, for the refresher and for
//! `check` alike.
//!
//! ```text
//! certificate          file -> assertion ------------------------> Entra ID -> token
//! federated token      file (the assertion) ---------------------> Entra ID, or the cluster's token proxy -> token
//! managed identity     IMDS, App Service or Azure Arc -----------------------> token
//! federated identity   IMDS, App Service or Azure Arc (its token is the assertion) -> Entra ID -> token
//! ```

use super::managed_identity::{self, ManagedIdentity};
use super::{Endpoint, Entra, Grant, TokenError, response};
use crate::clock::Clock;
use crate::config::{self, Assertion, Config};
use crate::identity::{AssertionSource, CertificateSource, CurrentCertificate, FederatedTokenFile};
use crate::report::Problem;
use crate::secret::Secret;
use crate::upstream::Upstream;

const EXPIRED_IDENTITY_TOKEN: &str = "the managed identity's token, which is the assertion, is outside its time range: none, Azure replaces it";

/// Gets access tokens.
pub trait Credential: Send {
    /// One attempt to get a token; never retried inside, but with another certificate.
    ///
    /// # Errors
    ///
    /// No token was granted.
    fn sign_in(&mut self) -> Result<Grant, TokenError>;

    /// Scheme, host and port of what gives the tokens, for people who wait for it.
    fn origin(&self) -> &str;

    /// Whether a file that it reads has changed since it was last read: a reason to try again at once.
    fn changed(&mut self) -> bool {
        false
    }

    /// Whether another token can be had before the present one is due for replacement.
    fn can_renew_early(&self) -> bool {
        true
    }
}

/// A credential, and what is known of it.
pub struct OpenCredential {
    pub credential: Box<dyn Credential>,
    /// The certificate in use, if there is one.
    pub certificate: Option<CurrentCertificate>,
}

/// Opens the credential that the settings name, for tokens of this scope: reads its file, and sends nothing.
///
/// # Errors
///
/// Its file cannot be used.
pub fn open(
    config: &Config,
    scope: &str,
    upstream: &Upstream,
    clock: &Clock,
) -> Result<OpenCredential, Problem> {
    let application = match &config.credential {
        config::Credential::Application(application) => application,
        config::Credential::ManagedIdentity(identity) => {
            let resource = scope.strip_suffix("/.default").unwrap_or(scope);
            let credential =
                ManagedIdentity::new(upstream.direct.clone(), clock.clone(), identity, resource, false);
            return Ok(OpenCredential { credential: Box::new(credential), certificate: None });
        }
    };
    let (client_id, token_url) = (&application.client_id, &application.token_url);
    let entra = |url: &str| Entra::new(upstream.entra.clone(), clock.clone(), url, client_id, scope);
    Ok(match &application.assertion {
        Assertion::Certificate { path, password, algorithm, send_chain } => {
            let source = CertificateSource::open(
                path,
                password.clone(),
                *algorithm,
                *send_chain,
                client_id,
                token_url,
                clock.clone(),
            )?;
            let certificate = Some(source.current());
            let credential = ClientAssertion::new(Box::new(source), Box::new(entra(token_url)));
            OpenCredential { credential: Box::new(credential), certificate }
        }
        Assertion::FederatedTokenFile { path, token_proxy } => {
            let source = FederatedTokenFile::open(path)?;
            // The proxy is asked at the same path.
            let path = token_url.splitn(4, '/').nth(3).unwrap_or_default();
            let url = token_proxy.as_ref().map(|proxy| format!("{}/{path}", proxy.url));
            let entra = entra(url.as_deref().unwrap_or(token_url));
            let credential = ClientAssertion::new(Box::new(source), Box::new(entra));
            OpenCredential { credential: Box::new(credential), certificate: None }
        }
        Assertion::ManagedIdentity { identity, resource } => {
            let identity =
                ManagedIdentity::new(upstream.direct.clone(), clock.clone(), identity, resource, true);
            let credential = FederatedIdentity { identity, entra: entra(token_url) };
            OpenCredential { credential: Box::new(credential), certificate: None }
        }
    })
}

/// An application that proves with an assertion from a file who it is (RFC 7523 section 2.2).
pub(super) struct ClientAssertion {
    source: Box<dyn AssertionSource>,
    endpoint: Box<dyn Endpoint>,
}

impl ClientAssertion {
    /// An application whose assertions come from `source`, known to `endpoint`.
    pub(super) fn new(source: Box<dyn AssertionSource>, endpoint: Box<dyn Endpoint>) -> Self {
        Self { source, endpoint }
    }
}

impl ClientAssertion {
    /// Signs in with the certificate before the one that Entra ID does not know. If it does not know that one either, the
    /// error is that of the new one, which somebody has to upload.
    fn go_back(&mut self, unknown: TokenError) -> Result<Grant, TokenError> {
        let Some(assertion) = self.source.fallback() else { return Err(unknown) };
        match self.endpoint.request(&assertion) {
            Ok(grant) => {
                self.source.fell_back();
                Ok(grant)
            }
            Err(error) if error.code == Some(response::UNKNOWN_CERTIFICATE) => Err(unknown),
            Err(error) => Err(error),
        }
    }
}

impl Credential for ClientAssertion {
    fn sign_in(&mut self) -> Result<Grant, TokenError> {
        // A fresh assertion for each attempt: Entra ID may refuse a repeated one, and the file may be new.
        let assertion = self.source.assertion()?;
        let error = match self.endpoint.request(&assertion) {
            Ok(grant) => {
                self.source.accepted();
                return Ok(grant);
            }
            Err(error) => error,
        };
        match (error.code, self.source.time_hint()) {
            (Some(response::UNKNOWN_CERTIFICATE), _) => self.go_back(error),
            // The signer of the assertion set its times, not this machine's clock.
            (Some(response::OUTSIDE_TIME_RANGE), Some(hint)) => {
                Err(TokenError { hints: vec![hint], ..error })
            }
            _ => Err(error),
        }
    }

    fn origin(&self) -> &str {
        self.endpoint.origin()
    }

    fn changed(&mut self) -> bool {
        self.source.changed()
    }
}

/// An application whose federated credential is a managed identity: the identity's token is the assertion. It is asked for
/// anew each time, because the endpoint on this machine keeps it.
struct FederatedIdentity {
    identity: ManagedIdentity,
    entra: Entra,
}

impl Credential for FederatedIdentity {
    fn sign_in(&mut self) -> Result<Grant, TokenError> {
        let grant = self.identity.sign_in()?;
        let bearer = grant.bearer().to_str().unwrap_or_default();
        let assertion = Secret::new(bearer.strip_prefix("Bearer ").unwrap_or_default().to_owned());
        self.entra.request(&assertion).map_err(|error| {
            let error = managed_identity::limit_rate(error);
            // Azure has set the assertion's times, not this machine's clock.
            let is_late = error.code == Some(response::OUTSIDE_TIME_RANGE);
            let hints = if is_late { vec![EXPIRED_IDENTITY_TOKEN.to_owned()] } else { error.hints };
            TokenError { hints, ..error }
        })
    }

    fn origin(&self) -> &str {
        self.entra.origin()
    }
}

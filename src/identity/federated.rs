//! Workload identity: somebody else (kubelet, mostly) signs an assertion and keeps it fresh in a file.

use std::path::Path;

use zeroize::Zeroizing;

use super::AssertionSource;
use super::file::Watched;
use crate::report::Problem;
use crate::secret::Secret;

const WHAT: &str = "federated token file";
/// Service account tokens are below 2 KB; request lines and headers elsewhere end at 64.
const LIMIT: u64 = 64 * 1024;

/// A file whose content is the assertion (`AZURE_FEDERATED_TOKEN_FILE`).
///
/// Nothing is kept from one read to the next: these tokens live for an hour, and Entra ID says more about an expired
/// one than we could.
pub struct FederatedTokenFile {
    file: Watched,
}

impl FederatedTokenFile {
    /// Reads the file once, to find a fault at start.
    ///
    /// # Errors
    ///
    /// The file cannot be read or does not hold a JWT.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let mut source = Self { file: Watched::new(WHAT, path, LIMIT) };
        source.assertion()?;
        Ok(source)
    }
}

impl AssertionSource for FederatedTokenFile {
    fn assertion(&mut self) -> Result<Secret<String>, Problem> {
        let content = self.file.read()?;
        token(&content).map_err(|fault| {
            let problem = Problem::new(format!("{WHAT} {} {fault}", self.file.path().display()));
            problem.hint(
                "it should hold one JWT and nothing else; the azure-workload-identity webhook mounts it",
            )
        })
    }

    fn changed(&mut self) -> bool {
        self.file.changed()
    }
}

/// A JWT in compact serialisation: three parts of base64url (RFC 7515 section 7.1). Entra ID judges the rest.
fn token(content: &Zeroizing<Vec<u8>>) -> Result<Secret<String>, &'static str> {
    let token = content.trim_ascii();
    if token.is_empty() {
        return Err("is empty");
    }
    let is_base64url =
        |part: &[u8]| part.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let parts: Vec<&[u8]> = token.split(|&byte| byte == b'.').collect();
    if parts.len() != 3 || parts.iter().any(|part| part.is_empty() || !is_base64url(part)) {
        return Err("does not hold a JWT");
    }
    match std::str::from_utf8(token) {
        Ok(token) => Ok(Secret::new(token.to_owned())),
        Err(_) => Err("does not hold a JWT"),
    }
}

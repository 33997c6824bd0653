//! Workload identity: another program (mostly kubelet) signs an assertion and keeps it fresh in a file.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use zeroize::Zeroizing;

use super::AssertionSource;
use super::file::WatchedFile;
use crate::log::rfc3339;
use crate::report::Problem;
use crate::secret::Secret;

const FILE_KIND: &str = "federated token file";
const WHO_MOUNTS_IT: &str = "the azure-workload-identity webhook mounts it: pods want the label \
    azure.workload.identity/use: \"true\"";
/// Service account tokens are below 2 KB; request lines and headers elsewhere end at 64.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A file whose content is the assertion (`AZURE_FEDERATED_TOKEN_FILE`).
///
/// Nothing is kept from one read to the next: these tokens live for an hour, and Entra ID says more about an expired
/// one than we could.
pub(crate) struct FederatedTokenFile {
    file: WatchedFile,
    /// When the token that was read last expires, in seconds since the Unix epoch, if it says so.
    expires: Option<u64>,
}

impl FederatedTokenFile {
    /// Reads the file once, to detect errors at start.
    ///
    /// # Errors
    ///
    /// The file cannot be read or does not hold a JWT.
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let mut source = Self { file: WatchedFile::new(FILE_KIND, path, MAX_FILE_BYTES), expires: None };
        source.assertion()?;
        Ok(source)
    }
}

impl AssertionSource for FederatedTokenFile {
    fn assertion(&mut self) -> Result<Secret<String>, Problem> {
        let content = self.file.read().map_err(|problem| problem.hint(WHO_MOUNTS_IT))?;
        let token = token(&content).map_err(|fault| {
            let problem = Problem::new(format!("{FILE_KIND} {} {fault}", self.file.path().display()));
            problem.hint("it should hold one JWT and nothing else").hint(WHO_MOUNTS_IT)
        })?;
        self.expires = expiry(token.expose());
        Ok(token)
    }

    fn changed(&mut self) -> bool {
        self.file.changed()
    }

    fn time_hint(&self) -> Option<String> {
        let name = self.file.path().display();
        let expires = self.expires.map(|expires| format!(" holds a token until {}", rfc3339(expires)));
        Some(format!(
            "an expired token file: {name}{}; kubelet renews it, but not below a subPath mount: mount the folder",
            expires.as_deref().unwrap_or_default()
        ))
    }
}

/// `exp` of a JWT (RFC 7519 section 4.1.4). Nothing else of it is parsed.
fn expiry(token: &str) -> Option<u64> {
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?);
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    // Four digits of a year are enough.
    claims.get("exp")?.as_u64().filter(|expires| *expires < 253_402_300_800)
}

/// A JWT in compact serialization: three parts of base64url (RFC 7515 section 7.1). Entra ID checks the rest.
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::identity::pems;

    #[test]
    fn the_file_is_the_assertion_and_read_every_time() {
        let directory = pems::scratch("federated");
        let path = directory.join("token");
        fs::write(&path, "eyJh.eyJi.c2ln\n").unwrap();
        let mut source = FederatedTokenFile::open(&path).unwrap();
        assert_eq!(source.assertion().unwrap().expose(), "eyJh.eyJi.c2ln");
        assert!(!source.changed());
        fs::write(&path, "eyJh.eyJi.bmV3LXNpZ25hdHVyZQ").unwrap();
        assert!(source.changed());
        assert_eq!(source.assertion().unwrap().expose(), "eyJh.eyJi.bmV3LXNpZ25hdHVyZQ");
        fs::remove_file(&path).unwrap();
        assert!(source.changed());
        let problem = source.assertion().unwrap_err();
        assert!(problem.message.ends_with("token does not exist"), "{problem}");
        assert!(problem.hints.last().unwrap().contains("azure.workload.identity/use"), "{problem}");
        fs::remove_dir_all(directory).unwrap();
    }

    /// Entra ID finds it outside its time range, and this machine's clock has no part in that.
    #[test]
    fn an_expired_token_is_reported_with_its_time() {
        let directory = pems::scratch("expired token");
        let path = directory.join("token");
        let jwt = |claims: &str| format!("eyJh.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        for (claims, said) in [
            (r#"{"exp":1700000000,"sub":"s3cr3t"}"#, " holds a token until 2023-11-14T22:13:20Z;"),
            (r#"{"exp":253402300799}"#, " holds a token until 9999-12-31T23:59:59Z;"),
            (r#"{"exp":253402300800}"#, ";"),
            (r#"{"exp":-1}"#, ";"),
            (r#"{"exp":"soon"}"#, ";"),
            (r#"{}"#, ";"),
            ("[]", ";"),
            ("s3cr3t", ";"),
        ] {
            fs::write(&path, jwt(claims)).unwrap();
            let hint = FederatedTokenFile::open(&path).unwrap().time_hint().unwrap();
            let name = path.display();
            let expected = format!(
                "an expired token file: {name}{said} kubelet renews it, but not below a subPath mount: mount the folder"
            );
            assert_eq!(hint, expected);
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_is_no_jwt_is_refused_and_not_shown() {
        let directory = pems::scratch("no jwt");
        let path = directory.join("token");
        let too_big = "a".repeat(64 * 1024 + 1);
        for (content, fact) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("s3cr3t", "does not hold a JWT"),
            ("s3cr3t.b", "does not hold a JWT"),
            ("s3cr3t..c", "does not hold a JWT"),
            ("s3cr3t.b.c.d", "does not hold a JWT"),
            ("s3cr3t.b.c\ns3cr3t.b.c", "does not hold a JWT"),
            ("s3cr3t.b=.c", "does not hold a JWT"),
            ("\u{feff}s3cr3t.b.c", "does not hold a JWT"),
            (&too_big, "is larger than 64 KiB"),
        ] {
            fs::write(&path, content).unwrap();
            let problem = FederatedTokenFile::open(&path).err().unwrap();
            assert_eq!(problem.message, format!("federated token file {} {fact}", path.display()));
            assert!(!problem.hints.is_empty() && !problem.to_string().contains("s3cr3t"), "{problem}");
        }
        fs::remove_dir_all(directory).unwrap();
    }
}

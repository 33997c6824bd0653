//! The challenge of Azure Arc's agent: 401 and the name of a key file, which root and the group `himds` can read. Its content
//! proves that whoever asks is one of them.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::files;
use crate::report::{Problem, quote};
use crate::secret::Secret;
use crate::token::http::TokenResponse;
use crate::token::{Class, TokenError};

/// The only directory whose files are read: a challenge must not make us send another one.
pub(super) const KEYS: &str = "/var/opt/azcmagent/tokens";
/// The keys have some hundred bytes.
const MAX_KEY: u64 = 4096;
const AGENT_HINT: &str =
    "check the agent: azcmagent show; and that IDENTITY_ENDPOINT is its endpoint, http://localhost:40342/…";

/// The content of the file that a challenge names, which must be in the directory `keys`. Each challenge names another file.
pub(super) fn key(challenge: &TokenResponse, keys: &str) -> Result<Secret<String>, TokenError> {
    if challenge.status != 401 {
        return Err(TokenError {
            status: Some(challenge.status),
            hints: vec![AGENT_HINT.to_owned()],
            ..TokenError::new(
                Class::Permanent,
                format!("the Azure Arc agent responded {} in place of its challenge (401)", challenge.status),
            )
        });
    }
    let path = named_file(challenge, keys)?;
    let content = read(&path).map_err(|error| unreadable(&path, &error))?;
    let text = std::str::from_utf8(&content).unwrap_or_default().trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Problem::new(format!("the Azure Arc key file {} holds no key", path.display()))
            .hint(AGENT_HINT)
            .into());
    }
    Ok(Secret::new(text.to_owned()))
}

/// `WWW-Authenticate: Basic realm=/var/opt/azcmagent/tokens/NAME.key`
fn named_file(challenge: &TokenResponse, keys: &str) -> Result<PathBuf, TokenError> {
    let refuse = |what: String| TokenError {
        status: Some(challenge.status),
        hints: vec![AGENT_HINT.to_owned()],
        ..TokenError::new(Class::Permanent, what)
    };
    let challenges = challenge.headers.get_all("www-authenticate");
    let realm = challenges.iter().find_map(|value| {
        let (scheme, rest) = value.to_str().ok()?.trim().split_once(' ')?;
        let (name, realm) = rest.trim().split_once('=')?;
        let is_basic = scheme.eq_ignore_ascii_case("basic") && name.trim().eq_ignore_ascii_case("realm");
        is_basic.then(|| realm.trim().trim_matches('"'))
    });
    let Some(realm) = realm else {
        return Err(refuse("the challenge of the Azure Arc agent names no key file".to_owned()));
    };
    let path = Path::new(realm);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // Compared as text: `..` and doubled slashes do not occur in what the agent sends.
    if realm != format!("{keys}/{name}") || !name.ends_with(".key") || name.starts_with('.') {
        let realm = quote(realm);
        return Err(refuse(format!(
            "the challenge of the Azure Arc agent names a file outside {keys} or without .key: {realm}"
        )));
    }
    Ok(path.to_owned())
}

fn read(path: &Path) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
    let file = files::open_no_follow(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    files::read_bounded(file, MAX_KEY)
}

fn unreadable(path: &Path, error: &io::Error) -> TokenError {
    let problem = match error.kind() {
        ErrorKind::FileTooLarge => {
            Problem::new(format!("the Azure Arc key file {} is larger than {MAX_KEY} bytes", path.display()))
        }
        _ => Problem::new(format!("the Azure Arc key file {} cannot be read: {error}", path.display())),
    };
    match error.kind() {
        ErrorKind::PermissionDenied => {
            problem.hint("root and the group himds can read it: usermod -aG himds USER, and start again")
        }
        ErrorKind::NotFound => problem
            .hint("in a container: mount /var/opt/azcmagent/tokens read-only and use the host's network"),
        _ => problem.hint(AGENT_HINT),
    }
    .into()
}

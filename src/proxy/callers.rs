//! Who may call: `PROXY_API_KEY` is the key of the caller `default`, and `PROXY_API_KEYS_FILE` has callers by name. The file is
//! read again when it changes.
//!
//! ```text
//! the file --same or not looked at--> nothing
//!       |----good--------------------> the new keys hold from now on
//!       '----bad---------------------> the keys read before stay valid; logged once, until the file is good again
//! ```

mod key_table;

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;

pub(crate) use self::key_table::{DEFAULT_CALLER, is_name, line};
use self::key_table::{KeyDigest, KeyTable, digest};
use super::api_key;
use crate::config::Config;
use crate::files::{self, Stamp};
use crate::identity::file_not_opened;
use crate::log;
use crate::report::{Problem, shell_quoted};
use crate::server::{ErrorResponse, Head};

const VARIABLE: &str = "PROXY_API_KEYS_FILE";
/// How often the file is looked at, at most: a `stat`, before a request's key is compared. A key that was removed is refused
/// after this.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Room for more than 10,000 keys; larger is a mistake, or has no end.
const MAX_FILE: u64 = 1 << 20;

/// The callers with a key.
pub struct Callers {
    /// The settings that keys come from, for messages.
    settings: &'static str,
    current: Mutex<Arc<KeyTable>>,
    file: Option<KeysFile>,
}

struct KeysFile {
    path: PathBuf,
    /// That of `PROXY_API_KEY`, which counts with those of the file.
    variable: Option<KeyDigest>,
    state: Mutex<FileState>,
}

struct FileState {
    looked_at: Instant,
    /// The file as it was when it was last read.
    stamp: Option<Stamp>,
    /// It had been written so shortly before that the stamp alone does not show a change.
    is_racy: bool,
    /// What was last found wrong with it, which is logged once.
    problem: Option<String>,
}

impl Callers {
    /// Reads the keys; none when the settings ask for no key.
    ///
    /// # Errors
    ///
    /// The file cannot be used.
    pub fn open(config: &Config) -> Result<Option<Self>, Problem> {
        let variable = config.proxy_api_key.as_ref().map(|key| digest(key.expose().as_bytes()));
        let Some(path) = &config.proxy_api_keys_file else {
            return Ok(variable.map(|key| Self {
                settings: "PROXY_API_KEY",
                current: Mutex::new(Arc::new(KeyTable::single(key))),
                file: None,
            }));
        };
        // Looked at before it is opened: a write in between shows as a change afterwards, never the other way round.
        let stamp = Stamp::of(path);
        let state = FileState {
            looked_at: Instant::now(),
            stamp,
            is_racy: stamp.is_some_and(Stamp::is_racy),
            problem: None,
        };
        let table = read(path, variable)?;
        let file = KeysFile { path: path.clone(), variable, state: Mutex::new(state) };
        let settings = if variable.is_some() { "PROXY_API_KEY or PROXY_API_KEYS_FILE" } else { VARIABLE };
        Ok(Some(Self { settings, current: Mutex::new(Arc::new(table)), file: Some(file) }))
    }

    /// What callers must do, for the log and `check`.
    pub(crate) fn summary(&self) -> String {
        if self.file.is_none() {
            return format!("must present {}", self.settings);
        }
        let table = lock(&self.current);
        format!("must present a key of {}: keys {}, callers {}", self.settings, table.keys(), table.callers())
    }

    /// The name of the caller whose key the request has, in any place where a client of Azure or OpenAI puts one.
    ///
    /// # Errors
    ///
    /// A 401 response in OpenAI's form.
    pub(super) fn identify(&self, head: &Head) -> Result<Arc<str>, ErrorResponse> {
        let presented = api_key::presented(&head.headers, &head.target);
        let table = self.current();
        if let Some(name) = table.find(presented.iter().map(|key| key.as_slice())) {
            return Ok(Arc::clone(name));
        }
        let settings = self.settings;
        let message = if presented.is_empty() {
            format!("auth-proxy requires an API key ({settings}): send it as api-key or as a bearer token")
        } else {
            format!("the API key sent to auth-proxy does not match {settings}")
        };
        let mut response = ErrorResponse::request(StatusCode::UNAUTHORIZED, "invalid_api_key", message);
        response.should_retry = Some(false);
        Err(response)
    }

    /// The keys that hold now; the file is read again before, if it has changed.
    fn current(&self) -> Arc<KeyTable> {
        if let Some(file) = &self.file
            && let Some(mut state) = files::try_lock(&file.state)
            && state.looked_at.elapsed() >= LOOK_EVERY
        {
            state.looked_at = Instant::now();
            let stamp = Stamp::of(&file.path);
            // What was wrong may have been the system's fault, of which a stamp shows nothing.
            if stamp != state.stamp || state.is_racy || state.problem.is_some() {
                state.stamp = stamp;
                state.is_racy = stamp.is_some_and(Stamp::is_racy);
                self.read_again(file, &mut state);
            }
        }
        Arc::clone(&lock(&self.current))
    }

    fn read_again(&self, file: &KeysFile, state: &mut FileState) {
        let path = file.path.display();
        let table = match read(&file.path, file.variable) {
            Ok(table) => table,
            Err(problem) => {
                if state.problem.as_ref() != Some(&problem.message) {
                    let hint = format!("the keys read before stay valid; {}", problem.hints.join("; "));
                    let keys = lock(&self.current).keys();
                    log::warn(&problem.message, &[("hint", &hint), ("keys", &keys)]);
                    state.problem = Some(problem.message);
                }
                return;
            }
        };
        let was_bad = state.problem.take().is_some();
        let (keys, callers) = (table.keys(), table.callers());
        let mut current = lock(&self.current);
        let has_changed = **current != table;
        if has_changed {
            *current = Arc::new(table);
        }
        drop(current);
        if has_changed {
            log::info(
                "PROXY_API_KEYS_FILE changed; using its keys",
                &[("file", &path), ("keys", &keys), ("callers", &callers)],
            );
        } else if was_bad {
            log::info("PROXY_API_KEYS_FILE is valid again and unchanged", &[("file", &path)]);
        }
    }
}

fn read(path: &Path, variable: Option<KeyDigest>) -> Result<KeyTable, Problem> {
    let name = format!("{VARIABLE} {}", path.display());
    let unreadable = |error| file_not_opened(VARIABLE, path, &error);
    let file = files::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "is a directory" } else { "is not a regular file" };
        return Err(Problem::new(format!("{name} {what}"))
            .hint("it must name a file, which is read again when it changes; in a Secret's volume a key is the file's name"));
    }
    // Whoever reads the digests can try guessed keys on them, unlimited and unseen.
    if metadata.mode() & 0o004 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(Problem::new(format!("{name} is readable by everybody (mode {mode:04o})"))
            .hint(format!("chmod 640 {}, with a group that auth-proxy runs in", shell_quoted(path)))
            .hint("kubernetes: defaultMode: 0440 on the secret's volume, and securityContext.fsGroup on the pod"));
    }
    if metadata.mode() & 0o002 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(Problem::new(format!("{name} is writable by everybody (mode {mode:04o})"))
            .hint(format!("chmod 640 {}: whoever writes it may call", shell_quoted(path))));
    }
    let bytes = files::read_bounded(file, MAX_FILE).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => Problem::new(format!("{name} is larger than {} MiB", MAX_FILE >> 20))
            .hint("this is the wrong file, or it was appended to by mistake: check its content"),
        _ => unreadable(error),
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Problem::new(format!("{name} is not UTF-8 text"))
            .hint("save it as plain text: lines of a name and a SHA-256, as auth-proxy hash-key prints them")
    })?;
    KeyTable::parse(&name, text, variable)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::identity::pems;

    const KEY: &str = "0123456789abcdef";

    fn open(path: &Path) -> Callers {
        let settings = |name: &str| match name {
            "AZURE_CLIENT_ID" | "AZURE_TENANT_ID" => Some("11111111-2222-4333-8444-555555555555".into()),
            "AZURE_CERTIFICATE_PATH" => Some("/nowhere.pem".into()),
            "API_BASE_URL" => Some("https://name.openai.azure.com".into()),
            "PROXY_API_KEYS_FILE" => Some(path.to_str().unwrap().to_owned()),
            _ => None,
        };
        Callers::open(&Config::from_lookup(&settings).unwrap()).unwrap().unwrap()
    }

    fn put(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_changed_file_is_read_at_the_next_look_and_a_bad_one_is_logged_once() {
        let directory = pems::scratch("file of keys");
        let path = directory.join("keys");
        put(&path, &line("a", KEY));
        let callers = open(&path);
        let state = || lock(&callers.file.as_ref().unwrap().state);
        let names = || {
            let table = callers.current();
            [KEY, "another-key-of-16"].map(|key| table.find([key.as_bytes()]).map(|name| name.to_string()))
        };
        let look = || {
            state().looked_at = Instant::now().checked_sub(LOOK_EVERY).unwrap();
            names()
        };
        let (a, b) = (Some("a".to_owned()), Some("b".to_owned()));
        put(&path, &line("b", "another-key-of-16"));
        assert_eq!(names(), [a.clone(), None], "it was looked at a moment ago");
        assert_eq!(look(), [None, b.clone()]);

        put(&path, "no key");
        assert_eq!(look(), [None, b.clone()]);
        let problem = state().problem.clone().expect("it is logged");
        assert!(problem.ends_with("keys line 1 is not a name and a SHA-256"), "{problem}");
        assert_eq!((look(), state().problem.clone()), ([None, b.clone()], Some(problem)), "the same");
        fs::remove_file(&path).unwrap();
        assert_eq!(look(), [None, b.clone()]);
        assert!(state().problem.as_ref().unwrap().ends_with("does not exist"));
        put(&path, &line("b", "another-key-of-16"));
        assert_eq!((look(), state().problem.clone()), ([None, b], None), "a later fault is logged again");

        // Two writes within a tick of the kernel's clock leave the same stamp.
        put(&path, &line("a", KEY));
        (state().stamp, state().is_racy) = (Stamp::of(&path), true);
        assert_eq!(look(), [a, None]);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn whoever_finds_somebody_looking_does_not_wait() {
        let directory = pems::scratch("file of keys that hangs");
        let path = directory.join("keys");
        put(&path, &line("a", KEY));
        let callers = open(&path);
        let mut looking = lock(&callers.file.as_ref().unwrap().state);
        looking.looked_at = Instant::now().checked_sub(LOOK_EVERY).unwrap();
        put(&path, &line("b", KEY));
        assert_eq!(callers.current().find([KEY.as_bytes()]).map(|name| &**name), Some("a"));
        drop(looking);
        assert_eq!(callers.current().find([KEY.as_bytes()]).map(|name| &**name), Some("b"));
        fs::remove_dir_all(directory).unwrap();
    }
}

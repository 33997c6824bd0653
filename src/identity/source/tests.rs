//! Rotation: which certificate is used, and when a change of the file is noticed.

mod notices;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::clock::MockClock;
use crate::identity::pems::{self, pem};

/// 2027-01-15.
const NOW: u64 = 1_800_000_000;

/// A source on a file of its own.
struct Fixture {
    directory: PathBuf,
    file: PathBuf,
    mock_clock: Arc<MockClock>,
    source: CertificateSource,
}

impl Fixture {
    fn with(name: &str, prepare: impl FnOnce(&Path) -> PathBuf) -> Self {
        let directory = pems::scratch(name);
        let file = prepare(&directory);
        let mock_clock = MockClock::at_unix(NOW);
        let source = open(&file, &mock_clock).unwrap();
        Self { directory, file, mock_clock, source }
    }

    /// On a plain file with the content of `key-first.pem`.
    fn new(name: &str) -> Self {
        Self::with(name, |directory| {
            let file = directory.join("id.pem");
            fs::write(&file, content("key-first.pem")).unwrap();
            file
        })
    }

    fn move_over(&self, name: &str) {
        let draft = self.directory.join("draft");
        fs::write(&draft, content(name)).unwrap();
        fs::rename(&draft, &self.file).unwrap();
    }

    /// Takes the change in and says which certificate is in use then.
    fn after_refresh(&mut self) -> (String, Vec<String>) {
        let notices = self.source.refresh().iter().map(describe).collect();
        let current = self.source.current().certificate();
        assert_eq!(*current, *self.source.certificate(), "the handle shows what is in use");
        (current.subject.clone(), notices)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn open(file: &Path, mock_clock: &Arc<MockClock>) -> Result<CertificateSource, Problem> {
    // What make.sh encrypts with; the others do not mind.
    let password = Some(Arc::new(Secret::new("secret".to_owned())));
    let clock = Clock::mock(Arc::clone(mock_clock));
    CertificateSource::open(
        file,
        password,
        Algorithm::Ps256,
        false,
        "client",
        "https://login.example/token",
        clock,
    )
}

fn content(name: &str) -> Vec<u8> {
    fs::read(pem(name)).unwrap()
}

/// A notice in a word, and what it is about.
fn describe(notice: &Notice) -> String {
    notice.log();
    match notice {
        Notice::Expires { days, .. } => format!("expires {days}"),
        Notice::GoodAgain(_) => "good again".to_owned(),
        Notice::StillInUse(problem, _) => {
            assert!(!problem.hints.is_empty(), "{problem}");
            let ends = [".pem ", ".pfx ", "tls.crt ", "tls.key "].iter();
            let fact = ends
                .filter_map(|end| Some(problem.message.split_once(end)?.1))
                .next()
                .expect("the file is named");
            format!("kept: {fact}")
        }
        Notice::Unknown { new, .. } => format!("unknown: {}", new.subject),
        Notice::Accepted(certificate) => format!("accepted: {}", certificate.subject),
        Notice::Note(problem) => format!("note: {}", problem.message),
        Notice::Renewed(certificate) => format!("renewed: {}", certificate.subject),
    }
}

fn renewed() -> (String, Vec<String>) {
    ("CN=auth-proxy other".to_owned(), vec!["renewed: CN=auth-proxy other".to_owned()])
}

fn kept(fact: &str) -> (String, Vec<String>) {
    ("CN=auth-proxy test".to_owned(), vec![format!("kept: {fact}")])
}

fn good_again() -> (String, Vec<String>) {
    ("CN=auth-proxy test".to_owned(), vec!["good again".to_owned()])
}

fn kept_silently() -> (String, Vec<String>) {
    ("CN=auth-proxy test".to_owned(), Vec::new())
}

/// The thumbprint in the header of the next assertion.
fn thumbprint(source: &mut CertificateSource) -> String {
    thumbprint_of(&source.assertion().unwrap())
}

fn thumbprint_of(assertion: &Secret<String>) -> String {
    let header = assertion.expose().split('.').next().unwrap();
    let header: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["x5t#S256"].as_str().unwrap().to_owned()
}

#[test]
fn at_start_every_problem_is_an_error() {
    let mock_clock = MockClock::at_unix(NOW);
    for name in ["expired.pem", "future.pem", "mismatch.pem", "truncated.pem", "encrypted-rc4.pem"] {
        assert!(open(&pem(name), &mock_clock).is_err(), "{name}");
    }
    assert!(open(Path::new("/nowhere/id.pem"), &mock_clock).is_err());
}

/// Each row: what Entra ID says of the last assertion, and then: which certificate is in use, whether there is one to go back
/// to, and whether that is an alarm.
#[test]
fn a_certificate_that_entra_id_does_not_know_leaves_the_one_before_in_use() {
    let mut fixture = Fixture::new("unknown");
    let (old, new) = ("CN=auth-proxy test", "CN=auth-proxy other");
    let in_use = |fixture: &Fixture| fixture.source.current().certificate().subject.clone();
    assert!(fixture.source.fallback().is_none(), "there is none before the first");
    fixture.source.assertion().unwrap();
    fixture.source.accepted();
    let first = thumbprint(&mut fixture.source);

    fixture.move_over("other.pem");
    let second = thumbprint(&mut fixture.source);
    assert_ne!(first, second);
    assert!(fixture.source.fallback().is_none(), "the first refusal is an error");
    assert_eq!((in_use(&fixture), fixture.source.current().is_reload_failing()), (new.to_owned(), false));
    for _ in 0..2 {
        assert_eq!(thumbprint(&mut fixture.source), second, "the new one is tried each time");
        assert_eq!(thumbprint_of(&fixture.source.fallback().unwrap()), first);
        fixture.source.fell_back();
        assert_eq!((in_use(&fixture), fixture.source.current().is_reload_failing()), (old.to_owned(), true));
    }
    // Uploaded.
    fixture.source.accepted();
    assert_eq!((in_use(&fixture), fixture.source.current().is_reload_failing()), (new.to_owned(), false));
    assert!(fixture.source.fallback().is_none(), "the old one is forgotten");

    // Back to a file that was in use: no other is needed.
    fixture.move_over("key-first.pem");
    fixture.source.assertion().unwrap();
    assert!(fixture.source.fallback().is_none());
    fixture.move_over("other.pem");
    fixture.source.assertion().unwrap();
    assert!(fixture.source.fallback().is_none(), "it is the one before, which Entra ID knows");
    fixture.source.accepted();

    // An expired one is of no use.
    fixture.move_over("key-first.pem");
    fixture.source.assertion().unwrap();
    assert!(fixture.source.fallback().is_none());
    fixture.mock_clock.jump_unix(NOW + 100 * 365 * DAY_SECONDS);
    assert!(fixture.source.fallback().is_none());
}

#[test]
fn an_unchanged_file_is_quiet() {
    let mut fixture = Fixture::new("unchanged");
    assert!(!fixture.source.changed());
    let before = thumbprint(&mut fixture.source);
    assert_eq!(fixture.after_refresh(), kept_silently());
    assert_eq!(thumbprint(&mut fixture.source), before);
    assert!(!fixture.source.changed());
}

#[test]
fn what_is_unchanged_is_not_decrypted_again() {
    for name in ["pfx.pfx", "pfx-base64.pem", "encrypted.pem", "key-first.pem"] {
        let mut fixture = Fixture::with(&format!("same {name}"), |directory| {
            let file = directory.join("id.pem");
            fs::write(&file, content(name)).unwrap();
            file
        });
        let first = fixture.source.current().certificate();
        fixture.move_over(name);
        assert_eq!(fixture.after_refresh(), kept_silently());
        assert!(Arc::ptr_eq(&first, &fixture.source.current().certificate()), "{name}: loaded again");
        fixture.move_over("other.pem");
        assert_eq!(fixture.after_refresh(), renewed());
    }
}

#[test]
fn kubelets_symlink_swap_is_followed() {
    let mut fixture = Fixture::with("symlink", |directory| {
        for (version, name) in [("..1", "key-first.pem"), ("..2", "other.pem")] {
            fs::create_dir(directory.join(version)).unwrap();
            fs::write(directory.join(version).join("id.pem"), content(name)).unwrap();
        }
        symlink("..1", directory.join("..data")).unwrap();
        symlink("..data/id.pem", directory.join("id.pem")).unwrap();
        directory.join("id.pem")
    });
    assert!(!fixture.source.changed());
    let before = thumbprint(&mut fixture.source);
    let swap = fixture.directory.join("..data_tmp");
    symlink("..2", &swap).unwrap();
    fs::rename(&swap, fixture.directory.join("..data")).unwrap();
    fs::remove_dir_all(fixture.directory.join("..1")).unwrap();
    assert!(fixture.source.changed());
    assert_eq!(fixture.after_refresh(), renewed());
    assert_ne!(thumbprint(&mut fixture.source), before);
    assert!(!fixture.source.changed());
}

#[test]
fn a_file_moved_over_the_old_one_is_taken() {
    let mut fixture = Fixture::new("rename");
    fixture.move_over("other.pem");
    assert!(fixture.source.changed());
    assert_eq!(fixture.after_refresh(), renewed());
    assert!(!fixture.source.changed());
}

#[test]
fn a_write_in_place_is_taken() {
    let mut fixture = Fixture::new("in place");
    fs::write(&fixture.file, content("other.pem")).unwrap();
    assert!(wait_for_change(&mut fixture.source));
    assert_eq!(fixture.after_refresh(), renewed());
}

#[test]
fn half_a_file_is_not_taken_and_its_completion_is_noticed() {
    let mut fixture = Fixture::new("half");
    let new = content("other.pem");
    // A key's length differs by a few bytes from run to run: cut where the lines are.
    let key = content("other.key").len();
    for (length, fact) in [
        (0, "is empty"),
        (900, "is cut off: the PRIVATE KEY block that begins on line 1 has no END line"),
        (key, "has a private key but no certificate"),
        (key + 20, "is cut off: the last block that begins on line 29 has no END line"),
        (key + 300, "is cut off: the CERTIFICATE block that begins on line 29 has no END line"),
    ] {
        fs::write(&fixture.file, &new[..length]).unwrap();
        assert!(wait_for_change(&mut fixture.source));
        assert_eq!(fixture.after_refresh(), kept(fact));
        assert!(!fixture.source.changed(), "nothing new since");
        assert_eq!(fixture.after_refresh(), kept_silently(), "logged once");
    }
    fs::write(&fixture.file, &new).unwrap();
    assert!(wait_for_change(&mut fixture.source));
    assert_eq!(fixture.after_refresh(), renewed());
}

#[test]
fn a_racy_file_that_stays_as_it_is_does_not_count_as_changed() {
    let mut fixture = Fixture::new("recent");
    assert_eq!(fixture.after_refresh(), kept_silently());
    let deadline = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < deadline {
        assert!(!fixture.source.changed());
        std::thread::yield_now();
    }
}

#[test]
fn key_and_certificate_may_change_one_after_the_other() {
    let mut fixture = Fixture::new("apart");
    let join = |parts: [&str; 2]| parts.map(content).concat();
    fs::write(&fixture.file, join(["other.key", "leaf.crt"])).unwrap();
    assert_eq!(
        fixture.after_refresh(),
        kept("has a private key that belongs to none of its certificates: CN=auth-proxy test")
    );
    assert_eq!(fixture.after_refresh(), kept_silently());
    fs::write(&fixture.file, join(["other.key", "other.crt"])).unwrap();
    assert_eq!(fixture.after_refresh(), renewed());
}

#[test]
fn a_file_that_goes_away_and_comes_back_is_noticed() {
    let mut fixture = Fixture::new("away");
    let aside = fixture.directory.join("aside");
    fs::rename(&fixture.file, &aside).unwrap();
    assert!(fixture.source.changed());
    assert_eq!(fixture.after_refresh(), kept("does not exist"));
    assert!(!fixture.source.changed());
    fs::rename(&aside, &fixture.file).unwrap();
    assert!(fixture.source.changed());
    assert_eq!(fixture.after_refresh(), good_again());
}

/// Each is named once, none is waited for, and the good file is taken again when it is back.
#[test]
fn whatever_takes_the_files_place_leaves_the_pair_in_use() {
    let mut fixture = Fixture::with("its place", |directory| {
        fs::create_dir(directory.join("volume")).unwrap();
        let file = directory.join("volume/id.pem");
        fs::write(&file, content("key-first.pem")).unwrap();
        file
    });
    let (volume, aside) = (fixture.directory.join("volume"), fixture.directory.join("aside"));
    let before = thumbprint(&mut fixture.source);
    type Intruder = fn(&Path);
    let intruders: [(Intruder, &str); 5] = [
        (|_| (), "does not exist"),
        (|file| fs::create_dir_all(file).unwrap(), "is a directory"),
        (
            |file| {
                fs::create_dir(file.parent().unwrap()).unwrap();
                assert!(std::process::Command::new("mkfifo").arg(file).status().unwrap().success());
            },
            "is not a regular file",
        ),
        (
            |file| {
                fs::create_dir(file.parent().unwrap()).unwrap();
                symlink("gone", file).unwrap();
            },
            "is a symbolic link to gone, which does not exist",
        ),
        (
            |file| {
                fs::create_dir(file.parent().unwrap()).unwrap();
                fs::write(file, vec![b'\n'; 1024 * 1024 + 1]).unwrap();
            },
            "is larger than 1024 KiB",
        ),
    ];
    for (intrude, fact) in intruders {
        fs::rename(&volume, &aside).unwrap();
        intrude(&fixture.file);
        assert!(fixture.source.changed(), "{fact}");
        assert_eq!(fixture.after_refresh(), kept(fact));
        assert_eq!(fixture.after_refresh(), kept_silently(), "{fact}");
        assert_eq!(thumbprint(&mut fixture.source), before, "{fact}");
        let _ = fs::remove_dir_all(&volume);
        fs::rename(&aside, &volume).unwrap();
        assert!(fixture.source.changed(), "{fact}");
        assert_eq!(fixture.after_refresh(), good_again(), "{fact}");
    }
    fixture.move_over("other.pem");
    assert_eq!(fixture.after_refresh(), renewed());
}

#[test]
fn a_pfx_is_replaced_and_a_bad_one_is_not_taken() {
    let mut fixture = Fixture::with("pfx", |directory| {
        let file = directory.join("id.pfx");
        fs::write(&file, content("pfx.pfx")).unwrap();
        file
    });
    let before = thumbprint(&mut fixture.source);
    let whole = content("pfx-aes256.pfx");
    for bad in [&whole[..whole.len() / 2], b"", &content("pfx-unicode.pfx")] {
        fs::write(&fixture.file, bad).unwrap();
        assert!(wait_for_change(&mut fixture.source));
        let fact = match bad {
            [] => "is empty",
            _ => "is PKCS#12 (PFX) that does not open: the password is wrong or the file is damaged",
        };
        // The same message is not repeated until the file was good.
        fixture.source.already_warned.clear();
        assert_eq!(fixture.after_refresh(), kept(fact));
        assert_eq!(fixture.after_refresh(), kept_silently(), "logged once");
        assert_eq!(thumbprint(&mut fixture.source), before);
    }
    fixture.move_over("other.pfx");
    assert!(fixture.source.changed());
    assert_eq!(fixture.after_refresh(), renewed());
    // Another form in the same place.
    fixture.move_over("encrypted-scrypt.pem");
    assert_eq!(fixture.after_refresh().1, ["renewed: CN=auth-proxy test"]);
}

/// A kubernetes.io/tls Secret as kubelet mounts it, and a directory in which the files are written one by one.
#[test]
fn a_directory_is_read_again_when_either_file_changes() {
    let mut fixture = Fixture::with("tls", |directory| {
        for (version, name) in [("..1", "leaf"), ("..2", "other")] {
            fs::create_dir(directory.join(version)).unwrap();
            for (file, end) in [("tls.crt", "crt"), ("tls.key", "key")] {
                fs::write(directory.join(version).join(file), content(&format!("{name}.{end}"))).unwrap();
            }
        }
        symlink("..1", directory.join("..data")).unwrap();
        for file in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(file), directory.join(file)).unwrap();
        }
        directory.to_owned()
    });
    assert!(!fixture.source.changed());
    assert_eq!(fixture.after_refresh(), kept_silently());
    let swap = fixture.directory.join("..data_tmp");
    symlink("..2", &swap).unwrap();
    fs::rename(&swap, fixture.directory.join("..data")).unwrap();
    assert!(fixture.source.changed());
    assert_eq!(fixture.after_refresh(), renewed());
    assert!(!fixture.source.changed());

    // Back again, one file after the other.
    let kept = |fact: &str| ("CN=auth-proxy other".to_owned(), vec![format!("kept: {fact}")]);
    let directory = fixture.directory.clone();
    let replace = |file: &str, bytes: &[u8]| {
        fs::write(directory.join("draft"), bytes).unwrap();
        fs::rename(directory.join("draft"), directory.join(file)).unwrap();
    };
    replace("tls.crt", &content("leaf.crt"));
    assert!(fixture.source.changed());
    let key = directory.join("tls.key");
    let fact = format!("has no certificate for the private key in {}: CN=auth-proxy test", key.display());
    assert_eq!(fixture.after_refresh(), kept(&fact));
    fs::remove_file(&key).unwrap();
    assert!(fixture.source.changed());
    assert_eq!(fixture.after_refresh(), kept("does not exist"));
    replace("tls.key", &content("ec.key"));
    assert_eq!(fixture.after_refresh(), kept("has a private key of kind EC; Entra ID takes RSA keys only"));
    replace("tls.key", &content("leaf.key"));
    assert!(fixture.source.changed());
    assert_eq!(fixture.after_refresh().1, ["renewed: CN=auth-proxy test"]);
}

#[test]
fn the_key_of_a_directory_may_be_encrypted() {
    let fixture = Fixture::with("encrypted tls", |directory| {
        fs::write(directory.join("tls.crt"), content("chain-of-three.crt")).unwrap();
        fs::write(directory.join("tls.key"), content("encrypted.pem")).unwrap();
        directory.to_owned()
    });
    assert_eq!(fixture.source.certificate().chain.len(), 3);
}

#[test]
fn a_directory_of_other_files_is_named_with_them() {
    let directory = pems::scratch("no tls");
    fs::write(directory.join("certificate.pem"), content("key-first.pem")).unwrap();
    let problem = open(&directory, &MockClock::at_unix(NOW)).map(|_| ()).unwrap_err();
    assert!(problem.message.ends_with("is a directory"), "{problem}");
    assert!(
        problem.hints[0].contains("certificate.pem") && problem.hints[1].contains("tls.key"),
        "{problem}"
    );
    // In the directory of a Secret a PFX is a file like others.
    fs::write(directory.join("tls.crt"), content("pfx.pfx")).unwrap();
    fs::write(directory.join("tls.key"), content("leaf.key")).unwrap();
    let problem = open(&directory, &MockClock::at_unix(NOW)).map(|_| ()).unwrap_err();
    assert!(problem.message.ends_with("tls.crt is PKCS#12 (PFX), not PEM"), "{problem}");
    fs::remove_dir_all(directory).unwrap();
}

/// Right after a write within one tick of the clock, the change may show only when the tick is over.
fn wait_for_change(source: &mut CertificateSource) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if source.changed() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

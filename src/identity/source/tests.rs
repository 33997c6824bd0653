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
    let clock = Clock::mock(Arc::clone(mock_clock));
    CertificateSource::open(file, Algorithm::Ps256, false, "client", "https://login.example/token", clock)
}

fn content(name: &str) -> Vec<u8> {
    fs::read(pem(name)).unwrap()
}

/// A notice in a word, and what it is about.
fn describe(notice: &Notice) -> String {
    notice.log();
    match notice {
        Notice::Expires { days, .. } => format!("expires {days}"),
        Notice::StillInUse(problem, _) => {
            assert!(!problem.hints.is_empty(), "{problem}");
            let fact = problem.message.split_once(".pem ").expect("the file is named").1;
            format!("kept: {fact}")
        }
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

fn kept_silently() -> (String, Vec<String>) {
    ("CN=auth-proxy test".to_owned(), Vec::new())
}

/// The thumbprint in the header of the next assertion.
fn thumbprint(source: &mut CertificateSource) -> String {
    let assertion = source.assertion().unwrap();
    let header = assertion.expose().split('.').next().unwrap();
    let header: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["x5t#S256"].as_str().unwrap().to_owned()
}

#[test]
fn at_start_every_problem_is_an_error() {
    let mock_clock = MockClock::at_unix(NOW);
    for name in ["expired.pem", "future.pem", "mismatch.pem", "truncated.pem", "encrypted.pem"] {
        assert!(open(&pem(name), &mock_clock).is_err(), "{name}");
    }
    assert!(open(Path::new("/nowhere/id.pem"), &mock_clock).is_err());
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
    assert_eq!(fixture.after_refresh(), kept_silently());
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
        assert_eq!(fixture.after_refresh(), kept_silently(), "{fact}");
    }
    fixture.move_over("other.pem");
    assert_eq!(fixture.after_refresh(), renewed());
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

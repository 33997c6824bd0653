//! `PROXY_API_KEYS_FILE`: what it may look like, that it may change at any time, and that a bad one changes nothing.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Keys, line, put, status};
use crate::sim::{Options, Sim, wait_for};
use crate::support::api::MODELS;
use crate::support::program::{Proxy, environment, run_to_end};

const FIRST: &str = "first-key-of-team-a-0123456789";
const SECOND: &str = "second-key-of-team-a-0123456789";
const IN_CLEAR: &str = "sk-in-clear-0123456789abcdef";

fn sim() -> Sim {
    Sim::start(Options { azure_tls: false, ..Options::default() })
}

/// How a file is bad: it is put there, and what the message says.
type Bad = (&'static str, fn(&Path), &'static [&'static str]);

// What has the same message twice in a row would be logged once.
const BAD: &[Bad] = &[
    ("missing", |_| {}, &["does not exist"]),
    ("empty", |path| put(path, b"", 0o640), &["has no key", "auth-proxy hash-key"]),
    (
        "a key in clear",
        |path| put(path, format!("# team a\nteam-a {IN_CLEAR}\n").as_bytes(), 0o640),
        &["line 2 is not a name and a SHA-256", "auth-proxy hash-key"],
    ),
    (
        "half written",
        |path| put(path, &[b"\n\n", &line("team-a", FIRST).as_bytes()[..40]].concat(), 0o640),
        &["line 3 is not a name and a SHA-256"],
    ),
    (
        "a name with a character that it may not have",
        |path| put(path, line("team/a", FIRST).as_bytes(), 0o640),
        &["line 1 is not a name and a SHA-256", "1 to 64 letters"],
    ),
    (
        "the same line twice",
        |path| put(path, (line("a", FIRST) + &line("a", FIRST)).as_bytes(), 0o640),
        &["line 2 has the same key as line 1 (duplicate)"],
    ),
    (
        "one key under two names",
        |path| put(path, format!("{}\n{}", line("a", FIRST), line("b", FIRST)).as_bytes(), 0o640),
        &["line 3 has the same key as line 1 (duplicate)"],
    ),
    (
        "a third key of one name",
        |path| {
            let lines = ["1", "2", "3"].map(|number| line("a", &format!("{FIRST}{number}")));
            put(path, lines.concat().as_bytes(), 0o640);
        },
        &["line 3 is a third key of the name that line 1 and line 2 have (duplicate)", "remove the oldest"],
    ),
    ("comments alone", |path| put(path, b"# team-a\n\n", 0o640), &["has no key"]),
    ("not UTF-8", |path| put(path, b"team-\xff", 0o640), &["is not UTF-8 text"]),
    (
        "too large",
        |path| {
            put(path, line("team-a", FIRST).as_bytes(), 0o640);
            File::options().write(true).open(path).unwrap().set_len((1 << 20) + 1).unwrap();
        },
        &["is larger than 1 MiB"],
    ),
    (
        "readable by everybody",
        |path| put(path, line("team-a", FIRST).as_bytes(), 0o644),
        &["is readable by everybody (mode 0644)", "chmod 640", "defaultMode: 0440", "fsGroup"],
    ),
    ("a directory", |path| fs::create_dir(path).unwrap(), &["is a directory"]),
    (
        "a pipe",
        |path| assert!(Command::new("mkfifo").args(["-m", "640"]).arg(path).status().unwrap().success()),
        &["is not a regular file"],
    ),
    ("a link to nothing", |path| symlink("nothing", path).unwrap(), &["symbolic link"]),
];

/// Whatever was there.
fn remove(path: &Path) {
    let _ = fs::remove_dir(path);
    let _ = fs::remove_file(path);
}

#[test]
fn at_start_a_bad_file_ends_the_program_with_its_remedy() {
    let sim = sim();
    let path = sim.dir.join("keys");
    let variables = [("PROXY_API_KEYS_FILE", path.to_str().unwrap())];
    for (how, put, expected) in BAD {
        remove(&path);
        put(&path);
        let finished = run_to_end(&[], environment(&sim, &variables));
        assert_eq!(finished.status.code(), Some(3), "{how}: {finished:?}");
        let printed = &finished.stderr;
        let start = format!("error: PROXY_API_KEYS_FILE {}", path.display());
        let problem = printed.split_once(&start).unwrap_or_else(|| panic!("{how}: {printed}")).1;
        assert!(expected.iter().all(|text| problem.contains(text)), "{how}: {printed}");
        assert!(problem.contains("\n  hint: ") && !printed.contains(IN_CLEAR), "{how}: {printed}");
    }
    let check = run_to_end(&["check"], environment(&sim, &variables));
    assert_eq!(check.status.code(), Some(2), "{check:?}");
    assert!(check.stdout.contains("PROXY_API_KEYS_FILE"), "{check:?}");
}

#[test]
fn at_run_time_a_bad_file_is_logged_and_the_keys_read_before_stay_valid() {
    let sim = sim();
    let keys = Keys::new(&sim, &line("team-a", FIRST));
    let proxy = Proxy::start_with(&sim, &[("PROXY_API_KEYS_FILE", keys.path())]);
    for (how, put, expected) in BAD {
        let logged_before = proxy.log().len();
        remove(&keys.0);
        put(&keys.0);
        let warning = || {
            let log = proxy.log();
            let new = log.iter().skip(logged_before).filter(|line| line.contains(" warn "));
            new.filter(|line| line.contains(expected[0])).count()
        };
        wait_for(&format!("a warning about: {how}"), || {
            assert_eq!(status(&proxy, FIRST), 200, "{how}");
            warning() > 0
        });
        assert_eq!((status(&proxy, FIRST), warning()), (200, 1), "{how}");
    }
    remove(&keys.0);
    keys.replace(&line("team-a", FIRST));
    wait_for("the file to be valid again", || {
        assert_eq!(status(&proxy, FIRST), 200);
        proxy.log().iter().any(|line| line.contains("PROXY_API_KEYS_FILE is valid again and unchanged"))
    });
    keys.replace(&line("team-b", SECOND));
    wait_for("the new key to be valid", || status(&proxy, SECOND) == 200);
    assert_eq!(status(&proxy, FIRST), 401);
    let line = proxy.wait_log("PROXY_API_KEYS_FILE changed; using its keys");
    assert!(line.contains(" info ") && line.ends_with(" keys=1 callers=1"), "{line}");
    let log = proxy.log().join("\n");
    assert!(![FIRST, SECOND, IN_CLEAR].iter().any(|key| log.contains(key)), "a key is in the log");
}

#[test]
fn the_variable_and_the_file_count_together() {
    let sim = sim();
    let keys = Keys::new(&sim, &line("default", SECOND));
    let both = [("PROXY_API_KEY", FIRST), ("PROXY_API_KEYS_FILE", keys.path())];
    let proxy = Proxy::start_with(&sim, &both);
    for key in [FIRST, SECOND] {
        assert_eq!(status(&proxy, key), 200);
    }
    let refused = proxy.client().get(MODELS);
    assert!(refused.text().contains("PROXY_API_KEY or PROXY_API_KEYS_FILE"), "{}", refused.text());
    for (text, expected) in [
        (line("team-a", FIRST), "line 1 has the same key as PROXY_API_KEY (duplicate)"),
        (
            line("default", SECOND) + &line("default", "third-key-of-default-0123456789"),
            "line 2 is a third key of the name that PROXY_API_KEY and line 1 have (duplicate)",
        ),
    ] {
        keys.replace(&text);
        let finished = run_to_end(&[], environment(&sim, &both));
        assert_eq!(finished.status.code(), Some(3), "{finished:?}");
        assert!(finished.stderr.contains(expected), "{finished:?}");
    }
}

#[test]
fn a_secrets_volume_is_followed() {
    let sim = sim();
    let volume = sim.dir.join("volume");
    let publish = |version: &str, text: &str| {
        fs::create_dir_all(volume.join(version)).unwrap();
        put(&volume.join(version).join("keys"), text.as_bytes(), 0o440);
        symlink(version, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    };
    publish("..1", &line("team-a", FIRST));
    symlink("..data/keys", volume.join("keys")).unwrap();
    let path = volume.join("keys");
    let proxy = Proxy::start_with(&sim, &[("PROXY_API_KEYS_FILE", path.to_str().unwrap())]);
    assert_eq!((status(&proxy, FIRST), status(&proxy, SECOND)), (200, 401));
    publish("..2", &line("team-a", SECOND));
    wait_for("the new version", || status(&proxy, SECOND) == 200);
    assert_eq!(status(&proxy, FIRST), 401);
}

/// Clients of the load test, and how often each sends a request: 200 a second together.
const CLIENTS: usize = 8;
const EVERY: Duration = Duration::from_millis(40);

/// A new key is added, clients move, the old key is removed, while 200 requests a second are sent.
#[test]
fn keys_rotate_without_a_failure() {
    let sim = sim();
    let old = line("team-a", FIRST);
    let keys = Keys::new(&sim, &old);
    let proxy = Proxy::start_with(&sim, &[("PROXY_API_KEYS_FILE", keys.path()), ("LOG_LEVEL", "info")]);
    let (key, is_over) = (Mutex::new(FIRST), AtomicBool::new(false));
    let (sent, with_second) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let changes = || proxy.log().iter().filter(|line| line.contains("PROXY_API_KEYS_FILE changed")).count();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let (mut client, mut failures) = (proxy.client(), Vec::new());
                    let mut next = Instant::now();
                    while !is_over.load(Ordering::Relaxed) {
                        let key = *key.lock().unwrap();
                        let status = client.request("GET", MODELS, &[("api-key", key)], b"").status;
                        if status != 200 {
                            failures.push((status, key));
                        }
                        sent.fetch_add(1, Ordering::Relaxed);
                        with_second.fetch_add(usize::from(key == SECOND), Ordering::Relaxed);
                        next += EVERY;
                        std::thread::sleep(next.saturating_duration_since(Instant::now()));
                    }
                    failures
                })
            })
            .collect();
        let steps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("requests with the old key", || sent.load(Ordering::Relaxed) >= 200);
            keys.replace(&format!("{old}{}", line("team-a", SECOND)));
            wait_for("both keys to be valid", || changes() == 1);
            *key.lock().unwrap() = SECOND;
            wait_for("clients to move", || with_second.load(Ordering::Relaxed) >= 200);
            keys.replace(&line("team-a", SECOND));
            wait_for("the old key to be removed", || changes() == 2);
            let seen = sent.load(Ordering::Relaxed);
            wait_for("requests after that", || sent.load(Ordering::Relaxed) >= seen + 100);
        }));
        is_over.store(true, Ordering::Relaxed);
        let failures: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        assert!(failures.is_empty(), "{failures:?}");
        assert!(steps.is_ok());
    });
    let (sent, seconds) = (sent.into_inner(), started.elapsed().as_secs_f64());
    eprintln!("{sent} requests in {seconds:.1} s, {:.0} a second, without a failure", sent as f64 / seconds);
    assert_eq!((status(&proxy, FIRST), status(&proxy, SECOND)), (401, 200));
}

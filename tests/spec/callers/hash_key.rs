//! `auth-proxy hash-key`, and the example in the documentation.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::{Keys, line, status};
use crate::sim::{Options, Sim};
use crate::support::program::{Proxy, program};

const KEY: &str = "key-of-team-a-0123456789";

fn hash_key(name: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(program());
    command.arg("hash-key").args(name).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A wrong argument ends it before it reads.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[test]
fn it_prints_the_line_of_a_key() {
    for (name, input, caller) in [
        (&["team-a"][..], KEY.to_owned(), "team-a"),
        (&["team-a"], format!("{KEY}\n"), "team-a"),
        (&[], format!("{KEY}\r\n"), "default"),
        (&[], format!("team-b {KEY}\n"), "team-b"),
    ] {
        let output = hash_key(name, input.as_bytes());
        assert_eq!(output.status.code(), Some(0), "{input:?}: {output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), line(caller, KEY), "{input:?}");
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn it_refuses_what_is_no_key_and_shows_nothing_of_it() {
    let endless = vec![b'x'; 1 << 20];
    for (name, input) in [
        (&["team-a"][..], &b""[..]),
        (&["team-a"], b"hunter2-15chars"),
        (&["team-a"], b"hunter2 hunter2 hunter2"),
        (&["team-a"], b"hunter2-hunter2-hunter2\nhunter2-hunter2-hunter2\n"),
        (&["team-a"], b"hunter2-hunter2-h\xc3\xbcnter2"),
        (&["hunter2/a"], b"hunter2-hunter2-hunter2"),
        (&["team-a", "hunter2"], b""),
        (&["--key=hunter2"], b""),
        (&[], b"hunter2/a hunter2-hunter2-hunter2"),
        (&[], &endless),
    ] {
        let output = hash_key(name, input);
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name:?}: {printed}");
        assert!(printed.starts_with("error: hash-key: ") && printed.contains("\n  hint: "), "{printed}");
        assert!(!printed.contains("hunter2") && output.stdout.is_empty(), "{printed}");
    }
}

#[test]
fn the_example_in_the_documentation_makes_a_file_that_works() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/callers.md");
    let page = fs::read_to_string(page).unwrap();
    let example = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(example.contains("| auth-proxy hash-key team-a >> keys"), "{example}");
    let bin = sim.dir.join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(program(), bin.join("auth-proxy")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let script = format!("set -e\n{example}\nprintf %s \"$key\"");
    let output =
        Command::new("sh").args(["-c", &script]).current_dir(&sim.dir).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let key = String::from_utf8(output.stdout).unwrap();

    let keys = Keys(sim.dir.join("keys"));
    let proxy = Proxy::start_with(&sim, &[("PROXY_API_KEYS_FILE", keys.path())]);
    assert_eq!((status(&proxy, &key), status(&proxy, &key[1..])), (200, 401));
    assert!(proxy.wait_log(" caller=").contains(" caller=team-a "));
}

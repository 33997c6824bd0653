//! The small commands: `wait`, `healthcheck`, `--version`, `--help`, and what is none.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::sim::{Options, Sim};
use crate::support::client::Client;
use crate::support::program::{Finished, Proxy, environment, run_to_end};

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    run_to_end(arguments, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

#[test]
fn wait_ends_when_the_proxy_is_ready() {
    let sim = Sim::start(Options::default());
    sim.entra.stop();
    let port = free_port();
    let proxy = Proxy::spawn(environment(&sim, &[("PORT", &port), ("ADMIN_PORT", "0")]));
    proxy.wait_log("token refresh failed");
    let unready = run(&["wait", "--max=300ms"], &[("PORT", &port), ("HOST", "127.0.0.1")]);
    assert_eq!(unready.status.code(), Some(1));
    let reason =
        "there is no access token yet: the token endpoint could not be reached\n  hint: check firewall";
    assert!(
        unready.stderr.starts_with(&format!("error: not ready within 0.3 s: {reason}")),
        "{}",
        unready.stderr
    );
    let unhealthy = run(&["healthcheck"], &[("PORT", &port)]);
    assert_eq!(unhealthy.status.code(), Some(1));
    assert!(unhealthy.stderr.starts_with(&format!("error: not ready: {reason}")), "{}", unhealthy.stderr);
    let waiting = {
        let port = port.clone();
        std::thread::spawn(move || run(&["wait", "--max", "60s"], &[("PORT", &port)]))
    };
    std::thread::sleep(Duration::from_millis(300));
    assert!(!waiting.is_finished());
    sim.entra.restart();
    let ready = waiting.join().unwrap();
    assert_eq!((ready.status.code(), ready.stderr.as_str()), (Some(0), ""));
    let healthy = run(&["healthcheck"], &[("PORT", &port), ("ADMIN_PORT", "1")]);
    assert_eq!(healthy.status.code(), Some(0), "{healthy:?}");
}

#[test]
fn wait_ends_in_time_and_prints_why() {
    let port = free_port();
    let started = Instant::now();
    let finished = run(&["wait", "--max", "1"], &[("PORT", &port)]);
    assert_eq!(finished.status.code(), Some(1));
    assert!(started.elapsed() >= Duration::from_millis(500));
    let expected = format!("error: not ready within 1 s: no response from 127.0.0.1:{port}/health: ");
    assert!(finished.stderr.starts_with(&expected), "{}", finished.stderr);
}

#[test]
fn invalid_arguments_and_settings_are_named() {
    for (arguments, variable, code, expected) in [
        (&["wait", "--max", "soon"][..], ("PORT", ""), 2, "--max is not a length of time"),
        (&["wait"], ("PORT", "0"), 1, "PORT is 0"),
        (&["healthcheck"], ("PORT", "eighty"), 1, "PORT is not a port number"),
        (&["wait", "10s"], ("PORT", ""), 2, "wait: unknown argument: `10s`\n"),
        (&["wait", "--max"], ("PORT", ""), 2, "wait: --max has no value\n"),
        (&["check", "--yaml"], ("PORT", ""), 2, "check: unknown option: `--yaml`\n"),
        (&["run", "--port=80"], ("PORT", ""), 2, "run: unknown option: `--port`\n"),
        (&["serve"], ("PORT", ""), 2, "unknown command: `serve`\n"),
        (&["--config", "x"], ("PORT", ""), 2, "unknown option: `--config`\n"),
    ] {
        let finished = run(arguments, &[variable]);
        assert_eq!(finished.status.code(), Some(code), "{finished:?}");
        assert!(finished.stderr.contains(expected) && finished.stderr.contains("\n  hint: "), "{finished:?}");
        assert_eq!(finished.stdout, "", "{finished:?}");
    }
}

#[test]
fn every_command_has_its_help() {
    for (arguments, expected) in [
        (&["run", "--help"][..], "Usage: auth-proxy\n"),
        (&["check", "--help"], "Usage: auth-proxy check [--json]\n"),
        (&["check", "--json", "-h"], "Usage: auth-proxy check [--json]\n"),
        (&["healthcheck", "--help"], "Usage: auth-proxy healthcheck\n"),
        (&["wait", "--help"], "Usage: auth-proxy wait [--max 30s]\n"),
        (&["help", "wait"], "Usage: auth-proxy wait [--max 30s]\n"),
        (&["-h"], "Settings (environment; "),
    ] {
        let finished = run(arguments, &[]);
        assert_eq!((finished.status.code(), finished.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(finished.stdout.contains(expected), "{arguments:?}: {}", finished.stdout);
    }
}

/// Each names where it asked: what listens everywhere is asked on the loopback, and a name is what it resolves to.
#[test]
fn the_address_that_did_not_respond_is_named() {
    let port = free_port();
    for (host, asked) in [
        ("0.0.0.0", format!("127.0.0.1:{port}/health")),
        ("::", format!("[::1]:{port}/health")),
        ("127.0.0.1", format!("127.0.0.1:{port}/health")),
        ("localhost", format!("127.0.0.1:{port}/health")),
    ] {
        for (arguments, start) in [
            (&["healthcheck"][..], "error: not ready: "),
            (&["wait", "--max", "1ms"], "error: not ready within 0.001 s: "),
        ] {
            let finished = run(arguments, &[("PORT", &port), ("HOST", host)]);
            assert_eq!(finished.status.code(), Some(1), "{finished:?}");
            assert!(
                finished.stderr.starts_with(&format!("{start}no response from ")),
                "{host}: {finished:?}"
            );
            assert!(finished.stderr.contains(&asked), "{host}: {finished:?}");
            assert!(
                host == "127.0.0.1" || !finished.stderr.contains(&format!("{host}:{port}")),
                "{finished:?}"
            );
        }
    }
}

/// Whichever address of the name a client tries first.
#[test]
fn a_host_name_listens_on_each_of_its_addresses() {
    let sim = Sim::start(Options::default());
    let resolved: Vec<SocketAddr> = ("localhost", 0).to_socket_addrs().unwrap().collect();
    let usable = |v4: bool| {
        resolved.iter().find(|address| address.is_ipv4() == v4).filter(|it| TcpListener::bind(**it).is_ok())
    };
    let expected: BTreeSet<IpAddr> =
        [true, false].into_iter().filter_map(usable).map(SocketAddr::ip).collect();
    let proxy = Proxy::start_with(&sim, &[("HOST", "localhost"), ("ADMIN_PORT", "0")]);
    for (event, path) in [(" listening address=", "/health"), (" administration address=", "/livez")] {
        let addresses: Vec<SocketAddr> = proxy
            .log()
            .iter()
            .filter_map(|line| line.split_once(event)?.1.split(' ').next()?.parse().ok())
            .collect();
        assert_eq!(addresses.iter().map(SocketAddr::ip).collect::<BTreeSet<_>>(), expected, "{addresses:?}");
        for address in addresses {
            assert_eq!(Client::connect(address).get(path).status, 200, "{address}");
        }
    }
}

/// What responds there is not ours, and does so a byte at a time.
#[test]
fn healthcheck_does_not_wait_for_a_response_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let asking = std::thread::spawn(move || run(&["healthcheck"], &[("PORT", &port), ("HOST", "127.0.0.1")]));
    let (mut stream, _) = listener.accept().unwrap();
    while stream.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let finished = asking.join().unwrap();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains("/health: timed out"), "{finished:?}");
}

#[test]
fn the_version_names_the_target() {
    let finished = run(&["--version"], &[]);
    for same in ["-v", "-V", "version"] {
        assert_eq!(run(&[same], &[]).stdout, finished.stdout, "{same}");
    }
    let (version, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let expected = format!("auth-proxy {version} ({arch}-unknown-linux-");
    assert!(finished.stdout.starts_with(&expected), "{}", finished.stdout);
    assert_eq!(finished.stdout.lines().count(), 1);
}

#[test]
fn the_help_lists_every_command_and_the_documentation_every_exit_code() {
    let finished = run(&["--help"], &[]);
    assert_eq!((finished.status.code(), finished.stderr.as_str()), (Some(0), ""));
    assert!(finished.stdout.contains("\n  auth-proxy                    run until"), "{}", finished.stdout);
    for command in ["check [--json]", "healthcheck", "wait [--max 30s]", "--help", "--version"] {
        assert!(finished.stdout.contains(&format!("  auth-proxy {command}")), "{command}");
    }
    let document = std::fs::read_to_string("docs/settings.md").unwrap();
    for code in 0..=6 {
        let line = finished.stdout.lines().find(|line| line.starts_with(&format!("  {code}  "))).unwrap();
        assert!(
            document.contains(&format!("| {code} | {} |", &line[5..])),
            "docs/settings.md has other words: {line}"
        );
    }
}

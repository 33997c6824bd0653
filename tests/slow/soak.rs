//! A minute of everything at once, and two (`SOAK_SECONDS`) of an Entra ID that refuses half of the time: `make soak`.

use std::fs;
use std::time::{Duration, Instant};

use crate::sim::{Options, Sim, replace_file, wait_for};
use crate::support::program::Proxy;

use crate::support::api::every_token_was_good;
use crate::support::rotation::{Pair, Volume, used};
use crate::support::traffic::Traffic;

const LENGTH: Duration = Duration::from_secs(60);
const CLIENTS: u32 = 8;
const RATE: u32 = 200;

/// What happens at a second of the soak.
enum Event {
    /// Entra ID is away for a second.
    Restart,
    /// The certificate is replaced.
    Rotate(fn(&Volume, &Pair, &str)),
    /// The records of the upstream are checked before they are forgotten.
    Audit,
}

fn swap(volume: &Volume, new: &Pair, _: &str) {
    volume.publish("..2026_02", &new.pem);
}

fn rename(volume: &Volume, new: &Pair, _: &str) {
    replace_file(&volume.file(), &new.pem);
}

fn in_place(volume: &Volume, new: &Pair, _: &str) {
    fs::write(volume.file(), &new.pem).unwrap();
}

fn half_written(volume: &Volume, new: &Pair, _: &str) {
    fs::write(volume.file(), &new.pem[..new.pem.len() / 2]).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    fs::write(volume.file(), &new.pem).unwrap();
}

fn key_first_certificate_later(volume: &Volume, new: &Pair, old: &str) {
    let certificate = &old[old.find("-----BEGIN CERTIFICATE").unwrap()..];
    fs::write(volume.file(), new.halves().0.to_owned() + certificate).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    fs::write(volume.file(), &new.pem).unwrap();
}

/// The ways that can follow each other: after them the file is no link any more.
const WAYS: [fn(&Volume, &Pair, &str); 4] = [rename, in_place, half_written, key_first_certificate_later];

#[test]
fn a_minute_of_everything_at_once() {
    use Event::{Audit, Restart, Rotate};
    let events = [
        (4, Rotate(swap)),
        (13, Restart),
        (16, Rotate(rename)),
        (24, Rotate(in_place)),
        (30, Audit),
        (32, Rotate(half_written)),
        (43, Restart),
        (46, Rotate(key_first_certificate_later)),
    ];
    // Renewed when half of it is over, as without any word from Entra ID.
    let sim = Sim::start(Options { token_lifetime: 3, ..Options::default() });
    let mut current = fs::read_to_string(sim.certificate_path()).unwrap();
    let volume = Volume::new(sim.dir.join("volume"), &current);
    let proxy = Proxy::start_with(&sim, &[("AZURE_CERTIFICATE_PATH", volume.file().to_str().unwrap())]);
    sim.entra.set_fail_rate(0.3);

    let started = Instant::now();
    let traffic = Traffic::start(&proxy, CLIENTS, Duration::from_secs(1) * CLIENTS / RATE);
    let mut rotations = 0;
    for (second, event) in events {
        until(started + Duration::from_secs(second));
        match event {
            Audit => every_token_was_good(&sim),
            Restart => {
                sim.entra.stop();
                std::thread::sleep(Duration::from_secs(1));
                sim.entra.restart();
            }
            Rotate(how) => {
                let pair = Pair::uploaded(rotations, &sim);
                how(&volume, pair, &current);
                used(&sim, pair);
                sim.entra.register_only(&pair.pem);
                current.clone_from(&pair.pem);
                rotations += 1;
            }
        }
    }
    until(started + LENGTH);
    let slowest = traffic.slowest();
    let (served, failed) = traffic.end();
    let requests = sim.entra.requests();
    let refused = requests.iter().filter(|request| request.note != "token issued").count();
    println!(
        "{served} requests served in {:.1} s, {} failed, slowest {slowest:?}; {} token requests, {refused} of them \
         without a token; {rotations} rotations, 2 restarts",
        started.elapsed().as_secs_f64(),
        failed.len(),
        requests.len()
    );
    assert!(failed.is_empty(), "{failed:#?}");
    every_token_was_good(&sim);
    assert!(
        served >= u64::from(RATE) * LENGTH.as_secs() * 9 / 10,
        "{served} requests: the rate was not reached"
    );
}

/// For half of each token's life Entra ID says that it does not know the certificate: from another moment each time, and so
/// that it is well again before the token is no longer used. Every fourth token the certificate rotates.
#[test]
fn a_permanent_error_for_half_of_each_tokens_life() {
    const LIFETIME: u64 = 30;
    // It is used for 27 s of them, of which this leaves three for an attempt.
    const LATEST_BEGIN: u64 = 9;
    let length = std::env::var("SOAK_SECONDS").map_or(120, |seconds| seconds.parse().unwrap());
    // Keys take a while to make.
    (0..5).for_each(|number| assert!(!Pair::number(number).pem.is_empty()));
    let sim = Sim::start(Options { token_lifetime: LIFETIME, ..Options::default() });
    let mut current = fs::read_to_string(sim.certificate_path()).unwrap();
    let volume = Volume::new(sim.dir.join("volume"), &current);
    let proxy = Proxy::start_with(&sim, &[("AZURE_CERTIFICATE_PATH", volume.file().to_str().unwrap())]);
    let end = Instant::now() + Duration::from_secs(length);
    let traffic = Traffic::start(&proxy, 4, Duration::from_millis(40));
    let (mut tokens, mut rotations) = (0, 0);
    let mut issued = Instant::now();
    while Instant::now() < end {
        let known = sim.entra.issued().len();
        let begin = Duration::from_secs(tokens * 3 % (LATEST_BEGIN + 1));
        until(issued + begin);
        sim.entra.unregister_all();
        if tokens % 4 == 3 {
            let pair = Pair::number(rotations % 5);
            if rotations == 0 {
                swap(&volume, pair, &current);
            } else {
                WAYS[rotations % WAYS.len()](&volume, pair, &current);
            }
            current.clone_from(&pair.pem);
            rotations += 1;
        }
        until(issued + begin + Duration::from_secs(LIFETIME / 2));
        sim.entra.register_only(&current);
        wait_for("a new token", || sim.entra.issued().len() > known);
        issued = Instant::now();
        every_token_was_good(&sim);
        tokens += 1;
    }
    let slowest = traffic.slowest();
    let (served, failed) = traffic.end();
    let refused =
        sim.entra.requests().iter().filter(|request| request.note.starts_with("AADSTS700027")).count();
    println!(
        "{served} requests served in {length} s, {} failed, slowest {slowest:?}; {tokens} tokens, {refused} sign-ins \
         refused, {rotations} rotations",
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(refused > 0 && served >= length * 90, "{served} requests, {refused} sign-ins refused");
}

fn until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

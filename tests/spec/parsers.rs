//! The fuzz targets' corpora, and a fixed number of mutations of each file, through the checks of the fuzz targets.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::checks;
use crate::pems;

/// Of each file.
const MUTATIONS: usize = 40;

fn run(target: &str, directory: &Path, mutations: usize) {
    let (_, check) = checks::ALL.iter().find(|(name, _)| *name == target).unwrap();
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|file| file.is_file());
    assert!(files.len() > 9, "{} has too few files", directory.display());
    let inputs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    // The order of files decides about the mutations, not the time or the machine.
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (file, input) in files.iter().zip(&inputs) {
        let mut one = input.clone();
        for mutation in 0..=mutations {
            if catch_unwind(AssertUnwindSafe(|| check(&one))).is_err() {
                let found = std::env::temp_dir().join(format!("auth-proxy-{target}-finding"));
                fs::write(&found, &one).unwrap();
                panic!("{}, mutation {mutation}, kept in {}", file.display(), found.display());
            }
            one.clone_from(input);
            for _ in 0..=random.below(3) {
                random.mutate(&mut one, &inputs);
            }
        }
    }
}

fn corpus(target: &str) {
    run(target, &Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target), MUTATIONS);
}

#[test]
fn responses_of_the_upstream() {
    corpus("response");
}

#[test]
fn responses_that_ureq_reads_like_us() {
    corpus("agreement");
    run("agreement", &Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/response"), MUTATIONS);
}

#[test]
fn bodies() {
    corpus("chunked");
}

#[test]
fn token_responses() {
    corpus("entra");
}

#[test]
fn targets_and_header_fields() {
    corpus("filter");
}

#[test]
fn request_heads() {
    corpus("head");
}

#[test]
fn locations() {
    corpus("location");
}

#[test]
fn certificate_files() {
    corpus("pem");
    // With keys in them, so that they are not in the repository.
    run("pem", pems::directory(), 5);
}

/// xorshift64, the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    /// One change of the kind that fuzzers make.
    fn mutate(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        const BYTES: &[u8] = b"\r\n\0 \t:;,%/?&=-+0aF\x7f\xff";
        let at = self.below(bytes.len() + 1);
        let to = at + self.below(bytes.len() - at + 1);
        match self.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 => bytes.insert(at, BYTES[self.below(BYTES.len())]),
            2 => drop(bytes.drain(at..to.min(at + 8))),
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[at..to].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = &others[self.below(others.len())];
                bytes.splice(at..to, other[self.below(other.len() + 1)..].iter().copied());
            }
        }
    }
}

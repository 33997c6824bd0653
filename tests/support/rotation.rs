//! Certificates that Entra ID knows, and the ways in which a new one gets into its file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::api::assertion;
use crate::sim::{Options, Sim, client_pem, openssl, wait_for};

/// A certificate with its key, which Entra ID knows.
pub struct Pair {
    pub pem: String,
    /// As the portal shows it.
    pub sha1: String,
    /// As the assertion names it.
    pub x5t_s256: String,
}

/// Made once: a key takes a while.
static PAIRS: [OnceLock<Pair>; 5] = [const { OnceLock::new() }; 5];

impl Pair {
    /// One of five.
    pub fn number(number: usize) -> &'static Self {
        PAIRS[number].get_or_init(|| {
            let pem = client_pem(&format!("pair {number}"));
            let der = openssl(&["x509", "-outform", "DER"], pem.as_bytes());
            let digest = |algorithm| openssl(&["dgst", algorithm, "-binary"], &der);
            let sha1 = digest("-sha1").iter().map(|byte| format!("{byte:02X}")).collect();
            Self { pem, sha1, x5t_s256: URL_SAFE_NO_PAD.encode(digest("-sha256")) }
        })
    }

    /// The same, uploaded to the application; those uploaded before stay.
    pub fn uploaded(number: usize, sim: &Sim) -> &'static Self {
        let pair = Self::number(number);
        sim.entra.register(&pair.pem);
        pair
    }

    /// The private key, and the certificate.
    pub fn halves(&self) -> (&str, &str) {
        self.pem.split_at(self.pem.find("-----BEGIN CERTIFICATE").unwrap())
    }
}

/// Waits until Entra ID has granted a token for this certificate.
#[track_caller]
pub fn used(sim: &Sim, pair: &Pair) {
    wait_for("a token for the new certificate", || {
        let requests = sim.entra.requests();
        let granted = requests.iter().filter(|request| request.note == "token issued");
        granted.rev().any(|request| assertion(request).0["x5t#S256"] == pair.x5t_s256.as_str())
    });
}

/// Tokens of three seconds, renewed after one: the file is read again every second.
pub fn short_lived() -> Options {
    Options { token_lifetime: 3, refresh_in: Some(1), ..Options::default() }
}

/// A Secret as kubelet mounts it: the file is a link into `..data`, which is a link to the version in force.
pub struct Volume(PathBuf);

impl Volume {
    pub fn new(path: PathBuf, pem: &str) -> Self {
        fs::create_dir(&path).unwrap();
        let volume = Self(path);
        symlink("..data/certificate.pem", volume.0.join("certificate.pem")).unwrap();
        volume.publish("..2026_01", pem);
        volume
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    /// A new version beside the old one, then one rename, then the old one goes.
    pub fn publish(&self, version: &str, pem: &str) {
        let old = fs::read_link(self.0.join("..data")).ok();
        fs::create_dir(self.0.join(version)).unwrap();
        fs::write(self.0.join(version).join("certificate.pem"), pem).unwrap();
        symlink(version, self.0.join("..data_tmp")).unwrap();
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(self.0.join(old)).unwrap();
        }
    }
}

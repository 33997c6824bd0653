//! PFX files and encrypted keys: any bytes are opened or refused with a remedy, and no message shows what could be secret.

use std::path::Path;

use auth_proxy::testing::from_file;

/// 2027-01-15: the certificates of tests/data/make.sh are valid.
const NOW: u64 = 1_800_000_000;
/// That of tests/data/make.sh.
const PASSWORD: &str = "secret";
/// More iterations are allowed, and are nothing but time.
const PATIENCE: u64 = 5_000;

/// `data` is a file.
pub fn check(data: &[u8]) {
    if takes_long(data) {
        return;
    }
    for password in [Some(PASSWORD), Some("hunter2hunter2"), None] {
        match from_file(data, Path::new("file.pfx"), password, NOW) {
            Ok((pair, _)) => {
                assert!((2048..=8192).contains(&pair.certificate.key_bits));
                assert!(format!("{pair:?}").ends_with("key hidden)"));
            }
            Err(problem) => {
                let shown = problem.to_string();
                assert!(problem.message.starts_with("certificate file file.pfx "), "{shown}");
                assert!(!problem.hints.is_empty(), "no remedy: {shown}");
                assert!(!shown.contains("hunter2"), "shows the password: {shown}");
            }
        }
    }
}

/// Whether any number in it could be an iteration count that takes seconds: one behind a salt. The numbers of scrypt behind
/// its first one are not skipped, however large.
fn takes_long(data: &[u8]) -> bool {
    let is_behind_salt = |at: usize| {
        let before = &data[..at];
        (0..0x80).any(|salt: u8| {
            let header =
                before.len().checked_sub(usize::from(salt) + 2).and_then(|start| before.get(start..));
            header.is_some_and(|header| header.starts_with(&[0x04, salt]))
        })
    };
    (0..data.len()).any(|at| {
        let [0x02, length @ 2..=8, rest @ ..] = &data[at..] else { return false };
        let digits = rest.get(..usize::from(*length)).unwrap_or_default();
        let number = digits.iter().fold(0, |number, digit| number << 8 | u64::from(*digit));
        (PATIENCE..=2_000_000).contains(&number) && is_behind_salt(at)
    })
}

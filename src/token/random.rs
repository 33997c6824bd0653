//! Randomness for jitter and request ids, where a guess does no harm: std's hasher keys, no crate.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A number in [0, 1).
pub(super) fn unit() -> f64 {
    // 53 bits are what an f64 holds exactly.
    (word() >> 11) as f64 / (1u64 << 53) as f64
}

/// A random UUID, version 4 (RFC 9562 section 5.4).
pub(super) fn uuid() -> String {
    let (high, low) = (word(), word());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

fn word() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_in_range_and_differ() {
        let drawn: Vec<f64> = (0..1000).map(|_| unit()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = drawn.iter().sum::<f64>() / 1000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }

    #[test]
    fn uuids_have_the_form_of_version_4() {
        let id = uuid();
        assert_ne!(id, uuid());
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert!(id.char_indices().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        }));
    }
}

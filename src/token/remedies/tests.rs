use std::collections::BTreeSet;

use super::*;

/// Every number that Microsoft documents or users report for this grant.
const EXPECTED: [u32; 85] = [
    700_027, 700_024, 1_000_502, 7_000_214, 700_021, 50_027, 50_012, 700_030, 5_002_738, 50_032, 50_048,
    700_016, 7_000_229, 7_000_112, 70_001, 90_002, 900_382, 900_432, 90_038, 500_011, 50_001, 500_014,
    70_011, 1_002_012, 28_002, 700_022, 7_000_215, 7_000_222, 7_000_218, 700_025, 700_211, 700_213,
    7_002_138, 70_021, 53_003, 530_032, 50_076, 50_079, 50_034, 50_058, 65_001, 50_105, 501_051, 900_144,
    90_014, 9_002_313, 90_023, 100_007, 90_033, 90_024, 90_006, 90_090, 50_033, 90_012, 90_055, 50_196,
    900_023, 50_128, 50_059, 90_019, 50_194, 9_001_023, 700_011, 5_000_224, 5_000_225, 500_021, 500_022,
    50_002, 700_023, 50_013, 500_133, 900_384, 5_002_741, 70_025, 700_212, 7_002_137, 7_002_381, 700_238,
    700_223, 700_222, 700_226, 700_236, 7_000_232, 530_035, 90_061,
];

#[test]
fn every_known_number_has_one_remedy() {
    let codes: BTreeSet<u32> = REMEDIES.iter().map(|remedy| remedy.code).collect();
    assert_eq!(codes.len(), REMEDIES.len(), "a number stands twice");
    assert_eq!(codes, BTreeSet::from(EXPECTED));
}

/// What was created in Entra ID a moment ago is not known everywhere: these errors look permanent, and pass.
#[test]
fn what_passes_in_the_minutes_after_a_creation_says_so() {
    for code in [70_021, 70_025, 7_002_137, 700_212, 700_211, 700_213, 7_002_138, 700_016, 700_011] {
        let remedy = lookup(code).unwrap();
        assert!(remedy.action.contains("takes some minutes to"), "{code}: {}", remedy.action);
        assert!(!passes(code), "{code}: until then it is an error");
    }
}

#[test]
fn every_line_is_short_and_in_style() {
    for Remedy { meaning, action, .. } in REMEDIES {
        for line in [meaning, action] {
            assert!((10..=140).contains(&line.len()), "{line}");
            assert!(!line.ends_with(['.', ' ', ';']) && !line.contains(['\n', '"']), "{line}");
            assert!(!line.contains("  "), "{line}");
        }
    }
}

#[test]
fn the_numbers_that_pass_are_known() {
    assert_eq!(REMEDIES.iter().filter(|remedy| passes(remedy.code)).count(), 8);
    assert_eq!(REMEDIES.iter().filter(|remedy| throttles(remedy.code)).count(), 2);
    assert!(lookup(1).is_none() && !passes(1) && !throttles(1));
}

//! Variables that are expected to be settings and are none: misspelled ones, which would be ignored silently
//! (`PROXY_APIKEY` leaves the proxy open), and those of other programs. Only names are read and shown.

use super::SETTINGS;
use super::env::Env;
use crate::report::Problem;

/// Names as short as `HOST` and `PORT` are similar to many unrelated ones.
const MIN_LENGTH: usize = 7;
/// Common names that differ by one letter from ours.
const COMMON_NAMES: [&str; 3] = ["HTTP_PROXY", "FTP_PROXY", "NO_PROXY"];
/// Names that may be expected to have an effect; each with what is used instead, and the setting that makes the note
/// unnecessary.
const OTHER_PROGRAMS_NAMES: [(&str, &str, &str); 8] = [
    (
        "AZURE_CLIENT_SECRET",
        "auth-proxy signs in with a certificate, a federated token or a managed identity: remove the secret from its environment",
        "",
    ),
    ("AZURE_USERNAME", "auth-proxy signs in with a certificate, a federated token or a managed identity", ""),
    ("AZURE_OPENAI_ENDPOINT", "the upstream is set with API_BASE_URL", ""),
    ("AZURE_OPENAI_API_KEY", "the upstream gets a token, not a key", ""),
    ("AZURE_API_BASE", "the upstream is set with API_BASE_URL", ""),
    ("OPENAI_BASE_URL", "the upstream is set with API_BASE_URL", ""),
    ("OPENAI_API_BASE", "the upstream is set with API_BASE_URL", ""),
    ("ALL_PROXY", "only HTTPS_PROXY sets the egress proxy: set it, or connections are direct", "HTTPS_PROXY"),
];

/// Notes what is set and has no effect.
pub(super) fn read(env: &mut Env<'_>) {
    let is_set = |env: &Env<'_>, name: &str| env.raw(name).is_some();
    let mut names: Vec<&String> = env.names().iter().collect();
    names.sort_unstable();
    for name in names {
        if !is_set(env, name) {
            continue;
        }
        if let Some(meant) = nearest(name).filter(|meant| !is_set(env, meant)) {
            env.note_unknown(
                Problem::new(format!("{name} is set, but is not a setting and has no effect"))
                    .hint(format!("did you mean {meant}?")),
            );
        }
        let same = |foreign: &str| name == foreign || name == "all_proxy" && foreign == "ALL_PROXY";
        for (_, instead, unless) in OTHER_PROGRAMS_NAMES.into_iter().filter(|(foreign, ..)| same(foreign)) {
            if !is_setting(name) && !is_set(env, unless) && !is_set(env, &unless.to_ascii_lowercase()) {
                env.note_unknown(Problem::new(format!("{name} is set, but is not used")).hint(instead));
            }
        }
    }
}

fn is_setting(name: &str) -> bool {
    let settings = SETTINGS.iter().map(|setting| setting.name);
    settings.chain(["https_proxy", "no_proxy"]).any(|setting| setting == name)
}

/// The setting that a name is nearly, and is not.
fn nearest(name: &str) -> Option<&'static str> {
    if is_setting(name) || COMMON_NAMES.iter().any(|ordinary| ordinary.eq_ignore_ascii_case(name)) {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    // With the program's name as a prefix; or with the suffix by which Docker's images take secrets from files.
    let shorter = upper.strip_prefix("AUTH_PROXY_").or_else(|| upper.strip_suffix("_FILE"));
    let settings = || SETTINGS.iter().map(|setting| setting.name).filter(|it| it.len() >= MIN_LENGTH);
    let lacks_file = |setting: &str| setting.strip_suffix("_FILE") == Some(&upper);
    let near = settings().filter(|it| lacks_file(it) || is_near(&upper, it));
    // Of several, such as SSL_CERT_FILE and TLS_CERT_FILE, the one with the fewest errors.
    near.min_by_key(|setting| edit_distance(setting.as_bytes(), upper.as_bytes()))
        .or_else(|| settings().find(|it| shorter == Some(it)))
}

/// One has the other's words in another order, abbreviated or run together, or with a typing error.
fn is_near(name: &str, setting: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let (mine, theirs) = (words(setting), words(name));
    let sorted = |words: &[String]| {
        let mut words = words.to_vec();
        words.sort_unstable();
        words
    };
    let is_short = |(one, other): (&String, &String)| {
        one == other
            || one.len().min(other.len()) >= 3 && (one.starts_with(&**other) || other.starts_with(&**one))
    };
    let max_edits = match mine.concat().len() {
        ..9 => 0,
        9..11 => 1,
        _ => 2,
    };
    sorted(&mine) == sorted(&theirs)
        || mine.len() == theirs.len() && mine.iter().zip(&theirs).all(is_short)
        || edit_distance(mine.concat().as_bytes(), theirs.concat().as_bytes()) <= max_edits
}

/// How many typing errors lie between two words: a letter too many, one missing, another one, two swapped.
fn edit_distance(one: &[u8], other: &[u8]) -> usize {
    // Whatever is longer than this is far enough away.
    if one.len().abs_diff(other.len()) > 2 {
        return usize::MAX;
    }
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut cost = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                cost = cost.min(rows[i - 1][j - 1] + 1);
            }
            row.push(cost);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

//! One word for one thing: what CONTRIBUTING.md's table has replaced does not come back.

use super::{none, root, tracked};

/// Folders and files whose text is looked at; CONTRIBUTING.md has the words in its table.
const WITHIN: &[&str] = &[
    "src/",
    "tests/",
    "tools/",
    "docs/",
    "deploy/",
    "examples/",
    "fuzz/checks/",
    "fuzz/targets/",
    "Makefile",
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "SUPPORT.md",
    "UPGRADING.md",
];

/// This table, and lists that other programs write.
const EXCEPT: &[&str] = &["tests/spec/structure/words.rs", "tests/clients/node/package-lock.json"];

/// What must not occur, as whole words, and what to say. A pattern without capital letters stands for every case. `*` is the rest of a word, so that `answer*` is
/// `answers` and `answered`, too; in names each part between underscores is a word.
#[rustfmt::skip]
const WORDS: &[(&str, &str)] = &[
    // One thing, several words.
    ("answer*", "response, respond"),
    ("destination*", "upstream"),
    ("crowd*", "overload, connections"),
    ("untold", "suppressed"),
    ("neighbour*", "peer"),
    ("dialler*", "dialer"),
    ("behaviour*", "behavior"),
    ("faults_of_users", "user_errors"),
    ("bad_answer", "bad_response"),
    ("answers_cut", "responses_aborted"),
    ("repetitions_total", "retries_total"),
    // Figures of speech.
    ("works again", "recovered"),
    ("trying on", "retrying"),
    ("way out", "egress proxy"),
    ("pass by", "bypass"),
    ("resting", "idle"),
    ("mind_the_file", "check_credential_file"),
    ("tell_who_we_are", "log_startup"),
    ("shake_hands", "open_websocket"),
    ("put_off", "schedule_retry"),
    ("turn_away", "reject_overloaded"),
    ("take_in", "accept_pending"),
    ("push_up", "write_upstream"),
    ("pull_down", "read_upstream"),
    ("pass_on", "relay_response"),
    ("put_back", "unread"),
    ("at_hand", "has_buffered"),
    ("body_at_hand", "has_buffered_body"),
    ("take_ahead", "take_buffered"),
    ("listen_ahead", "poll_early_response"),
    ("lets_in", "grants_access"),
    ("look_at", "detect"),
    ("not_dialled", "map_dial_error"),
    ("now_by_either", "now_including_suspend"),
    ("told", "logged, reported"),
    ("tell", "log, report"),
    ("tells", "logs, reports"),
    ("telling", "logging, reporting"),
    ("obituary", "exit guard"),
    ("hands", "passes, gives"),
    ("young", "recent"),
    ("deaf", "not accepting"),
    ("torn", "partial"),
    // Names that said too little.
    ("settle", "finish_request"),
    ("expect_body", "send_continue"),
    ("receive_body", "poll_body"),
    ("body_idle", "body_idle_timeout"),
    ("head_time", "header_timeout"),
    ("write_stall", "write_timeout"),
    ("can_resume", "can_replay"),
    ("own_origin", "public_origin"),
    ("tunnel_proxy", "connect_proxy"),
    ("end_head", "append_header_lines"),
    ("send_before", "token_deadline"),
    ("bequeath", "set_inherited_options"),
    ("is_quiet", "is_reusable"),
    ("pour", "write_until_blocked"),
    // Types: with capital letters, which distinguish them from words.
    ("Kept", "ReplayBuffer"),
    ("Obituary", "ExitGuard"),
    ("Setback", "FailureContext"),
    ("Dialler", "Dialer"),
    ("Refusal", "ErrorResponse"),
    ("Resting", "IdleConnection"),
    ("Crowd", "OverloadQueue"),
    ("Wire", "Stream"),
    ("Serving", "Http1Exchange"),
    ("Elastic", "TransportBuffers"),
    ("Pace", "MinRate"),
    ("Held", "GaugeGuard"),
    ("Looks", "DetectedFormat"),
    ("TooLate", "TokenExpired"),
    ("TROUBLE", "ACCEPT_ERROR_LOG"),
    ("UNSENT", "NOTSENT_LOWAT"),
    ("FLOW", "LARGE_BUF"),
    ("flows_in", "bulk_in"),
    ("flows_out", "bulk_out"),
];

/// Where the pattern stands in a line: between characters that belong to no word, the underscore being one of them
/// unless the pattern has one itself.
fn stands_in(line: &str, pattern: &str) -> bool {
    let (word, is_prefix) = pattern.strip_suffix('*').map_or((pattern, false), |word| (word, true));
    let joins = |c: char| c.is_alphanumeric() || c == '_' && pattern.contains('_');
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(joins);
        let after = line[at + word.len()..].chars().next().is_some_and(joins);
        !before && (is_prefix || !after)
    })
}

#[test]
fn no_file_has_a_word_that_was_replaced() {
    let mut found = Vec::new();
    let mut files = 0;
    for file in tracked() {
        let is_within = WITHIN.iter().any(|prefix| file.starts_with(prefix));
        if !is_within || EXCEPT.contains(&file.as_str()) {
            continue;
        }
        // What is no text has no words.
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        files += 1;
        for (index, line) in text.lines().enumerate() {
            // Options of iptables.
            let line = line.replace("--destination", "").replace("--to-destination", "");
            let lower = line.to_lowercase();
            let holds = |pattern: &str| {
                stands_in(if pattern.contains(char::is_uppercase) { &line } else { &lower }, pattern)
            };
            for (pattern, better) in WORDS.iter().filter(|(pattern, _)| holds(pattern)) {
                found.push(format!("{file}:{}: {pattern}, say {better}: {}", index + 1, line.trim()));
            }
        }
    }
    assert!(files > 300, "only {files} files");
    none("words that were replaced", &found);
}

#[test]
fn a_word_is_found_alone_and_as_a_part_of_a_name() {
    for line in ["the answer is", "answers", "last_answer", "answer_to", "// answered."] {
        assert!(stands_in(line, "answer*"), "{line}");
    }
    assert!(stands_in("self.settle()", "settle") && stands_in("put_back(1)", "put_back"));
    for (line, pattern) in [("unanswered", "answer*"), ("settled", "settle"), ("input_back", "put_back")] {
        assert!(!stands_in(line, pattern), "{line}");
    }
}

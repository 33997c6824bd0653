//! A queue of prescribed answers that says so when it is empty.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::answer::Answer;

/// Prescribed answers in order, each used once.
#[derive(Default)]
pub struct Script {
    state: Mutex<ScriptState>,
}

#[derive(Default)]
struct ScriptState {
    answers: VecDeque<Answer>,
    strict: bool,
    overrun: u64,
}

impl Script {
    pub fn extend(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.lock().unwrap().answers.extend(answers);
    }

    /// From now on a request without a prescribed answer is a fault of the test.
    pub fn strict(&self) {
        self.state.lock().unwrap().strict = true;
    }

    /// How many answers have not been used.
    pub fn left(&self) -> usize {
        self.state.lock().unwrap().answers.len()
    }

    /// How many requests found a strict script empty.
    pub fn overrun(&self) -> u64 {
        self.state.lock().unwrap().overrun
    }

    /// The next answer; the default behaviour when a lenient script is empty.
    pub(super) fn next(&self, who: &str) -> Answer {
        let mut state = self.state.lock().unwrap();
        if let Some(answer) = state.answers.pop_front() {
            return answer;
        }
        if !state.strict {
            return Answer::default_behaviour();
        }
        state.overrun += 1;
        let text = format!("{who}: the script has no more answers");
        eprintln!("{text}");
        Answer::status(500).header("Content-Type", "text/plain").body(text)
    }
}

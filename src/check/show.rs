//! A check's result as text and as JSON. Control characters in text from elsewhere are escaped.

use serde_json::{Map, Value, json};

use super::{Step, StepOutcome};

/// One step, its lines ended.
pub(crate) fn text(step: &Step) -> String {
    let name = step.kind.name();
    let mut out = String::new();
    match &step.outcome {
        StepOutcome::Ok(details) => {
            line(&mut out, &format!("ok       {name}"));
            for (name, value) in details {
                let value = match value {
                    Value::String(text) => text.clone(),
                    Value::Array(list) if list.is_empty() => "none".to_owned(),
                    Value::Array(list) => {
                        list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
                    }
                    other => other.to_string(),
                };
                line(&mut out, &format!("           {:<18} {value}", name.replace('_', " ")));
            }
        }
        StepOutcome::Failed(problems) => {
            for problem in problems {
                line(&mut out, &format!("failed   {name}: {}", problem.message));
                for hint in &problem.hints {
                    line(&mut out, &format!("           hint: {hint}"));
                }
                for note in &problem.notes {
                    line(&mut out, &format!("           note: {note}"));
                }
            }
        }
        StepOutcome::Skipped(why) => line(&mut out, &format!("skipped  {name}: {why}")),
    }
    out
}

/// All steps as one object.
pub(crate) fn json(steps: &[Step], exit_code: u8) -> String {
    let steps: Vec<Value> = steps.iter().map(object).collect();
    let all = json!({"ok": exit_code == 0, "exit_code": exit_code, "steps": steps});
    format!("{all:#}\n")
}

fn object(step: &Step) -> Value {
    let mut object = Map::new();
    object.insert("step".into(), step.kind.name().into());
    let (status, name, value) = match &step.outcome {
        StepOutcome::Ok(details) => {
            let mut members = Map::new();
            for (name, value) in details {
                // Only notes come more than once.
                let value = match members.get(*name).and_then(Value::as_str) {
                    Some(before) => format!("{before}; {}", value.as_str().unwrap_or_default()).into(),
                    None => value.clone(),
                };
                members.insert((*name).into(), value);
            }
            ("ok", "details", Value::Object(members))
        }
        StepOutcome::Failed(problems) => {
            let problems = problems.iter().map(
                |problem| json!({"message": problem.message, "hints": problem.hints, "notes": problem.notes}),
            );
            ("failed", "problems", problems.collect())
        }
        StepOutcome::Skipped(why) => ("skipped", "reason", (*why).into()),
    };
    object.insert("status".into(), status.into());
    object.insert(name.into(), value);
    Value::Object(object)
}

fn line(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::StepKind;
    use crate::report::Problem;

    #[test]
    fn a_step_is_shown_with_its_details_or_its_remedy() {
        let step = |outcome| text(&Step { kind: StepKind::SignIn, outcome });
        let details = vec![("days_left", json!(3)), ("roles", json!(["a", "b"])), ("x", json!("\u{1b}[31m"))];
        assert_eq!(
            step(StepOutcome::Ok(details)),
            "ok       sign-in\n           days left          3\n           roles              a, b\n           \
             x                  \\u{1b}[31m\n"
        );
        let problem = Problem::new("no").note("so it is").hint("do");
        let expected = "failed   sign-in: no\n           hint: do\n           note: so it is\n";
        assert_eq!(step(StepOutcome::Failed(vec![problem])), expected);
        assert_eq!(step(StepOutcome::Skipped("why")), "skipped  sign-in: why\n");
    }
}

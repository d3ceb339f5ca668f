//! Patterns: what an answer must look like.

use regex::Regex;
use serde_json::{Map, Value};

/// Says where `found` is not as `pattern` wants it.
pub(super) fn check(pattern: &Value, found: Option<&Value>, at: &str) -> Result<(), String> {
    match (pattern, found) {
        (Value::Null, None) => Ok(()),
        (Value::Null, Some(found)) => Err(format!("{at}: is {found} and should not be there")),
        (_, None) => Err(format!("{at}: is not there")),
        (Value::Object(rules), Some(Value::Array(found))) => check_elements(rules, found, at),
        (Value::Object(fields), Some(Value::Object(found))) => {
            fields.iter().try_for_each(|(name, pattern)| check(pattern, found.get(name), &format!("{at}.{name}")))
        }
        (Value::Array(patterns), Some(Value::Array(found))) => {
            if patterns.len() != found.len() {
                return Err(format!("{at}: has {} elements and not {}", found.len(), patterns.len()));
            }
            let mut pairs = patterns.iter().zip(found).enumerate();
            pairs.try_for_each(|(index, (pattern, found))| check(pattern, Some(found), &format!("{at}.{index}")))
        }
        (Value::Object(_) | Value::Array(_), Some(found)) => Err(format!("{at}: is {found}, not {pattern}")),
        (pattern, Some(found)) => check_text(&text(pattern, at)?, &text(found, at)?, at),
    }
}

/// Text or `~regex`.
pub(super) fn check_text(pattern: &str, found: &str, at: &str) -> Result<(), String> {
    let matches = match pattern.strip_prefix('~') {
        Some(expression) => {
            let whole = Regex::new(&format!("^(?:{expression})$"));
            whole.map_err(|problem| format!("{at}: {problem}"))?.is_match(found)
        }
        None => pattern == found,
    };
    if matches { Ok(()) } else { Err(format!("{at}: is {found:?}, not {pattern:?}")) }
}

fn text(value: &Value, at: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!("{at}: is {value}, not text")),
    }
}

fn check_elements(rules: &Map<String, Value>, found: &[Value], at: &str) -> Result<(), String> {
    for (rule, pattern) in rules {
        match rule.as_str() {
            "~length" => check(pattern, Some(&found.len().into()), &format!("{at}, its length"))?,
            "~each" => {
                let mut elements = found.iter().enumerate();
                elements.try_for_each(|(index, found)| check(pattern, Some(found), &format!("{at}.{index}")))?;
            }
            "~contains" if found.iter().any(|found| check(pattern, Some(found), at).is_ok()) => {}
            "~contains" => return Err(format!("{at}: holds no {pattern}")),
            _ => return Err(format!("{at}: is a list, and {rule} is no rule for one")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pattern_matches_what_the_format_says_and_nothing_else() {
        let found = json!({ "name": "alice", "count": "7", "ok": true, "list": [{ "a": 1 }, { "a": 2, "b": 3 }] });
        for good in [
            json!({}),
            json!({ "name": "alice", "other": null }),
            json!({ "name": "~[a-z]+", "count": 7, "ok": "true" }),
            json!({ "count": "~[1-9]" }),
            json!({ "list": [{ "a": "1" }, {}] }),
            json!({ "list": { "~length": 2, "~each": { "a": "~[0-9]" }, "~contains": { "b": 3 } } }),
        ] {
            assert_eq!(check(&good, Some(&found), "message"), Ok(()));
        }
        for (bad, problem) in [
            (json!({ "name": "bob" }), r#"message.name: is "alice", not "bob""#),
            (json!({ "name": "~[a-z]" }), r#"message.name: is "alice", not "~[a-z]""#),
            (json!({ "name": null }), r#"message.name: is "alice" and should not be there"#),
            (json!({ "other": "x" }), "message.other: is not there"),
            (json!({ "name": { "first": "x" } }), r#"message.name: is "alice", not {"first":"x"}"#),
            (json!({ "list": [{}] }), "message.list: has 2 elements and not 1"),
            (json!({ "list": [{}, { "b": 4 }] }), r#"message.list.1.b: is "3", not "4""#),
            (json!({ "list": { "~length": 3 } }), r#"message.list, its length: is "2", not "3""#),
            (json!({ "list": { "~each": { "b": 3 } } }), "message.list.0.b: is not there"),
            (json!({ "list": { "~contains": { "b": 4 } } }), r#"message.list: holds no {"b":4}"#),
            (json!({ "list": { "length": 2 } }), "message.list: is a list, and length is no rule for one"),
        ] {
            assert_eq!(check(&bad, Some(&found), "message"), Err(problem.to_owned()));
        }
    }
}

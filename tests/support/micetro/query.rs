//! The query: its decoding, filters, order and pages.

use std::cmp::Ordering;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::data::{Kind, Row};
use super::reply::Refusal;

/// The parameters, decoded. A `+` stays what it is.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Refusal::invalid(&format!("'{name}' must be a number.")))
    }
}

pub(super) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The page of the rows that the query asks for.
pub(super) fn page(kind: &Kind, mut rows: Vec<Row>, query: &Query) -> Result<Value, Refusal> {
    if let Some(filter) = query.get("filter") {
        let conditions: Vec<_> = words(filter).iter().map(|word| Condition::parse(word)).collect();
        rows.retain(|row| conditions.iter().all(|condition| condition.holds(row)));
    }
    if let Some(property) = query.get("sortBy") {
        rows.sort_by(|a, b| compare(a.get(property), b.get(property)));
    }
    match query.get("sortOrder") {
        None | Some("Ascending") => {}
        Some("Descending") => rows.reverse(),
        Some(_) => return Err(Refusal::invalid("'sortOrder' must be Ascending or Descending.")),
    }
    let total = rows.len();
    let limit = query.number("limit")?.unwrap_or(total.max(1));
    let mut offset = query.number("offset")?.unwrap_or(0);
    let mut result = json!({ "totalResults": total });
    if let Some(target) = query.get("targetRef") {
        let position = super::data::position(kind, &rows, target).ok_or_else(|| Refusal::no_object(target))?;
        offset = position - position % limit.max(1);
        result["offset"] = offset.into();
    }
    if offset > 0 && offset >= total && kind.past_the_end.is_some() {
        return Err(Refusal::new(400, kind.past_the_end.unwrap_or_default(), "There are no more records."));
    }
    result[kind.collection] = rows.into_iter().skip(offset).take(limit).collect();
    Ok(result)
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => shown(a).cmp(&shown(b)),
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text.to_lowercase(),
        Some(other) => other.to_string(),
    }
}

/// Conditions are separated by spaces or `&`, outside of quotes.
fn words(filter: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for character in filter.chars() {
        match character {
            '"' | '\'' if quote == Some(character) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(character),
            ' ' | '&' if quote.is_none() => words.push(String::new()),
            _ => words.last_mut().expect("there is one from the start").push(character),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `name=value`, `name=^begin`, `name=end$`, `name!=value`, `name:^value$`, or a text that may be anywhere.
struct Condition {
    /// `None`: all properties.
    property: Option<String>,
    negated: bool,
    begins: bool,
    ends: bool,
    text: String,
}

impl Condition {
    fn parse(word: &str) -> Self {
        let name_ends = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(word.len());
        let (name, rest) = word.split_at(name_ends);
        let operators = [("!=", true, true), ("=", false, true), (":", false, false)];
        let operator = operators.iter().find_map(|(sign, negated, whole)| {
            let value = rest.strip_prefix(sign)?;
            name.starts_with(|c: char| c.is_ascii_alphabetic()).then_some((value, *negated, *whole))
        });
        let Some((value, negated, whole)) = operator else {
            return Self { property: None, negated: false, begins: false, ends: false, text: word.to_lowercase() };
        };
        let (begins, value) = value.strip_prefix('^').map_or((false, value), |rest| (true, rest));
        let (ends, value) = value.strip_suffix('$').map_or((false, value), |rest| (true, rest));
        // Without anchors `=` means the whole and `:` a part.
        let whole = whole && !begins && !ends;
        Self {
            property: Some(name.to_owned()),
            negated,
            begins: begins || whole,
            ends: ends || whole,
            text: value.to_lowercase(),
        }
    }

    fn holds(&self, row: &Row) -> bool {
        let matches = match &self.property {
            Some(property) => row.get(property).is_some_and(|value| self.matches(value)),
            None => row.values().any(|value| self.matches(value)),
        };
        matches != self.negated
    }

    fn matches(&self, value: &Value) -> bool {
        let value = match value {
            Value::Array(members) => return members.iter().any(|member| self.matches(member)),
            Value::Object(members) => return members.values().any(|member| self.matches(member)),
            other => shown(Some(other)),
        };
        match (self.begins, self.ends) {
            (true, true) => value == self.text,
            (true, false) => value.starts_with(&self.text),
            (false, true) => value.ends_with(&self.text),
            (false, false) => value.contains(&self.text),
        }
    }
}

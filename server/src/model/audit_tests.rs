//! `audit.proto` lists exactly the values of the enums.

use std::collections::HashSet;

use strum::VariantArray;

use super::{Operation, Reason};

const CONTRACT: &str = include_str!("../../../proto/lanyard/v1/audit.proto");

/// The names in the comment of a field of `AuditEvent`, each with its description.
fn list_of(field: &str) -> Vec<(&'static str, &'static str)> {
    let (_, message) = CONTRACT.split_once("message AuditEvent {").unwrap();
    let (before, _) = message.split_once(&format!("  string {field} = ")).unwrap();
    let comment = before.rsplit(";\n").next().unwrap();
    let lines = comment.lines().filter_map(|line| line.strip_prefix("  // - `"));
    lines.map(|line| line.split_once("`: ").unwrap()).collect()
}

fn is_documented(field: &str, names: &[&str]) {
    let listed = list_of(field);
    assert_eq!(listed.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    assert_eq!(listed.iter().filter(|(_, meaning)| meaning.len() < 10).count(), 0, "{listed:?}");
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "no two have one name");
}

#[test]
fn the_contract_lists_each_operation_with_its_meaning() {
    is_documented("operation", &Operation::VARIANTS.iter().map(|operation| operation.name()).collect::<Vec<_>>());
}

#[test]
fn the_contract_lists_each_reason_with_its_meaning() {
    is_documented("reason", &Reason::VARIANTS.iter().map(|reason| reason.name()).collect::<Vec<_>>());
}

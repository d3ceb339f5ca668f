//! The lists of `audit.proto` are those of the enums.

use super::{Operation, Reason};

const CONTRACT: &str = include_str!("../../../proto/lanyard/v1/audit.proto");

/// The list in the comment of a field of `AuditEvent`, line by line.
fn list_of(field: &str) -> Vec<&'static str> {
    let (_, message) = CONTRACT.split_once("message AuditEvent {").unwrap();
    let (before, _) = message.split_once(&format!("  string {field} = ")).unwrap();
    let comment = before.rsplit(";\n").next().unwrap();
    comment.lines().filter_map(|line| line.strip_prefix("  // - ")).collect()
}

#[test]
fn the_contract_lists_each_operation_with_its_meaning() {
    let expected = Operation::ALL.iter().map(|operation| format!("`{}`:{}", operation.name(), operation.meaning()));
    assert_eq!(list_of("operation"), expected.collect::<Vec<_>>());
}

#[test]
fn the_contract_lists_each_reason_with_its_meaning() {
    let expected = Reason::ALL.iter().map(|reason| format!("`{}`:{}", reason.name(), reason.meaning()));
    assert_eq!(list_of("reason"), expected.collect::<Vec<_>>());
}

#[test]
fn no_two_operations_and_no_two_reasons_have_one_name() {
    let mut names: Vec<_> = Operation::ALL.iter().map(|operation| operation.name()).collect();
    names.extend(Reason::ALL.iter().map(|reason| reason.name()));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

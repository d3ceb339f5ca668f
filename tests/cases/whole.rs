//! What keeps the table of cases whole: nothing of the contract is left out, and every case is as the format says.

use std::collections::{BTreeMap, BTreeSet};

use lanyard_client::ErrorReason;
use lanyard_tests::support::cases::{Case, Step, Via, read};
use prost_reflect::DescriptorPool;

use super::folder;
use super::variables::CaseServer;

/// Reasons that no case provokes, and why.
const NOT_PROVOKED: [(ErrorReason, &str); 2] = [
    (ErrorReason::Unspecified, "it is never sent"),
    (
        ErrorReason::ShuttingDown,
        "a server says it once, to streams that are open when it ends, and the cases need theirs until they are told; \
         server/src/transport/tests has it",
    ),
];

const THROUGH_A_CLIENT: [&str; 3] = [
    "lanyard.v1.SessionService/VerifySession",
    "lanyard.v1.SessionService/CreateSession",
    "lanyard.v1.LinkedAuthService/ListLinkedAuth",
];

fn steps(case: &Case) -> Vec<Step> {
    let parse = |step: &serde_json::Value| {
        serde_json::from_value(step.clone()).unwrap_or_else(|problem| panic!("{}: {problem}: {step}", case.name))
    };
    case.steps.iter().map(parse).collect()
}

fn all_steps() -> Vec<Step> {
    read(&folder()).iter().flat_map(steps).collect()
}

#[test]
fn every_case_is_as_the_format_says() {
    let mut names = BTreeSet::new();
    for case in read(&folder()) {
        let is_sentence = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(case.name.bytes().all(is_sentence) && case.name.contains('_'), "{} is no sentence", case.name);
        assert!(names.insert(case.name.clone()), "{} is there twice", case.name);
        assert!(!case.steps.is_empty(), "{} has no steps", case.name);
        for step in steps(&case) {
            let ways = [step.request.is_some(), step.requests.is_some(), step.request_bytes.is_some()];
            assert!(ways.iter().filter(|way| **way).count() <= 1, "{}: more than one request", case.name);
            assert_eq!(step.requests.is_some(), step.expect.messages.is_some(), "{}: half a stream", case.name);
            if step.via == Via::Wire {
                assert!(step.expect.verified.is_none() && step.expect.items.is_none(), "{}", case.name);
            } else {
                assert!(THROUGH_A_CLIENT.contains(&step.call.as_str()), "{}: {}", case.name, step.call);
                assert!(step.save.is_empty(), "{}: a client layer gives no message to save from", case.name);
            }
        }
    }
}

#[test]
fn the_files_are_plain_enough_for_every_parser() {
    for entry in std::fs::read_dir(folder()).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            assert!(!text.contains("<<:") && !text.contains('\t') && !text.contains("\n---"), "{}", path.display());
        }
    }
}

#[test]
fn every_rpc_of_the_contract_has_a_case_in_which_it_succeeds() {
    let good: BTreeSet<String> =
        all_steps().into_iter().filter(|step| step.expect.code() == "OK").map(|step| step.call).collect();
    let pool = DescriptorPool::decode(lanyard_proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    let methods: Vec<_> = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    let names = methods.iter().map(|method| format!("{}/{}", method.parent_service().full_name(), method.name()));
    let missing: Vec<_> = names.filter(|name| !good.contains(name)).collect();
    assert!(missing.is_empty(), "without a case: {missing:?}");
}

#[test]
fn every_reason_of_the_contract_has_a_case_or_a_word_why_not() {
    let told: BTreeSet<String> = all_steps().into_iter().filter_map(|step| step.expect.reason.flatten()).collect();
    let why_not: BTreeMap<&str, &str> = NOT_PROVOKED.iter().map(|(reason, why)| (reason.reason(), *why)).collect();
    let known = (0..1000).filter_map(|number| ErrorReason::try_from(number).ok()).map(ErrorReason::reason);
    let known: BTreeSet<&str> = known.collect();
    let missing: Vec<_> = known.iter().filter(|it| !told.contains(**it) && !why_not.contains_key(**it)).collect();
    assert!(missing.is_empty(), "without a case: {missing:?}");
    let needless: Vec<_> = why_not.keys().filter(|reason| told.contains(**reason)).collect();
    assert!(needless.is_empty(), "there is a case: {needless:?}");
    let unknown: Vec<_> = told.iter().filter(|reason| !known.contains(reason.as_str())).collect();
    assert!(unknown.is_empty(), "not in the contract: {unknown:?}");
}

#[test]
fn every_variable_of_the_server_is_described_and_used() {
    let readme = std::fs::read_to_string(folder().join("README.md")).expect("it is there");
    let cases: Vec<_> = read(&folder()).into_iter().map(|case| case.steps).collect();
    let cases = format!("{cases:?}");
    let server = CaseServer::start();
    for name in server.variables.names() {
        assert!(readme.contains(&format!("`{name}`")), "README.md does not describe {name}");
        let places = [format!("${{{name}}}"), format!("${{totp:{name}}}")];
        // What runners put in by themselves stands in the format.
        let is_used = places.iter().any(|place| cases.contains(place) || readme.contains(place));
        assert!(is_used || name == "descriptor_file", "no case uses {name}");
    }
}

//! The files of `deploy/` fit the program that they deploy.

use std::collections::BTreeSet;

use lanyard_proto::FILE_DESCRIPTOR_SET;
use lanyard_server::config::Config;
use lanyard_tests::support::repository_file;
use prost_types::FileDescriptorSet;
use prost_types::method_options::IdempotencyLevel;
use regex::Regex;

#[test]
fn the_example_of_a_production_configuration_is_valid() {
    let example = repository_file("deploy/lanyard.toml");
    let config = Config::load(Some(&example), []).unwrap();
    assert!(config.server.tls.cert.is_some() && config.database.url.is_postgres());
    assert!(config.platforms["micetro"].ca_file.is_some());
    assert!(!config.show().contains("CHANGE-ME"), "the password of the database is not shown");
}

#[test]
fn envoy_tries_again_what_changes_nothing_and_that_only() {
    let descriptors: FileDescriptorSet = prost::Message::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut reads = BTreeSet::new();
    for file in descriptors.file.iter().filter(|file| file.package() == "lanyard.v1") {
        for service in &file.service {
            let changes_nothing = |method: &&prost_types::MethodDescriptorProto| {
                let level = method.options.as_ref().map(prost_types::MethodOptions::idempotency_level);
                level == Some(IdempotencyLevel::NoSideEffects)
            };
            let methods = service.method.iter().filter(changes_nothing);
            reads.extend(methods.map(|method| format!("/lanyard.v1.{}/{}", service.name(), method.name())));
        }
    }
    let envoy = std::fs::read_to_string(repository_file("deploy/envoy/envoy.yaml")).unwrap();
    let route = Regex::new(r"match: \{ path: (/\S+) \}").unwrap();
    let routed: Vec<_> = route.captures_iter(&envoy).map(|found| found[1].to_owned()).collect();
    assert!(reads.len() > 10);
    assert_eq!(routed.iter().cloned().collect::<BTreeSet<_>>(), reads);
    assert_eq!(routed.len(), reads.len(), "each once");
}

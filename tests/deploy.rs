//! The files of `deploy/` fit the program that they deploy.

use lanyard_server::config::Config;
use lanyard_tests::support::repository_file;

#[test]
fn the_example_of_a_production_configuration_is_valid() {
    let example = repository_file("deploy/lanyard.toml");
    let config = Config::load(Some(&example), []).unwrap();
    assert!(config.server.tls.cert.is_some() && config.database.url.is_postgres());
    assert!(config.platforms["micetro"].ca_file.is_some());
    assert!(!config.show().contains("CHANGE-ME"), "the password of the database is not shown");
}

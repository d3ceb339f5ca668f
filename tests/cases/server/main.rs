//! `case-server`: what the cases of all client languages are told to. It prints one line, a JSON object of variables, and
//! runs until its standard input ends. See `tests/cases/README.md`.

mod alter;
mod contract;
mod front;
mod people;
mod platforms;
mod secured;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;

use lanyard_client::secrecy::{ExposeSecret, SecretString};
use lanyard_tests::support::temporary_folder;

use contract::Contract;
use platforms::Platforms;

/// What is told to the runners.
#[derive(Default)]
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        let before = self.0.insert(name.clone(), value.into());
        assert!(before.is_none(), "{name} is set twice");
    }

    fn set_secret(&mut self, name: impl Into<String>, value: &SecretString) {
        self.set(name, value.expose_secret());
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut variables = Variables::default();
    let folder = temporary_folder();
    let contract = Arc::new(Contract::new());
    let descriptors = folder.path().join("descriptors.binpb");
    std::fs::write(&descriptors, contract.descriptors()).expect("the folder can be written to");
    variables.set("descriptor_file", descriptors.display().to_string());

    let platforms = Platforms::start();
    let people = people::start(&mut variables, &platforms).await;
    let front = front::start(people.addr(), contract).await;
    variables.set("faults_endpoint", front.to_string());
    let secured = secured::start(&mut variables, folder.path()).await;
    let trouble = Box::pin(trouble::start(&mut variables, &people)).await;

    println!("{}", serde_json::to_string(&variables.0).expect("text is JSON"));
    let until_closed = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    let ended = tokio::task::spawn_blocking(until_closed).await.expect("reading does not panic");
    drop((trouble, secured, people, platforms));
    ended.expect("standard input can be read");
}

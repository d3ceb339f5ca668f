//! The cases of all client languages, told by Rust. `tests/cases/README.md` says what a runner does.

mod generated;
mod pattern;
mod report;
mod variables;
mod via_client;
mod whole;
mod wire;

use std::path::PathBuf;

use lanyard_tests::support::cases::{Case, Step, Via, read};
use lanyard_tests::support::repository_file;
use lanyard_tests::support::server::run;

use report::Report;
use variables::{CaseServer, Variables};
use wire::Wire;

#[test]
fn rust_passes_every_case() {
    run(async {
        let server = CaseServer::start();
        let wire = Wire::new(&server.variables);
        let report = Report::new("rust");
        let mut failed = Vec::new();
        for case in read(&folder()) {
            let result = tell(&case, &server.variables, &wire).await;
            report.add(&case.name, &result);
            if let Err(reason) = result {
                failed.push(format!("{}: {reason}", case.name));
            }
        }
        assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
    });
}

fn folder() -> PathBuf {
    repository_file("tests/cases")
}

/// Runs a case up to the first step that is not as expected, and says which and how.
async fn tell(case: &Case, of_server: &Variables, wire: &Wire) -> Result<(), String> {
    let mut variables = of_server.of_a_case();
    for (number, step) in case.steps.iter().enumerate() {
        let told = take(step, &mut variables, wire).await;
        told.map_err(|problem| format!("step {}, {}: {problem}", number + 1, step["call"]))?;
    }
    Ok(())
}

async fn take(step: &serde_json::Value, variables: &mut Variables, wire: &Wire) -> Result<(), String> {
    let step: Step = serde_json::from_value(variables.fill(step)?).map_err(|problem| problem.to_string())?;
    if step.via != Via::Wire {
        return via_client::take(&step, variables).await;
    }
    let answer = wire.take(&step, variables).await?;
    for (name, path) in &step.save {
        variables.save(name, path, &answer)?;
    }
    Ok(())
}

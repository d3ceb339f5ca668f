//! `lanyard health`.

use clap::Args;
use serde_json::json;

use super::connection::Remote;
use super::exit::{Exit, Outcome};
use super::output::Output;

/// Ask whether a server serves (gRPC health v1); exit code 6 if it does not
#[derive(Args)]
pub(crate) struct Health {
    #[command(flatten)]
    check: Remote<Check>,
}

#[derive(Args)]
struct Check {
    /// Ask about one service, such as lanyard.v1.SessionService
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    service: String,
}

impl Health {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        let is_serving = self.check.connect().await?.is_serving(&self.check.verb.service).await?;
        let status = if is_serving { "SERVING" } else { "NOT_SERVING" };
        output.done(&json!({ "status": status }), status)?;
        Ok(if is_serving { Exit::Ok } else { Exit::Unavailable })
    }
}

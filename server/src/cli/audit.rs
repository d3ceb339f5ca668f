//! `lanyard audit`.

use clap::{Args, Subcommand, ValueEnum};
use lanyard_client::prost_types::Timestamp;
use lanyard_client::v1::{AuditOutcome, ListAuditEventsRequest};
use serde_json::json;

use super::connection::{ActingWithoutId, Limit};
use super::exit::{Exit, Outcome};
use super::operator;
use super::output::{Output, progress_bar, say, say_json};
use super::settings::Settings;
use super::user::user_id;
use super::view::EventView;
use super::when::past;

/// The audit trail: who did what to whom, and what came of it
#[derive(Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    List(Box<ActingWithoutId<List>>),
    Verify(Verify),
}

/// List events, newest first; super-users only
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanyard audit list --correlation-id order-4711
  lanyard audit list --operation session. --outcome refused --since 1h --json")]
struct List {
    /// Only of the call with this ID
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    correlation_id: String,
    /// Only with this user (name or usr_...), as the one who did it or the one it was done to
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only about this session (ses_...)
    #[arg(long, value_name = "SESSION", default_value = "", hide_default_value = true)]
    session: String,
    /// Only of this operation; `session.` matches all that begin so
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    operation: String,
    /// Only with this outcome
    #[arg(long)]
    outcome: Option<WhatCame>,
    /// Only of this calling service
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    caller: String,
    /// Only since then: a time (RFC 3339) or how long ago
    #[arg(long, value_name = "WHEN", value_parser = past)]
    since: Option<Timestamp>,
    /// Only before then: a time (RFC 3339) or how long ago
    #[arg(long, value_name = "WHEN", value_parser = past)]
    until: Option<Timestamp>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Clone, Copy, ValueEnum)]
enum WhatCame {
    Ok,
    Refused,
}

/// Find changed, removed, added and moved events, in the database itself; exit code 8 if there are any
///
/// It needs the key file: without it nobody can tell a forged event from a true one.
#[derive(Args)]
struct Verify {
    #[command(flatten)]
    settings: Settings,
}

impl Audit {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        match self.verb {
            Verb::List(list) => self::list(*list, output).await,
            Verb::Verify(verify) => self::verify(verify, output).await,
        }
    }
}

async fn list(list: ActingWithoutId<List>, output: Output) -> Outcome {
    let (list, subject) = list.connect().await?;
    let outcome = match list.outcome {
        None => AuditOutcome::Unspecified,
        Some(WhatCame::Ok) => AuditOutcome::Ok,
        Some(WhatCame::Refused) => AuditOutcome::Refused,
    };
    let request = ListAuditEventsRequest {
        correlation_id: list.correlation_id,
        user_id: match &list.user {
            Some(user) => user_id(&subject, user).await?,
            None => String::new(),
        },
        session_id: list.session,
        operation: list.operation,
        outcome: outcome.into(),
        caller: list.caller,
        start_time: list.since,
        end_time: list.until,
        page_size: list.limit.page_size(),
        ..ListAuditEventsRequest::default()
    };
    let (events, has_more) = list.limit.collect(subject.list_audit_events(request)).await?;
    let views: Vec<_> = events.into_iter().map(EventView::from).collect();
    output.list("events", &views, has_more)
}

async fn verify(verify: Verify, output: Output) -> Outcome {
    let store = operator::open(&verify.settings.load()?).await?;
    let bar = progress_bar("verifying");
    let verified = store
        .verify_audit(&|done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })
        .await;
    bar.finish_and_clear();
    let (events, problems) = verified?;
    store.close().await?;
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    if output.is_json() {
        say_json(&json!({ "events": events, "problems": problems }))?;
    } else {
        problems.iter().try_for_each(|problem| say(problem).map(drop))?;
        say(&verdict(events, problems.len()))?;
    }
    Ok(if problems.is_empty() { Exit::Ok } else { Exit::AuditProblems })
}

fn verdict(events: u64, problems: usize) -> String {
    match problems {
        0 => format!("Events verified: {events}. All are as they were written."),
        n => format!("Events verified: {events}. Problems found: {n}."),
    }
}

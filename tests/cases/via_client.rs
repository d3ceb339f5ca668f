//! Steps through the client layer, as its page shows it.

use std::time::Duration;

use futures::TryStreamExt;
use lanyard_client::secrecy::SecretString;
use lanyard_client::v1::ListLinkedAuthRequest;
use lanyard_client::{Client, CorrelationLayer, Error, ErrorReason, Ust, Verdict};
use lanyard_proto::CORRELATION_ID_HEADER;
use lanyard_tests::support::cases::{Expect, Step, Via};
use serde_json::{Value, json};
use tracing::Instrument;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::layer::SubscriberExt;

use super::pattern;
use super::variables::Variables;
use super::wire::code_name;

/// What the layer gave.
enum Given {
    Verified(bool),
    Session(Value),
    Items(usize),
}

pub(super) async fn take(step: &Step, variables: &Variables) -> Result<(), String> {
    let client = connect(step, variables).await?;
    let default = format!("case-{}", variables.get("unique")?);
    let id = match step.metadata.get(CORRELATION_ID_HEADER) {
        Some(id) => id.clone().ok_or("a client always sends a correlation ID")?,
        None => default,
    };
    // As a service has it: a span with the ID, and the layer that remembers it.
    let calling = async {
        let span = tracing::info_span!("case", correlation_id = id);
        call(&client, step).instrument(span).await
    };
    let given = calling.with_subscriber(tracing_subscriber::registry().with(CorrelationLayer)).await?;
    check(&step.expect, given, &id)
}

async fn connect(step: &Step, variables: &Variables) -> Result<Client, String> {
    let (scheme, default) = if step.via == Via::Client { ("http", "endpoint") } else { ("https", "tls_endpoint") };
    let endpoint = step.endpoint.as_deref().map_or_else(|| variables.get(default), Ok)?;
    let mut builder = Client::builder(format!("{scheme}://{endpoint}"));
    let file = |name: &str| std::fs::read(variables.get(name)?).map_err(|problem| format!("{name}: {problem}"));
    if step.via != Via::Client {
        builder = builder.ca(file("tls_ca_file")?);
    }
    if step.via == Via::ClientMtls {
        builder = builder.identity(file("tls_client_cert_file")?, file("tls_client_key_file")?);
    } else {
        let bearer = step.metadata.get("authorization").cloned().flatten();
        let key = match bearer.as_deref() {
            Some(bearer) => bearer.strip_prefix("Bearer ").ok_or("the authorization of a client is a key")?,
            None => variables.get("caller_key")?,
        };
        builder = builder.api_key(key);
    }
    if let Some(deadline) = step.deadline_ms {
        builder = builder.deadline(Duration::from_millis(deadline));
    }
    builder.connect().await.map_err(|problem| problem.to_string())
}

async fn call(client: &Client, step: &Step) -> Result<Result<Given, Error>, String> {
    let request = step.request.as_ref().ok_or("it has no request")?;
    let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let ust = Ust::new(text("/ust"));
    Ok(match step.call.as_str() {
        "lanyard.v1.SessionService/VerifySession" => match client.verify(&ust).await {
            Ok(verdict) => Ok(Given::Verified(matches!(verdict, Verdict::Active(_)))),
            // An answer that it does not understand, where the case does not expect a refusal.
            Err(error) if error.reason == ErrorReason::Unspecified && step.expect.verified == Some(false) => {
                Ok(Given::Verified(false))
            }
            Err(error) => Err(error),
        },
        "lanyard.v1.SessionService/CreateSession" => {
            let password = SecretString::from(text("/password/password"));
            let login = client.log_in(text("/password/username"), &password).await;
            login.map(|login| Given::Session(json!({ "session": { "username": login.session.username } })))
        }
        "lanyard.v1.LinkedAuthService/ListLinkedAuth" => {
            let user_id = text("/user_id").to_owned();
            let request = ListLinkedAuthRequest { user_id, ..ListLinkedAuthRequest::default() };
            let links = client.on_behalf_of(&ust).list_linked_auth(request).into_stream();
            links.try_fold(0, async |count, _| Ok(count + 1)).await.map(Given::Items)
        }
        other => return Err(format!("{other} is not called through the client layer")),
    })
}

fn check(expect: &Expect, given: Result<Given, Error>, id: &str) -> Result<(), String> {
    let given = match given {
        Ok(given) => given,
        Err(error) => return check_error(expect, &error, id),
    };
    pattern::check_text(expect.code(), "OK", "code")?;
    match (given, expect) {
        (Given::Verified(found), Expect { verified: Some(wanted), .. }) if found == *wanted => Ok(()),
        (Given::Items(found), Expect { items: Some(wanted), .. }) if found == *wanted => Ok(()),
        (Given::Session(found), Expect { message: Some(wanted), .. }) => {
            pattern::check(wanted, Some(&found), "message")
        }
        (Given::Verified(found), _) => Err(format!("verified: is {found}")),
        (Given::Items(found), _) => Err(format!("items: there were {found}")),
        (Given::Session(found), _) => Err(format!("it was answered: {found}")),
    }
}

fn check_error(expect: &Expect, error: &Error, id: &str) -> Result<(), String> {
    pattern::check_text(expect.code(), &code_name(error.code), "code").map_err(|it| format!("{it} ({error})"))?;
    if let Some(reason) = &expect.reason {
        let wanted = reason.as_deref().map_or(ErrorReason::Unspecified, ErrorReason::from_reason);
        if error.reason != wanted {
            return Err(format!("reason: is {}, not {reason:?}", error.reason.reason()));
        }
    }
    if let Some(wanted) = &expect.field_violations {
        let found: Vec<_> = error.field_violations.iter().map(|violation| violation.field.clone()).collect();
        if found != *wanted {
            return Err(format!("field_violations: are {found:?}, not {wanted:?}"));
        }
    }
    if expect.retry_info.is_some_and(|wanted| wanted != error.retry_after.is_some()) {
        return Err(format!("retry_info: the delay is {:?}", error.retry_after));
    }
    let wanted = match &expect.correlation_id {
        Some(None) => return Ok(()),
        Some(Some(wanted)) => wanted,
        None => id,
    };
    let found = error.correlation_id.as_str();
    pattern::check_text(wanted, found, "correlation_id")?;
    if error.to_string().contains(found) { Ok(()) } else { Err(format!("its text does not tell its ID: {error}")) }
}

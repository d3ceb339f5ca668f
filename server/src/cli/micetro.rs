//! `lanyard micetro`.

use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use lanyard_client::micetro::{MicetroBody, MicetroClient, MicetroRequest};
use lanyard_client::{MicetroReply, Subject};
use serde_json::{Value, json};

use super::connection::Acting;
use super::exit::{Exit, Failure, Outcome};
use super::output::{Output, harmless, say, say_json};

/// Call the Micetro that the session is logged in to; the password is not needed, and not seen
#[derive(Args)]
#[command(after_help = "\
Paths begin below /mmws/api/v2. What Micetro answers is shown as it comes, in `result`.

Examples:
  lanyard micetro get /dnsServers --param limit=5
  lanyard micetro get /users/. --unwrap
  lanyard micetro post /dnsZones/1/dnsRecords --body '{\"dnsRecord\": {\"name\": \"web\", \"type\": \"A\", \"data\": \"192.0.2.7\"}}'")]
pub(crate) struct Micetro {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Read
    Get(Acting<Call>),
    /// Create
    Post(Acting<CallWithBody>),
    /// Change
    Put(Acting<CallWithBody>),
    /// Change in part
    Patch(Acting<CallWithBody>),
    /// Remove
    Delete(Acting<Call>),
    /// Tell which version it says it is
    Version(Acting<Nothing>),
}

#[derive(Args)]
struct Nothing {}

#[derive(Args)]
struct Call {
    /// What to call, beginning with `/`
    path: String,
    /// A parameter of the query, encoded here; can be given several times
    #[arg(long = "param", short, value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// A status that is no failure; can be given several times [default: 200 for get, 200 to 299 for the others]
    #[arg(long = "expect", value_name = "STATUS", value_parser = clap::value_parser!(u16).range(100..600))]
    expected: Vec<u16>,
    /// Show what is in `result`
    #[arg(long)]
    unwrap: bool,
}

#[derive(Args)]
struct CallWithBody {
    #[command(flatten)]
    call: Call,
    /// What is sent, as JSON
    #[arg(long, value_name = "JSON", value_parser = json_text)]
    body: Option<Value>,
    /// The same from a file; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "body")]
    body_file: Option<PathBuf>,
}

impl CallWithBody {
    fn body(&mut self) -> Result<Option<Value>, Failure> {
        let Some(file) = &self.body_file else { return Ok(self.body.take()) };
        let unusable = |problem: String| Failure::new(Exit::Usage, format!("{}: {problem}", file.display()));
        let mut text = String::new();
        let read = if file.as_os_str() == "-" {
            std::io::stdin().lock().read_to_string(&mut text).map(drop)
        } else {
            std::fs::read_to_string(file).map(|read| text = read)
        };
        read.map_err(|error| unusable(error.to_string()))?;
        serde_json::from_str(&text).map(Some).map_err(|error| unusable(format!("is no JSON: {error}")))
    }
}

impl Micetro {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        match self.verb {
            Verb::Get(verb) => send(verb, MicetroClient::http_get, output).await,
            Verb::Delete(verb) => send(verb, MicetroClient::http_delete, output).await,
            Verb::Post(verb) => send_body(verb, MicetroClient::http_post, output).await,
            Verb::Put(verb) => send_body(verb, MicetroClient::http_put, output).await,
            Verb::Patch(verb) => send_body(verb, MicetroClient::http_patch, output).await,
            Verb::Version(verb) => {
                let (Nothing {}, subject) = verb.connect().await?;
                let version = client(&subject).await?.micetro_version().await?;
                output.done(&json!({ "micetro_version": version }), &harmless(&version))
            }
        }
    }
}

/// Such as `MicetroClient::http_get`.
type Begin = fn(&MicetroClient, &str) -> MicetroRequest;

async fn client(subject: &Subject) -> Result<MicetroClient, Failure> {
    Ok(subject.user_session().await?.micetro_api().v2())
}

async fn send(verb: Acting<Call>, begin: Begin, output: Output) -> Outcome {
    let (call, subject) = verb.connect().await?;
    call.send(begin, None, &subject, output).await
}

async fn send_body(verb: Acting<CallWithBody>, begin: Begin, output: Output) -> Outcome {
    let (mut call, subject) = verb.connect().await?;
    let body = call.body()?;
    call.call.send(begin, body, &subject, output).await
}

impl Call {
    async fn send(self, begin: Begin, body: Option<Value>, subject: &Subject, output: Output) -> Outcome {
        let mut request = begin(&client(subject).await?, &self.path);
        for (name, value) in self.params {
            request = request.param(name, value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        if !self.expected.is_empty() {
            request = request.expected_status_codes(self.expected);
        }
        let reply = request.await?;
        if self.unwrap { say_json(&reply.result()?) } else { show(reply, output) }
    }
}

fn show(reply: MicetroReply, output: Output) -> Outcome {
    match reply.body() {
        MicetroBody::Text(text) if text.is_empty() => {
            let status = reply.status();
            output.done(&json!({ "status": status }), &format!("Micetro answered {status}."))
        }
        MicetroBody::Text(text) if !output.is_json() => {
            let lines: Vec<_> = text.lines().map(harmless).collect();
            say(&lines.join("\n"))
        }
        _ => say_json(&reply.into_value()),
    }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn json_text(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))
}

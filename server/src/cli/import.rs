//! `lanyard import`: opens the database directly.

use crate::app::import::{ImportOptions, JwtIssuer, Line, RowKind, RowOutcome};
use crate::config::DatabaseUrl;
use crate::store::read_zato;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::{Exit, Outcome};
use super::operator::Operator;
use super::output::{Output, harmless, progress_bar, say};
use super::settings::Settings;

/// Take over users, definitions and links from another system (on the machine of the database)
#[derive(Args)]
pub(crate) struct Import {
    #[command(subcommand)]
    source: Source,
}

#[derive(Subcommand)]
enum Source {
    Zato(Box<Zato>),
}

/// Take over users, basic-auth and JWT definitions and their links from Zato SSO
///
/// Zato's database is only read. A line says of each row what becomes of it: took, changed (and what), refused (and why) or
/// already there. Exit code 10 if rows are refused; all others are imported.
///
/// It can be run again: what is already there stays as it is. Users are known by their name, definitions by type, issuer and
/// username, links by their definition. So whoever has the name of a user of Zato gets that user's links: look at what a
/// first --dry-run finds already there. A server on SQLite is to be stopped before.
#[derive(Args)]
#[command(after_help = "\
What does not come along, because Zato encrypts it with its own key: passwords, second factors,
encrypted emails and the secrets of definitions. Nobody can log in with a password or a definition
until it has a new one. Neither do sessions, attributes and groups.

Examples:
  lanyard import zato --from sqlite:/opt/zato/zato.db --dry-run
  lanyard import zato --from postgres://reader@db.example.org/zato --config /etc/lanyard/lanyard.toml
  lanyard import zato --from postgres://reader@db.example.org/sso \\
    --definitions-from postgres://reader@db.example.org/zato --json")]
struct Zato {
    /// Zato's database with the users: `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/NAME`
    #[arg(long, value_name = "URL", env = "LANYARD_IMPORT_FROM", hide_env_values = true)]
    from: String,
    /// Zato's database with the definitions, if it is another one
    #[arg(long, value_name = "URL", env = "LANYARD_IMPORT_DEFINITIONS_FROM", hide_env_values = true)]
    definitions_from: Option<String>,
    /// Say what would become of each row, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Super-users stay super-users; otherwise they come as regular users
    #[arg(long)]
    keep_super_users: bool,
    /// Only definitions that a user is linked to
    #[arg(long)]
    linked_only: bool,
    #[command(flatten)]
    jwt: Option<Jwt>,
    #[command(flatten)]
    settings: Settings,
}

/// Zato issues the tokens of its JWT definitions itself; here somebody else must. Without these they are refused.
#[derive(Args)]
#[command(next_help_heading = "JWT definitions, which are refused without these")]
#[group(requires_all = ["issuer", "audience", "jwks_url"])]
struct Jwt {
    /// The `iss` of their tokens; the `sub` is the username of the definition
    #[arg(long = "jwt-issuer", required = false, value_name = "ISSUER")]
    issuer: String,
    /// What their `aud` must contain
    #[arg(long = "jwt-audience", required = false, value_name = "AUDIENCE")]
    audience: String,
    /// Where the issuer's public keys are (https)
    #[arg(long = "jwt-jwks-url", required = false, value_name = "URL")]
    jwks_url: String,
    /// Algorithm of their signatures; can be given often
    #[arg(long = "jwt-algorithm", value_name = "NAME", value_delimiter = ',', default_value = "RS256")]
    algorithm: Vec<String>,
}

impl Import {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        let Source::Zato(zato) = self.source;
        zato.run(output).await
    }
}

impl Zato {
    async fn run(self, output: Output) -> Outcome {
        let operator = Operator::open(&self.settings).await?;
        let definitions_from = self.definitions_from.as_deref().map(DatabaseUrl::new);
        let zato = read_zato(&DatabaseUrl::new(&self.from), definitions_from.as_ref()).await?;
        let jwt = self.jwt.map(|jwt| JwtIssuer {
            issuer: jwt.issuer,
            audience: jwt.audience,
            algorithms: jwt.algorithm,
            jwks_url: jwt.jwks_url,
        });
        let options = ImportOptions { keep_super_users: self.keep_super_users, linked_only: self.linked_only, jwt };
        let plan = operator.app.plan_import(zato, &options).await?;
        let mut report = Report::new(output, self.dry_run, plan.len());
        if self.dry_run {
            plan.into_lines().for_each(|line| report.line(&line));
        } else {
            let done = operator.app.import(&operator.context, plan, |line| report.line(&line)).await;
            report.bar.finish_and_clear();
            done?;
        }
        operator.close().await?;
        report.end()
    }
}

/// Prints a line per row and, at the end, totals.
struct Report {
    output: Output,
    is_dry_run: bool,
    bar: indicatif::ProgressBar,
    /// Rows by kind and outcome.
    counts: [[u64; OUTCOMES.len()]; KINDS.len()],
    /// The first error of printing a line.
    failed: Option<super::exit::Failure>,
}

const KINDS: [RowKind; 3] = [RowKind::User, RowKind::Definition, RowKind::Link];
const OUTCOMES: [RowOutcome; 4] =
    [RowOutcome::Imported, RowOutcome::Changed, RowOutcome::Refused, RowOutcome::AlreadyExists];

const fn kind(kind: RowKind) -> &'static str {
    match kind {
        RowKind::User => "user",
        RowKind::Definition => "definition",
        RowKind::Link => "link",
    }
}

const fn outcome(outcome: RowOutcome) -> &'static str {
    match outcome {
        RowOutcome::Imported => "took",
        RowOutcome::Changed => "changed",
        RowOutcome::Refused => "refused",
        RowOutcome::AlreadyExists => "already there",
    }
}

impl Report {
    fn new(output: Output, is_dry_run: bool, rows: usize) -> Self {
        let bar = progress_bar("importing");
        bar.set_length(rows as u64);
        Self { output, is_dry_run, bar, counts: Default::default(), failed: None }
    }

    fn line(&mut self, line: &Line) {
        self.counts[line.kind as usize][line.outcome as usize] += 1;
        let text = if self.output.is_json() { line_json(line).to_string() } else { line_text(line) };
        if let Err(failure) = self.bar.suspend(|| say(&text)) {
            self.failed.get_or_insert(failure);
        }
        self.bar.inc(1);
    }

    fn end(self) -> Outcome {
        self.bar.finish_and_clear();
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        if self.output.is_json() {
            let totals = KINDS.map(|kind| (format!("{}s", self::kind(kind)), self.counts_json(kind)));
            let totals: serde_json::Map<_, _> = totals.into_iter().collect();
            say(&json!({ "totals": totals, "dry_run": self.is_dry_run }).to_string())?;
        } else {
            KINDS.iter().try_for_each(|kind| say(&self.counts_text(*kind)).map(drop))?;
            self.notes();
        }
        let refused: u64 = KINDS.iter().map(|kind| self.counts[*kind as usize][RowOutcome::Refused as usize]).sum();
        Ok(if refused == 0 { Exit::Ok } else { Exit::RowsRefused })
    }

    fn counts_json(&self, kind: RowKind) -> Value {
        let counts =
            OUTCOMES.map(|outcome| (outcome_key(outcome), self.counts[kind as usize][outcome as usize].into()));
        Value::Object(counts.into_iter().collect())
    }

    fn counts_text(&self, kind: RowKind) -> String {
        let counts = OUTCOMES
            .map(|outcome| format!("{} {}", self::outcome(outcome), self.counts[kind as usize][outcome as usize]));
        format!("{:<12} {}", format!("{}s:", self::kind(kind)), counts.join(", "))
    }

    fn notes(&self) {
        if self.is_dry_run {
            self.output.note("This was a dry run: nothing was written.");
        }
        self.output.note(
            "Zato encrypts passwords and secrets with its own key, so they do not come along. Imported users cannot log in \
             with a password until it is set (`lanyard user set-password`), and nobody can with an imported basic-auth \
             definition until its secret is replaced (`lanyard definition rotate`).",
        );
    }
}

fn outcome_key(outcome: RowOutcome) -> String {
    self::outcome(outcome).replace(' ', "_")
}

fn line_json(line: &Line) -> Value {
    json!({
        "row": kind(line.kind),
        "source": line.source,
        "name": line.name,
        "outcome": outcome_key(line.outcome),
        "remarks": line.remarks,
        "id": line.id,
    })
}

fn line_text(line: &Line) -> String {
    let mut text = format!("{:<13} {:<10} {} ({})", outcome(line.outcome), kind(line.kind), line.name, line.source);
    if let Some(id) = &line.id {
        text.push_str(" -> ");
        text.push_str(id);
    }
    if !line.remarks.is_empty() {
        text.push_str(": ");
        text.push_str(&line.remarks.join("; "));
    }
    harmless(&text)
}

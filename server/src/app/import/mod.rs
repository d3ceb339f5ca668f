//! Import of users, definitions and links from Zato SSO.
//!
//! A plan is made for all rows by reads only, then carried out with one transaction per row, so a dry run reports what
//! a real run would do. Existing rows are left alone: users are matched by name, definitions by type, issuer and
//! username, links by their definition.

mod definition;
mod link;
mod run;
mod user;

use super::App;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::store::{DefinitionRow, LinkedAuthRow, UserRow, ZatoTables};

/// Rows per look-up query.
const CHUNK: usize = 500;

/// Options of an import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Whether super-users keep their role; otherwise they become regular users.
    pub keep_super_users: bool,
    /// Whether to skip definitions without a link.
    pub linked_only: bool,
    /// The new issuer of JWT definitions; without it they are refused.
    pub jwt: Option<JwtIssuer>,
}

/// The new issuer of JWT definitions. Zato issues its tokens itself, and nobody else can verify them.
#[derive(Clone, Debug)]
pub struct JwtIssuer {
    pub issuer: String,
    pub audience: String,
    pub algorithms: Vec<String>,
    pub jwks_url: String,
}

/// The kind of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    User,
    Definition,
    Link,
}

/// The result for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOutcome {
    /// Imported unchanged.
    Imported,
    /// Imported with changes or omissions; the remarks say which.
    Changed,
    /// Not imported; the remarks say why.
    Refused,
    AlreadyExists,
}

/// A row of Zato and its result.
#[derive(Clone, Debug)]
pub struct Line {
    pub kind: RowKind,
    /// ID in Zato.
    pub source: String,
    /// Human-readable name.
    pub name: String,
    pub outcome: RowOutcome,
    pub remarks: Vec<String>,
    /// ID in Lanyard. Provisional until the row is written.
    pub id: Option<String>,
}

impl Line {
    fn new(kind: RowKind, source: &impl ToString, name: impl Into<String>) -> Self {
        let (source, name) = (source.to_string(), name.into());
        Self { kind, source, name, outcome: RowOutcome::Imported, remarks: Vec::new(), id: None }
    }

    fn changed(&mut self, remark: impl Into<String>) {
        self.outcome = RowOutcome::Changed;
        self.remarks.push(remark.into());
    }

    fn refused(mut self, reason: impl Into<String>) -> Self {
        (self.outcome, self.remarks, self.id) = (RowOutcome::Refused, vec![reason.into()], None);
        self
    }

    fn already_exists(mut self, id: Option<String>) -> Self {
        (self.outcome, self.remarks, self.id) = (RowOutcome::AlreadyExists, Vec::new(), id);
        self
    }
}

/// A line, and the row to write for it, if any.
struct Step<R> {
    line: Line,
    row: Option<R>,
}

impl<R> Step<R> {
    const fn skip(line: Line) -> Self {
        Self { line, row: None }
    }
}

/// The steps of an import, for all rows.
pub struct ImportPlan {
    users: Vec<Step<UserRow>>,
    definitions: Vec<Step<DefinitionRow>>,
    links: Vec<Step<LinkedAuthRow>>,
}

impl ImportPlan {
    /// Number of rows.
    pub const fn len(&self) -> usize {
        self.users.len() + self.definitions.len() + self.links.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The result of a dry run. Of rows to be written, only definitions have an ID already.
    pub fn into_lines(self) -> impl Iterator<Item = Line> {
        fn lines<R>(steps: Vec<Step<R>>, keeps_id: bool) -> impl Iterator<Item = Line> {
            steps.into_iter().map(move |Step { mut line, row }| {
                line.id = line.id.filter(|_| keeps_id || row.is_none());
                line
            })
        }
        lines(self.users, false).chain(lines(self.definitions, true)).chain(lines(self.links, false))
    }
}

impl App {
    /// Plans an import without writing anything.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn plan_import(&self, zato: ZatoTables, options: &ImportOptions) -> Result<ImportPlan> {
        let now = self.parts.clock.now();
        let users = user::Users::plan(self, &zato.users, options, now).await?;
        let definitions = definition::Definitions::plan(self, &zato, options, now).await?;
        let links = link::plan(self, zato.links, &users, &definitions, now).await?;
        Ok(ImportPlan { users: users.steps, definitions: definitions.steps, links })
    }
}

/// Both databases' spellings of true.
fn is_true(text: Option<&String>) -> bool {
    text.is_some_and(|text| ["1", "t", "true"].iter().any(|yes| text.eq_ignore_ascii_case(yes)))
}

/// True by default: a flag that this version of Zato lacks was not turned off.
fn is_not_false(text: Option<&String>) -> bool {
    text.is_none() || is_true(text)
}

/// The creation time, unless it is unknown or in the future.
fn creation_time(text: Option<&String>, now: Time) -> Option<Time> {
    Time::parse(text?).filter(|time| *time <= now)
}

/// The reason of a refused row; faults are passed on.
fn reason(error: Error) -> Result<String> {
    match error {
        Error::InvalidField { field, problem } => {
            let field = field.rsplit('.').next().unwrap_or_default();
            Ok(format!("its {field} {problem}"))
        }
        Error::UsernameTaken
        | Error::DefinitionExists
        | Error::DefinitionNameTaken
        | Error::LinkUnavailable
        | Error::UserNotFound
        | Error::DefinitionNotFound => Ok(error.to_string()),
        fault => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_say_yes_in_their_ways() {
        let text = |text: &str| Some(text.to_owned());
        for yes in ["1", "t", "true", "TRUE"] {
            assert!(is_true(text(yes).as_ref()) && is_not_false(text(yes).as_ref()), "{yes}");
        }
        for no in ["0", "f", "false", "", "maybe"] {
            assert!(!is_true(text(no).as_ref()) && !is_not_false(text(no).as_ref()), "{no}");
        }
        assert!(!is_true(None) && is_not_false(None));
    }

    #[test]
    fn what_was_made_in_the_future_was_made_at_no_known_time() {
        let now = Time::from_micros(2_000_000);
        assert_eq!(creation_time(Some(&"1970-01-01 00:00:01".to_owned()), now), Some(Time::from_micros(1_000_000)));
        assert_eq!(creation_time(Some(&"1970-01-01 00:00:03".to_owned()), now), None);
        assert_eq!(creation_time(None, now), None);
    }
}

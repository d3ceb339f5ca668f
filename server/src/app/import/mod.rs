//! Import from Zato SSO: what becomes of each of its users, definitions and links.
//!
//! First a plan for all rows, made by reading only, then the plan is carried out, a transaction for each row. So a dry run
//! says what a run would do, and what is there already stays as it is: users are known by their name, definitions by type,
//! issuer and username, links by their definition.

mod definition;
mod link;
mod run;
mod user;

use super::App;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::store::{DefinitionRow, LinkedAuthRow, UserRow, ZatoTables};

/// Rows that are looked up at once.
const CHUNK: usize = 500;

/// What is imported, and how.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Super-users stay what they are; otherwise they come as regular users.
    pub keep_super_users: bool,
    /// Only definitions that somebody is linked to.
    pub linked_only: bool,
    /// What makes JWT definitions of Zato into ours; without it they are refused.
    pub jwt: Option<JwtIssuer>,
}

/// Who issues the tokens of JWT definitions: Zato's own, which it issues itself, are worth nothing elsewhere.
#[derive(Clone, Debug)]
pub struct JwtIssuer {
    pub issuer: String,
    pub audience: String,
    pub algorithms: Vec<String>,
    pub jwks_url: String,
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    User,
    Definition,
    Link,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// As it was.
    Took,
    /// Not all of it, or not as it was; the remarks say what.
    Changed,
    /// Not at all; the remarks say why.
    Refused,
    AlreadyThere,
}

/// A row of Zato and what becomes of it.
#[derive(Clone, Debug)]
pub struct Line {
    pub noun: Noun,
    /// Its identifier in Zato.
    pub source: String,
    /// What people know it by.
    pub name: String,
    pub fate: Fate,
    pub remarks: Vec<String>,
    /// Its identifier here. That of a row which is not written yet is not its last.
    pub id: Option<String>,
}

impl Line {
    fn new(noun: Noun, source: &impl ToString, name: impl Into<String>) -> Self {
        let (source, name) = (source.to_string(), name.into());
        Self { noun, source, name, fate: Fate::Took, remarks: Vec::new(), id: None }
    }

    fn changed(&mut self, remark: impl Into<String>) {
        self.fate = Fate::Changed;
        self.remarks.push(remark.into());
    }

    fn refused(mut self, reason: impl Into<String>) -> Self {
        (self.fate, self.remarks, self.id) = (Fate::Refused, vec![reason.into()], None);
        self
    }

    fn already_there(mut self, id: Option<String>) -> Self {
        (self.fate, self.remarks, self.id) = (Fate::AlreadyThere, Vec::new(), id);
        self
    }
}

/// A line, and the row that is written for it, if any.
struct Step<R> {
    line: Line,
    row: Option<R>,
}

impl<R> Step<R> {
    const fn nothing(line: Line) -> Self {
        Self { line, row: None }
    }
}

/// What is to be done with everything that was read.
pub struct ImportPlan {
    users: Vec<Step<UserRow>>,
    definitions: Vec<Step<DefinitionRow>>,
    links: Vec<Step<LinkedAuthRow>>,
}

impl ImportPlan {
    /// How many rows there are.
    pub const fn len(&self) -> usize {
        self.users.len() + self.definitions.len() + self.links.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What would be done. Rows that would be written have no identifier yet, but definitions do have their number.
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
    /// Looks at everything and writes nothing.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn plan_import(&self, zato: ZatoTables, options: &ImportOptions) -> Result<ImportPlan> {
        let now = self.parts.clock.now();
        let users = user::Users::plan(self, &zato.users, options, now).await?;
        let definitions = definition::Definitions::plan(self, &zato, options, now).await?;
        let links = link::plan(self, zato.links, &users, &definitions, now).await?;
        Ok(ImportPlan { users: users.steps, definitions: definitions.steps, links })
    }
}

/// How databases write "yes".
fn is_true(text: Option<&String>) -> bool {
    text.is_some_and(|text| ["1", "t", "true"].iter().any(|yes| text.eq_ignore_ascii_case(yes)))
}

/// Yes, unless it says no: what a version of Zato does not know was not turned off.
fn is_not_false(text: Option<&String>) -> bool {
    text.is_none() || is_true(text)
}

/// When something was made, which is not later than now.
fn creation_time(text: Option<&String>, now: Time) -> Option<Time> {
    Time::parse(text?).filter(|time| *time <= now)
}

/// Why our rules do not let a row in; a fault is none.
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

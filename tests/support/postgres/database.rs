//! Databases of a server, one for each test.

use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::install;

/// A server and the right to create databases on it.
#[derive(Clone)]
pub(crate) struct Server {
    url: Url,
    /// Databases of a server that outlives us are dropped one by one.
    outlives_us: bool,
}

impl Server {
    /// Our own: it goes away with all its databases.
    pub(crate) fn own(url: &str) -> Result<Self, String> {
        Ok(Self { url: Url::parse(url)?, outlives_us: false })
    }

    /// Somebody else's.
    pub(crate) fn external(url: &str) -> Result<Self, String> {
        let server = Self { url: Url::parse(url)?, outlives_us: true };
        run(url, "SELECT 1").map(|_| server)
    }

    pub(crate) fn outlives_us(&self) -> bool {
        self.outlives_us
    }

    pub(crate) fn create(&self, template: Option<&Database>) -> Database {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("lanyard_test_{}_{}", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let template = template.map_or("template1", |database| &database.name);
        let url = self.url.with_database(&name);
        // Owned before it exists: what is half made is dropped too.
        let database = Database { url, name, dropped_by: self.outlives_us.then(|| Arc::from(self.url.text.as_str())) };
        let statement = format!("CREATE DATABASE {} TEMPLATE {template}", database.name);
        run(&self.url.text, &statement).unwrap_or_else(|problem| panic!("{statement}: {problem}"));
        database
    }
}

/// A database of a test's own.
pub struct Database {
    url: String,
    name: String,
    /// The URL to drop it by, if that is ours to do.
    dropped_by: Option<Arc<str>>,
}

impl Database {
    /// A database that exists, and stays.
    pub fn at(url: &str) -> Self {
        let name = Url::parse(url).map(|url| url.database().to_owned()).unwrap_or_default();
        Self { url: url.to_owned(), name, dropped_by: None }
    }

    /// `postgres://user:password@host:port/name`
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs statements beside the server under test, to look or to do harm, and returns what `psql` prints: one line
    /// a row, columns parted by `|`.
    ///
    /// # Panics
    /// With the server's words, if it refuses.
    pub fn execute(&self, statements: &str) -> String {
        run(&self.url, statements).unwrap_or_else(|problem| panic!("{statements}: {problem}"))
    }

    /// `psql` that runs these statements one after the other on one connection, for what has to go on for a while.
    ///
    /// # Panics
    /// If it is not installed.
    pub fn session(&self, statements: &[&str]) -> Command {
        let mut command = psql(&self.url).unwrap_or_else(|problem| panic!("{problem}"));
        command.args(statements.iter().flat_map(|statement| ["--command", statement]));
        command
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(url) = &self.dropped_by else { return };
        let dropped = run(url, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        if let Err(problem) = dropped
            && !thread::panicking()
        {
            panic!("database {} stays behind: {problem}", self.name);
        }
    }
}

fn psql(url: &str) -> Result<Command, String> {
    let mut command = Command::new(install::psql()?);
    command
        .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1", "--dbname", url])
        .env("PGCONNECT_TIMEOUT", "10");
    Ok(command)
}

fn run(url: &str, statements: &str) -> Result<String, String> {
    let output = psql(url)?.args(["--command", statements]).output().map_err(|e| format!("psql: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// A connection URL whose database can be exchanged.
#[derive(Clone)]
struct Url {
    text: String,
    /// Where the database's name is in it.
    database: std::ops::Range<usize>,
}

impl Url {
    fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("{} is not like postgres://user:password@host:port/database", crate::URL_VARIABLE);
        let authority = text.find("://").ok_or_else(invalid)? + 3;
        let end = text.find('?').unwrap_or(text.len());
        let start = authority + text.get(authority..end).and_then(|rest| rest.find('/')).ok_or_else(invalid)? + 1;
        Ok(Self { text: text.to_owned(), database: start..end })
    }

    fn database(&self) -> &str {
        &self.text[self.database.clone()]
    }

    fn with_database(&self, name: &str) -> String {
        let mut text = self.text.clone();
        text.replace_range(self.database.clone(), name);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn the_database_of_a_url_is_exchanged_and_its_parameters_stay() {
        let url = Url::parse("postgres://a:b@localhost:5432/old?sslmode=require").unwrap();
        assert_eq!(url.database(), "old");
        assert_eq!(url.with_database("new"), "postgres://a:b@localhost:5432/new?sslmode=require");
        assert_eq!(Url::parse("postgres://localhost/").unwrap().with_database("new"), "postgres://localhost/new");
    }

    #[test]
    fn a_url_without_a_database_is_refused_without_being_shown() {
        let problem = Url::parse("postgres://a:secret@localhost").err().unwrap();
        assert!(problem.contains("LANYARD_TEST_POSTGRES_URL") && !problem.contains("secret"), "{problem}");
    }
}

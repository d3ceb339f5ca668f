//! A temporary PostgreSQL for tests.
//!
//! [`shared`] starts one cluster for the whole process, or uses the server that `LANYARD_TEST_POSTGRES_URL` names;
//! each test takes a fresh [`Database`] of it. [`PrivateCluster`] is a cluster of the test's own, which it may stop
//! and start. Both come from the machine's packages, run as an unprivileged user on a free loopback port, and are gone
//! when the process is, however it ended.
//!
//! A test that needs PostgreSQL fails without it: nothing is skipped in silence.

mod cluster;
mod database;
mod install;

use std::sync::OnceLock;

pub use cluster::PrivateCluster;
pub use database::Database;
use database::Server;

/// Names a PostgreSQL server to use instead of a temporary one: a URL of a role that may create databases.
pub const URL_VARIABLE: &str = "LANYARD_TEST_POSTGRES_URL";

/// The server that all tests of this process share.
///
/// # Panics
/// If there is none and none can be started; the message says what to install.
pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Result<Shared, String>> = OnceLock::new();
    match SHARED.get_or_init(Shared::start) {
        Ok(shared) => shared,
        Err(problem) => panic!("no PostgreSQL for this test: {problem}"),
    }
}

/// See [`shared`].
pub struct Shared {
    server: Server,
    template: OnceLock<Database>,
    // Statics are not dropped: what ends the cluster is its watchdog, when this process is gone.
    _cluster: Option<PrivateCluster>,
}

impl Shared {
    fn start() -> Result<Self, String> {
        if let Some(url) = url_from_environment() {
            let server = Server::external(&url)?;
            return Ok(Self { server, template: OnceLock::new(), _cluster: None });
        }
        let cluster = PrivateCluster::try_start()?;
        Ok(Self { server: cluster.server(), template: OnceLock::new(), _cluster: Some(cluster) })
    }

    /// A new and empty database.
    pub fn database(&self) -> Database {
        self.server.create(None)
    }

    /// A new database as `prepare` fills it, given its URL. It is filled once and copied after that, which is quicker
    /// than migrating each time: so `prepare` must leave no connection open, and be the same for all callers.
    pub fn database_from_template(&self, prepare: impl FnOnce(&str)) -> Database {
        let fill = || {
            let database = self.server.create(None);
            prepare(database.url());
            database
        };
        if self.server.outlives_us() {
            // A template would stay behind: it is needed until the end, and nothing runs then.
            return fill();
        }
        self.server.create(Some(self.template.get_or_init(fill)))
    }
}

#[expect(clippy::disallowed_methods, reason = "which server the tests use is told by the environment")]
fn url_from_environment() -> Option<String> {
    std::env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_has_a_database_of_its_own() {
        let (one, other) = (shared().database(), shared().database());
        one.execute("CREATE TABLE passes (id int)");
        assert_ne!(one.url(), other.url());
        assert_eq!(other.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'passes'"), "0");
    }

    #[test]
    fn copies_of_the_template_hold_what_it_was_prepared_with_and_share_nothing_more() {
        let prepare = |url: &str| {
            Database::at(url).execute("CREATE TABLE passes (id int); INSERT INTO passes VALUES (7)");
        };
        let one = shared().database_from_template(prepare);
        let other = shared().database_from_template(prepare);
        one.execute("DELETE FROM passes");
        assert_eq!(one.execute("SELECT count(*) FROM passes"), "0");
        assert_eq!(other.execute("SELECT id FROM passes"), "7");
    }

    #[test]
    fn a_server_that_outlives_us_is_left_as_it_was_found() {
        let cluster = PrivateCluster::start();
        let postgres = Database::at(&cluster.url());
        let count = || postgres.execute("SELECT count(*) FROM pg_database");
        let before = count();
        let database = Server::external(postgres.url()).unwrap().create(None);
        assert_ne!(count(), before);
        drop(database);
        assert_eq!(count(), before);
    }

    #[test]
    fn a_statement_that_fails_is_a_panic_with_the_servers_words() {
        let database = shared().database();
        let panic = std::panic::catch_unwind(|| database.execute("SELECT nonsense")).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains(r#"column "nonsense" does not exist"#), "{message}");
    }
}

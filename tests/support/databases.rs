//! One test, both databases: see [`both_databases!`](crate::both_databases).

use std::future::Future;

/// Where a server under test keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// Makes, of each named `async fn(Database)`, the tests `name::on_sqlite` and `name::on_postgres`.
#[macro_export]
macro_rules! both_databases {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            use $crate::support::server::{Database, run};

            #[test]
            fn on_sqlite() {
                run(super::$name(Database::Sqlite));
            }

            #[test]
            fn on_postgres() {
                run(super::$name(Database::Postgres));
            }
        })+
    };
}

/// Makes, of each named `async fn(Database)`, the test `name::on_sqlite`: for behaviour that does not touch the database.
#[macro_export]
macro_rules! any_database {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            use $crate::support::server::{Database, run};

            #[test]
            fn on_sqlite() {
                run(super::$name(Database::Sqlite));
            }
        })+
    };
}

/// Runs a test to its end, on threads of its own: a test may do many things at once.
///
/// # Panics
/// If the test does.
pub fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime starts");
    runtime.block_on(test);
}

//! Sessions: log in, ask, list, log out.

use lanyard_client::Verdict;
use lanyard_tests::both_databases;
use lanyard_tests::support::server::{Database, TestServer};

async fn a_login_makes_a_session_whose_token_is_good(database: Database) {
    let server = TestServer::start(database).await;
    let login = server.log_in(&server.alice).await;
    let Verdict::Active(session) = server.client().verify(&login.ust).await.unwrap() else { panic!("it is good") };
    assert_eq!(session.username, "alice");
}

both_databases!(a_login_makes_a_session_whose_token_is_good);

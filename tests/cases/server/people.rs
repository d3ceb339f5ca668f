//! The server of most cases, and who and what is there.

use std::time::Duration;

use lanyard_client::Subject;
use lanyard_client::v1::definition_ref::Definition as ByNumber;
use lanyard_client::v1::{AttributeToSet, SetAttributesRequest};
use lanyard_server::app::App;
use lanyard_server::app::caller::CallerToCreate;
use lanyard_server::clock::Clock;
use lanyard_server::config::{App as AppConfig, Config, QuotaPolicy};
use lanyard_server::model::caller::{Apps, Grant};
use lanyard_server::model::session::AuthType;
use lanyard_tests::support::external::{Defined, Kinds};
use lanyard_tests::support::free_address;
use lanyard_tests::support::links::definition_row;
use lanyard_tests::support::principal::{AUDIENCE, ISSUER, definition, url};
use lanyard_tests::support::server::{Database, TestServer, all_powerful};
use lanyard_tests::support::signing::Signer;
use serde_json::json;

use crate::Variables;
use crate::platforms::Platforms;

/// More than one page of each size.
const LINKS: u64 = 250;
/// As many as are allowed; their page is as large as an answer gets.
const ATTRIBUTES: usize = 256;
/// A request of 16 KiB each may have this many.
const AT_ONCE: usize = 8;
const LONGEST_VALUE: usize = 16 * 1024;
const HOUR: Duration = Duration::from_hours(1);

pub(crate) async fn start(variables: &mut Variables, platforms: &Platforms) -> TestServer {
    let configure = |config: &mut Config| {
        configure(config);
        platforms.configure(config);
    };
    let server = TestServer::start_at(Database::Sqlite, Clock::system(), configure).await;
    variables.set("endpoint", server.addr().to_string());
    variables.set_secret("caller_key", &server.key);
    let root = server.as_root().await;
    for (name, person) in [("root", &server.root), ("alice", &server.alice)] {
        variables.set(format!("{name}_username"), &person.username);
        variables.set(format!("{name}_user_id"), &person.user_id);
        variables.set(format!("{name}_ust"), server.log_in(person).await.ust.expose());
    }
    variables.set_secret("alice_password", &server.alice.password);
    callers(&server, variables).await;
    sessions(&server, variables).await;
    links(&server, variables).await;
    attributes(&server, variables).await;
    tokens(&server, &root, variables).await;
    platforms.tell(&server, variables).await;
    server
}

fn configure(config: &mut Config) {
    // Calls that are never finished keep places taken for as long as the server runs.
    (config.server.max_deadline, config.server.max_connection_age) = (24 * HOUR, Duration::ZERO);
    // All cases log alice in, from one address, and some with a wrong password.
    config.session.quota = u32::MAX;
    (config.throttle.free_failures, config.throttle.address_free_failures) = (2, 1_000_000);
    config.jwt.allow_http_jwks = true;
    let single = AppConfig { quota: Some(1), quota_policy: Some(QuotaPolicy::Deny), ..AppConfig::default() };
    let self_service = AppConfig { self_service_links: true, ..AppConfig::default() };
    config.apps.extend([("single".to_owned(), single), ("self_service".to_owned(), self_service)]);
    assert!(config.apps.contains_key("CRM"), "the apps of all tests");
}

async fn callers(server: &TestServer, variables: &mut Variables) {
    let verify_only = [Grant::SessionVerify].into_iter().collect();
    let crm_only = Apps::Only(vec!["CRM".to_owned()]);
    for (name, caller) in [
        ("verify_only", CallerToCreate { grants: verify_only, ..all_powerful("verify-only") }),
        ("crm_only", CallerToCreate { apps: crm_only, ..all_powerful("crm-only") }),
    ] {
        variables.set_secret(format!("{name}_key"), &server.caller(caller).await);
    }
}

/// Tokens that were good once.
async fn sessions(server: &TestServer, variables: &mut Variables) {
    let begun_before = |hours: u32| {
        server.add_session(&server.alice, move |row| {
            for time in
                [&mut row.created_at, &mut row.last_active_at, &mut row.expires_at, &mut row.absolute_expires_at]
            {
                *time = *time - HOUR * hours;
            }
        })
    };
    variables.set("expired_ust", begun_before(2).await.expose());
    let ust = server.log_in(&server.alice).await.ust;
    server.on_behalf_of(&ust).log_out().await.expect("it can be ended");
    variables.set("revoked_ust", ust.expose());
}

async fn links(server: &TestServer, variables: &mut Variables) {
    // The first of the users whose names begin so is the one whom the store links to.
    let many = server.add_user("many-0", false).await;
    let definition = definition_row(AuthType::BasicAuth, "many-", "", server.clock.now());
    let seed = |app: App| async move { app.store().seed_links("many-", LINKS, LINKS, &definition).await };
    server.within(seed).await.expect("they can be linked");
    variables.set("many_user_id", &many.user_id);
    variables.set("many_ust", server.log_in(&many).await.ust.expose());
}

async fn attributes(server: &TestServer, variables: &mut Variables) {
    let full = server.add_user("full", false).await;
    // The last character takes two bytes.
    let value = format!("{}\u{e9}", "x".repeat(LONGEST_VALUE - 2));
    let user = server.acting_for(&full).await;
    let names: Vec<String> = (0..ATTRIBUTES).map(|number| format!("a{number:03}")).collect();
    for names in names.chunks(AT_ONCE) {
        let set = |name: &String| AttributeToSet { name: name.clone(), value: value.clone(), ..Default::default() };
        let attributes = names.iter().map(set).collect();
        let request = SetAttributesRequest { attributes, ..SetAttributesRequest::default() };
        user.call(request).await.expect("there is room");
    }
    variables.set("text_16k", value);
    variables.set("full_ust", server.log_in(&full).await.ust.expose());
}

/// JSON web tokens: one that is good, and one whose keys are where nobody answers.
async fn tokens(server: &TestServer, root: &Subject, variables: &mut Variables) {
    let holder = server.add_user("jwt", false).await;
    let good = Defined::linked(root, Kinds::Jwt, "jwt@issuer", &holder.user_id).await;
    variables.set("jwt_user_id", &holder.user_id);
    variables.set("jwt_auth_id", good.auth_id.to_string());
    variables.set("good_jwt", good.token(&server.clock, 0));

    let subject = "unfetchable@issuer";
    let nowhere = url(&format!("http://{}/keys", free_address()));
    let made = root.create_definition(definition(subject, &["ES256"]), nowhere).await.expect("the definition");
    root.create_linked_auth(&holder.user_id, ByNumber::AuthId(made.auth_id)).await.expect("the link");
    let now = server.clock.now().to_unix().0;
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 86_400,
    });
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": "unknown" });
    variables.set("unfetchable_jwt", Signer::p256().token(&header, &claims));
}

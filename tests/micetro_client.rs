//! The client of Micetro's API that a session gives, against each way in which a Micetro behaves, well or badly.

use std::time::Duration;

use http::Method;
use lanyard_client::secrecy::ExposeSecret as _;
use lanyard_client::{
    Client, Error, ErrorReason, MicetroClient, MicetroError, MicetroErrorKind, MicetroReply, RetryPolicy, UserSession,
};
use lanyard_server::config::Platform;
use lanyard_tests::any_database;
use lanyard_tests::support::PATIENCE;
use lanyard_tests::support::answers::events_of;
use lanyard_tests::support::certificates::Authority;
use lanyard_tests::support::micetro::{ALICE, Access, FakeMicetro, Fault, Injection, Refusal};
use lanyard_tests::support::platform::{OnPlatform, basic, over_tls};
use lanyard_tests::support::server::Database;
use serde_json::{Value, json};
use tokio::task::JoinSet;

any_database!(
    what_is_read_is_left_wrapped_and_can_be_unwrapped,
    objects_are_made_changed_and_removed,
    parameters_reach_micetro_as_they_are_meant,
    a_refusal_of_micetro_is_told_with_status_code_and_message,
    a_status_that_was_not_expected_is_an_error,
    only_the_sessions_credential_goes_out_and_only_to_micetro,
    headers_that_are_not_the_callers_to_set_are_refused,
    a_path_that_leads_elsewhere_is_refused_and_nothing_is_sent,
    a_redirect_is_not_followed,
    an_answer_that_is_not_micetros_is_an_error_that_says_so,
    an_answer_without_end_or_measure_is_cut_off,
    no_answer_is_waited_for_longer_than_the_deadline,
    what_did_nothing_is_tried_again_if_it_may_be_done_twice,
    what_may_have_been_done_is_not_tried_again,
    a_micetro_that_is_away_is_unavailable_until_it_comes_back,
    a_refused_credential_that_is_good_after_all_is_used_once_more,
    a_session_that_ended_in_micetro_ends_here_and_the_user_must_log_in_again,
    where_the_password_is_kept_the_session_is_logged_in_anew_and_a_write_happens_once,
    many_calls_at_once_need_one_credential,
    the_version_is_asked_once_and_without_the_credential,
    a_client_is_authenticated_as_long_as_its_session_is_good,
    a_closed_client_calls_no_more,
    a_micetro_is_trusted_by_the_authority_that_is_configured,
    nothing_that_is_shown_holds_the_credential,
);

/// Alice's session, with a client that does not wait between two attempts.
async fn session(at: &OnPlatform) -> UserSession {
    let retry = RetryPolicy { initial_backoff: Duration::ZERO, ..RetryPolicy::never() };
    let builder = Client::builder(at.server.url()).api_key(at.server.key.clone()).retry(retry).deadline(PATIENCE);
    let client = builder.connect_lazy().expect("a client of a local server");
    client.user_session(&at.log_in().await.ust).await.expect("the session is good")
}

/// Alice's client, which has its credential already; what Micetro saw of that is forgotten.
async fn client(at: &OnPlatform) -> MicetroClient {
    let client = session(at).await.micetro_api().v2();
    assert!(client.is_authenticated().await.unwrap());
    at.micetro.forget_seen();
    client
}

/// Method and target of each request that came.
fn seen(micetro: &FakeMicetro) -> Vec<String> {
    micetro.seen().iter().map(|seen| format!("{} {}", seen.method, seen.target())).collect()
}

fn refused(outcome: Result<MicetroReply, MicetroError>) -> MicetroError {
    outcome.expect_err("it is refused")
}

fn facts(error: &MicetroError) -> (MicetroErrorKind, Option<u16>, Option<i64>) {
    (error.kind, error.status, error.code)
}

async fn what_is_read_is_left_wrapped_and_can_be_unwrapped(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    let reply = client.http_get("/dnsServers").param("limit", 1).await.unwrap();
    assert_eq!(reply.status(), 200);
    let whole = reply.clone().into_value();
    assert_eq!(whole["result"]["totalResults"], 3);
    assert_eq!(reply.result().unwrap(), whole["result"]);
    let server = client.http_get("/dnsServers/1").await.unwrap().result().unwrap();
    assert_eq!(server["dnsServer"]["name"], "ns1.example.net.");
}

async fn objects_are_made_changed_and_removed(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    let record = json!({ "dnsRecord": { "name": "new", "type": "A", "data": "192.0.2.7" } });
    let made = client.http_post("/dnsZones/1/dnsRecords").json(&record).await.unwrap();
    assert_eq!(made.status(), 201);
    let path = format!("/{}", made.result().unwrap()["ref"].as_str().unwrap());
    let change = json!({ "properties": { "comment": "changed" } });
    let changed = client.http_put(&path).json(&change).await.unwrap();
    assert_eq!((changed.status(), changed.into_value()), (204, json!("")));
    assert_eq!(client.http_get(&path).await.unwrap().result().unwrap()["dnsRecord"]["comment"], "changed");
    client.http_delete(&path).param("saveComment", "gone").await.unwrap();
    assert!(refused(client.http_get(&path).await).is_not_found());
    // Micetro changes with PUT; the method goes out nonetheless.
    assert_eq!(refused(client.http_patch(&path).json(&change).await).code, Some(16544));
    assert!(seen(&at.micetro).contains(&format!("PATCH {path}")));

    let batch =
        json!({ "dnsRecords": [{ "name": "a", "type": "A", "data": "192.0.2.1", "dnsZoneRef": "dnsZones/99" }] });
    let made = client.http_post("/dnsRecords").json(&batch).await.unwrap();
    assert_eq!(made.status(), 201, "what failed of a batch is for the caller to look at");
    assert_eq!(made.result().unwrap()["objRefs"], json!(["{#0-#0}"]));
    let options = client.http_request(Method::OPTIONS, "/dnsZones").await;
    assert_eq!(refused(options).kind, MicetroErrorKind::Refused);
}

async fn parameters_reach_micetro_as_they_are_meant(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    let total = async |filter: &str| {
        let request = client.http_get("/dnsZones/1/dnsRecords").param("filter", filter).param("limit", 5);
        request.await.unwrap().result().unwrap()["totalResults"].clone()
    };
    assert_eq!(total("comment=\"in and out\"").await, 1);
    assert_eq!(total("comment=a+b").await, 1);
    assert_eq!(total("name=ü").await, 0);
    let queries: Vec<_> = at.micetro.seen().into_iter().filter_map(|seen| seen.query).collect();
    assert_eq!(queries[0], "filter=comment%3D%22in%20and%20out%22&limit=5");
    assert_eq!(queries[1], "filter=comment%3Da%2Bb&limit=5");
    assert!(!queries.concat().contains('+'), "{queries:?}");
    client.http_get("/dnsServers?limit=1&offset=1").await.unwrap();
    let zone = lanyard_client::micetro::path_segment("example.com.");
    client.http_get(&format!("/dnsZones/{zone}")).await.unwrap();
}

async fn a_refusal_of_micetro_is_told_with_status_code_and_message(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    let error = refused(client.http_get("/dnsZones/99").await);
    assert_eq!(facts(&error), (MicetroErrorKind::Refused, Some(400), Some(2049)));
    assert_eq!(error.message, "Object not found for reference 'dnsZones/99'.");
    assert!(error.is_not_found() && !error.is_unavailable() && !error.is_unauthenticated());
    // The path of the example in the vendor's documentation.
    assert_eq!(refused(client.http_get("/servers").await).code, Some(16544));
    assert_eq!(refused(client.http_get("/dnsRecords").param("offset", 900).await).code, Some(520));
    let error = refused(client.http_get("/micetro").await);
    assert!(error.is_access_denied(), "{error}");
    at.micetro.give_access(ALICE.0, Access::Read);
    let error = refused(client.http_delete("/dnsZones/1").await);
    assert_eq!((error.code, error.message.as_str()), (Some(1028), Refusal::no_access().message.as_str()));
    assert_eq!(seen(&at.micetro).len(), 5, "none of them is tried again");
}

async fn a_status_that_was_not_expected_is_an_error(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    let once = |status: u16| at.micetro.fails(Injection::new(Fault::Status(status)).times(1));
    for status in [201, 203] {
        once(status);
        let error = refused(client.http_get("/dnsServers").await);
        assert_eq!(facts(&error), (MicetroErrorKind::UnexpectedAnswer, Some(status), None));
        once(status);
        let reply = client.http_get("/dnsServers").expected_status_codes([200, status]).await.unwrap();
        assert_eq!((reply.status(), reply.result().unwrap()["totalResults"].clone()), (status, json!(3)));
    }
    let change = json!({ "properties": { "comment": "" } });
    once(202);
    assert_eq!(client.http_put("/dnsRecords/1").json(&change).await.unwrap().status(), 202);
    let narrow = client.http_put("/dnsRecords/1").json(&change).expected_status_codes([200]);
    assert_eq!(refused(narrow.await).status, Some(204));
    let absent = client.http_get("/dnsZones/99").expected_status_codes([400]).await.unwrap();
    assert_eq!(absent.into_value()["error"]["code"], 2049);
}

async fn only_the_sessions_credential_goes_out_and_only_to_micetro(database: Database) {
    let at = OnPlatform::start(database).await;
    client(&at).await.http_get("/dnsServers").await.unwrap();
    let bearer = at.micetro.seen();
    let [request] = &bearer[..] else { panic!("{bearer:?}") };
    assert!(request.authorization().unwrap().starts_with("Bearer "), "{request:?}");
    assert_eq!((request.header("accept"), request.header("cookie")), (Some("application/json"), None));
    assert!(request.header("user-agent").unwrap().starts_with("lanyard-client/"));

    let at = OnPlatform::start_with(database, basic).await;
    let session = session(&at).await;
    session.micetro_api().v2().http_get("/dnsServers").await.unwrap();
    let auth = session.micetro_auth().await.unwrap();
    assert_eq!(at.micetro.seen().last().unwrap().authorization(), Some(auth.expose_secret()));
    assert!(auth.expose_secret().starts_with("Basic "));
}

async fn headers_that_are_not_the_callers_to_set_are_refused(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    for name in ["Authorization", "proxy-authorization", "Cookie", "HOST", "Transfer-Encoding", "content-length"] {
        let error = refused(client.http_get("/dnsServers").header(name, "x").await);
        assert_eq!(error.kind, MicetroErrorKind::InvalidRequest, "{name}");
        assert!(error.message.contains(&name.to_lowercase()), "{error}");
    }
    for (name, value) in [("no good", "x"), ("x-note", "a\r\nb")] {
        assert_eq!(
            refused(client.http_get("/dnsServers").header(name, value).await).kind,
            MicetroErrorKind::InvalidRequest
        );
    }
    assert!(at.micetro.seen().is_empty());
    let xml =
        client.http_get("/organizations").header("accept", "application/xml").header("x-note", "y").await.unwrap();
    assert!(xml.into_value().as_str().unwrap().starts_with("<?xml"));
    assert_eq!(at.micetro.seen()[0].header("x-note"), Some("y"));
}

async fn a_path_that_leads_elsewhere_is_refused_and_nothing_is_sent(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    for path in ["dnsServers", "", "/../../json", "/a/%2e%2e/b", "//elsewhere/x", "/a#b", "/a b", "http://elsewhere/"] {
        let error = refused(client.http_get(path).await);
        assert_eq!(facts(&error), (MicetroErrorKind::InvalidRequest, None, None), "{path}");
    }
    let twice = refused(client.http_get("/dnsServers?limit=1").param("limit", 2).await);
    assert_eq!(twice.kind, MicetroErrorKind::InvalidRequest);
    assert!(at.micetro.seen().is_empty());
}

async fn a_redirect_is_not_followed(database: Database) {
    let at = OnPlatform::start(database).await;
    let elsewhere = FakeMicetro::start();
    let client = client(&at).await;
    for to in [elsewhere.url(), at.micetro.url()] {
        at.micetro.fails(Injection::new(Fault::Redirect(to)).times(1));
        let error = refused(client.http_get("/dnsServers").await);
        assert_eq!(facts(&error), (MicetroErrorKind::UnexpectedAnswer, Some(302), None));
        assert_eq!(error.message, "Micetro answered 302, a redirect, which is not followed");
    }
    assert!(elsewhere.seen().is_empty());
    assert_eq!(at.micetro.seen().len(), 2);
}

async fn an_answer_that_is_not_micetros_is_an_error_that_says_so(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    let with = async |fault: Fault| {
        at.micetro.fails(Injection::new(fault).times(1));
        client.http_get("/dnsServers").await
    };
    for (fault, status, message) in [
        (Fault::Html(502), 502, "Micetro answered 502, with text/html in the place of JSON"),
        (Fault::Html(503), 503, "Micetro answered 503, with text/html in the place of JSON"),
        (Fault::BrokenJson, 200, "Micetro answered 200, with JSON that is broken"),
        (Fault::ErrorWithoutError(500), 500, "Micetro answered 500, with JSON that holds no error"),
    ] {
        let error = refused(with(fault).await);
        assert_eq!(facts(&error), (MicetroErrorKind::UnexpectedAnswer, Some(status), None));
        assert_eq!((error.message.as_str(), error.is_unavailable()), (message, status > 500));
    }
    for (fault, text) in [(Fault::Text, "pong"), (Fault::EmptyBody, "")] {
        let reply = with(fault).await.unwrap();
        assert_eq!(reply.clone().into_value(), text);
        assert_eq!(reply.result().unwrap_err().kind, MicetroErrorKind::UnexpectedAnswer);
    }
    let text = with(Fault::NoContentType).await.unwrap().into_value();
    assert_eq!(serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap()["result"]["totalResults"], 3);
    let error = refused(with(Fault::Dropped).await);
    assert_eq!((error.kind, error.is_unavailable()), (MicetroErrorKind::Connection, true), "{error}");
    assert_eq!(at.micetro.seen().len(), 8, "none of them is tried again");
}

async fn an_answer_without_end_or_measure_is_cut_off(database: Database) {
    let at = OnPlatform::start_with(database, |platform| platform.max_response_bytes = 50_000).await;
    let client = client(&at).await;
    at.micetro.fails(Injection::new(Fault::Huge(40_000)).times(1));
    client.http_get("/dnsServers").await.unwrap();
    for fault in [Fault::Huge(50_000), Fault::Endless] {
        at.micetro.fails(Injection::new(fault).times(1));
        let error = refused(client.http_get("/dnsServers").await);
        assert_eq!(facts(&error), (MicetroErrorKind::TooLarge, None, None));
    }
}

async fn no_answer_is_waited_for_longer_than_the_deadline(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    for fault in [Fault::Silence, Fault::Trickle] {
        at.micetro.fails(Injection::new(fault).times(1));
        let error = refused(client.http_get("/dnsServers").deadline(Duration::from_millis(50)).await);
        assert_eq!((error.kind, error.is_unavailable()), (MicetroErrorKind::DeadlineExceeded, true));
    }
}

async fn what_did_nothing_is_tried_again_if_it_may_be_done_twice(database: Database) {
    let at = OnPlatform::start_with(database, |platform| platform.max_attempts = 3).await;
    let client = client(&at).await;
    let change = json!({ "properties": { "comment": "again" } });
    for refusal in [Refusal::standby(), Refusal::standby().with_status(503), Refusal::too_many_connections()] {
        let fails = |times| at.micetro.fails(Injection::new(Fault::Refuse(refusal.clone())).times(times));
        fails(2);
        client.http_get("/dnsServers").await.unwrap();
        fails(2);
        client.http_put("/dnsRecords/1").json(&change).await.unwrap();
        assert_eq!(at.micetro.seen().len(), 6);
        fails(3);
        let error = refused(client.http_get("/dnsServers").await);
        assert_eq!((error.code, error.is_unavailable()), (Some(refusal.code), true));
        assert_eq!(at.micetro.seen().len(), 9);
        fails(1);
        assert!(refused(client.http_post("/dnsZones").json(&json!({})).await).is_unavailable());
        assert_eq!(at.micetro.seen().len(), 10, "a POST is never sent twice");
        at.micetro.forget_seen();
    }
}

async fn what_may_have_been_done_is_not_tried_again(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    let faults = [Fault::Refuse(Refusal::no_central()), Fault::Html(503), Fault::Dropped];
    for (number, fault) in (1..).zip(faults) {
        at.micetro.fails(Injection::new(fault).times(1));
        let error = refused(client.http_delete("/dnsRecords/99").await);
        assert!(error.is_unavailable(), "{error}");
        assert_eq!(at.micetro.seen().len(), number);
    }
}

async fn a_micetro_that_is_away_is_unavailable_until_it_comes_back(database: Database) {
    let mut at = OnPlatform::start(database).await;
    let client = client(&at).await;
    client.http_get("/dnsServers").await.unwrap();
    at.micetro.goes_down(0);
    let error = refused(client.http_get("/dnsServers").await);
    assert_eq!((error.kind, error.status, error.is_unavailable()), (MicetroErrorKind::Connection, None, true));
    assert!(!error.is_unauthenticated());
    at.micetro.comes_back(0);
    client.http_get("/dnsServers").await.unwrap();
}

async fn a_refused_credential_that_is_good_after_all_is_used_once_more(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    let fault = Injection::new(Fault::Refuse(Refusal::session_not_valid())).at("/dnsServers");
    at.micetro.fails(fault.clone().times(1));
    client.http_get("/dnsServers").await.unwrap();
    let asked = |path: &str| seen(&at.micetro).iter().filter(|seen| seen.ends_with(path)).count();
    assert_eq!(asked("/dnsServers"), 2);
    at.micetro.fails(fault);
    let error = refused(client.http_get("/dnsServers").await);
    assert_eq!((facts(&error), error.is_unauthenticated()), ((MicetroErrorKind::Refused, Some(401), Some(5003)), true));
    assert_eq!(asked("/dnsServers"), 4, "once more, and not for ever");
}

async fn a_session_that_ended_in_micetro_ends_here_and_the_user_must_log_in_again(database: Database) {
    let at = OnPlatform::start(database).await;
    let session = session(&at).await;
    let client = session.micetro_api().v2();
    client.http_get("/dnsServers").await.unwrap();
    at.micetro.end_sessions();
    let error = refused(client.http_get("/dnsServers").await);
    assert_eq!((error.kind, error.is_unauthenticated()), (MicetroErrorKind::NoCredential, true), "{error}");
    assert_eq!(error.lanyard().map(|error| error.reason), Some(ErrorReason::SessionInvalid));
    let verdict = at.server.client().verify(session.session_auth()).await.unwrap();
    assert!(verdict.into_session().is_err());
}

async fn where_the_password_is_kept_the_session_is_logged_in_anew_and_a_write_happens_once(database: Database) {
    let at = OnPlatform::start_with(database, |platform| platform.keep_password = true).await;
    let session = session(&at).await;
    let client = session.micetro_api().v2();
    let before = session.micetro_auth().await.unwrap();
    at.micetro.end_sessions();
    let zone = json!({ "dnsZone": { "name": "once.example.", "type": "Master" } });
    client.http_post("/dnsZones").json(&zone).await.unwrap();
    let zones = client.http_get("/dnsZones").param("filter", "name=once.example.").await.unwrap();
    assert_eq!(zones.result().unwrap()["totalResults"], 1);
    assert_ne!(session.micetro_auth().await.unwrap().expose_secret(), before.expose_secret());
    at.server.client().verify(session.session_auth()).await.unwrap().into_session().unwrap();
}

async fn many_calls_at_once_need_one_credential(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = session(&at).await.micetro_api().v2();
    let mut calls = JoinSet::new();
    for number in 1..=20 {
        let client = client.clone();
        calls.spawn(async move { client.http_get(&format!("/ipamRecords/192.0.2.{number}")).await.unwrap().status() });
    }
    assert_eq!(calls.join_all().await, [200; 20]);
    assert_eq!(events_of(&at.server, "platform.auth").await.len(), 1);
}

async fn the_version_is_asked_once_and_without_the_credential(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    at.micetro.behaves(|behaviour| behaviour.version = None);
    let error = client.micetro_version().await.unwrap_err();
    assert_eq!(error.kind, MicetroErrorKind::UnexpectedAnswer);
    at.micetro.behaves(|behaviour| behaviour.version = Some("11.1.0.1-beta".to_owned()));
    for _ in 0..3 {
        assert_eq!(client.micetro_version().await.unwrap(), "11.1.0.1-beta");
    }
    let requests = at.micetro.seen();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|seen| seen.authorization().is_none()), "{requests:?}");
}

async fn a_client_is_authenticated_as_long_as_its_session_is_good(database: Database) {
    // Nothing is remembered, so that each question is asked.
    let at = OnPlatform::start_with(database, |platform| platform.auth_valid_for = Duration::from_millis(1)).await;
    let session = session(&at).await;
    let client = session.micetro_api().v2();
    assert!(client.is_authenticated().await.unwrap());
    at.server.on_behalf_of(session.session_auth()).log_out().await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert!(!client.is_authenticated().await.unwrap());
    assert!(refused(client.http_get("/dnsServers").await).is_unauthenticated());

    let standalone = at.server.log_in(&at.server.alice).await.ust;
    let standalone = at.server.client().user_session(&standalone).await.unwrap().micetro_api().v2();
    assert!(!standalone.is_authenticated().await.unwrap());
    let error = refused(standalone.http_get("/dnsServers").await);
    assert_eq!(error.lanyard().map(|error| error.reason), Some(ErrorReason::PlatformSessionRequired));
    assert!(!error.is_unauthenticated());
}

async fn a_closed_client_calls_no_more(database: Database) {
    let at = OnPlatform::start(database).await;
    let client = client(&at).await;
    client.http_get("/dnsServers").await.unwrap();
    client.close().await;
    assert!(!client.is_authenticated().await.unwrap());
    assert_eq!(refused(client.clone().http_get("/dnsServers").await).kind, MicetroErrorKind::InvalidRequest);
    assert_eq!(at.micetro.seen().len(), 1);
}

async fn a_micetro_is_trusted_by_the_authority_that_is_configured(database: Database) {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = lanyard_tests::support::temporary_folder();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.certificate()).unwrap();
    let micetro = over_tls(authority.server());
    let at = OnPlatform::start_at(database, micetro, |platform| platform.ca_file = Some(file)).await;
    let client = client(&at).await;
    assert!(client.micetro_url().starts_with("https://127.0.0.1:"));
    client.http_get("/dnsServers").await.unwrap();

    // Somebody else answers at that address. Who asks has no connection yet: an old one would be found broken, for a moment.
    let client = session(&at).await.micetro_api().v2();
    let address = at.micetro.url();
    let address = address.trim_start_matches("https://").parse().unwrap();
    drop(at.micetro);
    let setup = lanyard_tests::support::micetro::Setup { listen: vec![address], ..Default::default() };
    let impostor =
        FakeMicetro::start_with(lanyard_tests::support::micetro::Setup { identity: Some(other.server()), ..setup });
    let error = refused(client.http_get("/dnsServers").await);
    assert_eq!(error.kind, MicetroErrorKind::Connection);
    assert!(error.message.contains("certificate"), "{error}");
    assert!(impostor.seen().is_empty());
}

async fn nothing_that_is_shown_holds_the_credential(database: Database) {
    let modes: [fn(&mut Platform); 2] = [|_| {}, basic];
    for change in modes {
        let at = OnPlatform::start_with(database, change).await;
        let session = session(&at).await;
        let client = session.micetro_api().v2();
        at.micetro.fails(Injection::new(Fault::Html(502)).at("/dnsServers"));
        let error = refused(client.http_get("/dnsServers").await);
        let lanyard: Result<UserSession, Error> = at.server.client().user_session(&"lyu1_other".into()).await;
        let request = client.http_get("/dnsServers").param("limit", 1);
        let shown =
            format!("{session:?} {client:?} {request:?} {error:?} {error} {lanyard:?} {:?}", session.micetro_api());
        let auth = session.micetro_auth().await.unwrap();
        let secret = auth.expose_secret().split_once(' ').unwrap().1;
        for secret in [secret, ALICE.1, session.session_auth().expose()] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

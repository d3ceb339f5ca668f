//! The verbs: what they ask, and what they make of the answer.

use futures::TryStreamExt as _;
use lanyard_client::secrecy::SecretString;
use lanyard_client::v1::create_session_request::Credential;
use lanyard_client::v1::verify_session_response::Verdict as Case;
use lanyard_client::v1::*;
use lanyard_client::{Client, Code, InactiveReason, Ust, Verdict};
use tonic::Status;

use crate::support::Fake;

fn start() -> (Fake, Client) {
    let (fake, channel) = Fake::start();
    (fake, Client::builder("http://fake").over(channel).unwrap())
}

fn ust() -> Ust {
    Ust::from("lyu1_alice")
}

fn good(username: &str) -> VerifySessionResponse {
    let session = VerifiedSession { username: username.into(), ..VerifiedSession::default() };
    VerifySessionResponse { verdict: Some(Case::Session(session)), cache_for: None }
}

fn session(session_id: &str) -> UserSession {
    UserSession { session_id: session_id.into(), ..UserSession::default() }
}

#[tokio::test]
async fn a_login_gives_token_and_session() {
    let (fake, client) = start();
    let answer = CreateSessionResponse { ust: "lyu1_new".into(), session: Some(session("ses_1")), warnings: vec![] };
    fake.answer(answer);
    let login = client.log_in("alice", &SecretString::from("secret")).await.unwrap();
    assert_eq!((login.ust.expose(), login.session.session_id.as_str()), ("lyu1_new", "ses_1"));
    assert!(!format!("{login:?}").contains("lyu1"));

    let asked = fake.requests::<CreateSessionRequest>().remove(0).credential.unwrap();
    let Credential::Password(asked) = asked else { panic!("not a password: {asked:?}") };
    assert_eq!((asked.username.as_str(), asked.password.as_str()), ("alice", "secret"));
}

#[tokio::test]
async fn an_answer_that_lacks_what_the_contract_promises_is_an_error() {
    let (fake, client) = start();
    fake.answer(CreateSessionResponse { session: Some(session("ses_1")), ..CreateSessionResponse::default() });
    let error = client.log_in("alice", &SecretString::from("secret")).await.unwrap_err();
    assert_eq!(error.code, Code::Internal);

    let alice = client.on_behalf_of(&ust());
    assert_eq!(alice.current_session().await.unwrap_err().code, Code::Internal);
    fake.answer(RenewSessionResponse { session: Some(session("ses_1")), ..RenewSessionResponse::default() });
    assert_eq!(alice.rotate().await.unwrap_err().code, Code::Internal);
}

#[tokio::test]
async fn verify_counts_as_activity_and_peek_does_not() {
    let (fake, client) = start();
    fake.answer(good("alice"));
    assert_eq!(client.verify(&ust()).await.unwrap().into_session().unwrap().username, "alice");
    client.peek(&ust()).await.map(drop).unwrap();
    let peeks: Vec<bool> = fake.requests::<VerifySessionRequest>().iter().map(|request| request.peek).collect();
    assert_eq!(peeks, [false, true]);
}

#[tokio::test]
async fn a_verdict_without_a_case_is_inactive() {
    let (_fake, client) = start();
    let inactive = client.verify(&ust()).await.unwrap().into_session().unwrap_err();
    assert_eq!(inactive.reason, InactiveReason::Unspecified);
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_must_be_complete() {
    let (fake, client) = start();
    let tokens = [Ust::from("lyu1_alice"), Ust::from("lyu1_bob")];
    fake.answer(BatchVerifySessionsResponse { verdicts: vec![good("alice"), VerifySessionResponse::default()] });
    let verdicts = client.batch_verify(&tokens).await.unwrap();
    assert!(matches!(&verdicts[0], Verdict::Active(session) if session.username == "alice"));
    assert!(matches!(&verdicts[1], Verdict::Inactive(_)));
    let asked = fake.requests::<BatchVerifySessionsRequest>().remove(0).sessions;
    assert_eq!(asked.iter().map(|session| session.ust.as_str()).collect::<Vec<_>>(), ["lyu1_alice", "lyu1_bob"]);

    fake.answer(BatchVerifySessionsResponse { verdicts: vec![good("bob")] });
    assert_eq!(client.batch_peek(&tokens).await.unwrap_err().code, Code::Internal);
}

#[tokio::test]
async fn what_a_user_does_is_signed_with_their_token() {
    let (fake, client) = start();
    fake.answer(RevokeSessionResponse { revoked: true });
    let request = RevokeSessionRequest { ust: "lyu1_somebody_else".into(), ..RevokeSessionRequest::default() };
    assert!(client.on_behalf_of(&ust()).call(request).await.unwrap().revoked);
    assert_eq!(fake.requests::<RevokeSessionRequest>()[0].ust, "lyu1_alice");
}

#[tokio::test]
async fn a_rotation_gives_the_new_token_and_a_renewal_none() {
    let (fake, client) = start();
    let alice = client.on_behalf_of(&ust());
    let renewed = RenewSessionResponse { session: Some(session("ses_1")), ..RenewSessionResponse::default() };
    fake.answer(renewed.clone());
    assert!(alice.renew().await.unwrap().ust.is_none());
    fake.answer(RenewSessionResponse { ust: "lyu1_next".into(), ..renewed });
    assert_eq!(alice.rotate().await.unwrap().ust.unwrap().expose(), "lyu1_next");
}

fn page(session_ids: &[&str], next_page_token: &str) -> ListSessionsResponse {
    let sessions = session_ids.iter().map(|id| session(id)).collect();
    ListSessionsResponse { sessions, next_page_token: next_page_token.into() }
}

#[tokio::test]
async fn pages_follow_one_another_until_the_last() {
    let (fake, client) = start();
    fake.answer(page(&["ses_1", "ses_2"], "second"));
    fake.answer(page(&["ses_3"], ""));
    let request = ListSessionsRequest { app: "CRM".into(), ..ListSessionsRequest::default() };
    let mut pages = client.on_behalf_of(&ust()).list_sessions(request);
    assert_eq!(pages.next_page().await.unwrap().unwrap().len(), 2);
    assert_eq!(pages.next_page_token(), "second");
    assert_eq!(pages.next_page().await.unwrap().unwrap()[0].session_id, "ses_3");
    assert_eq!(pages.next_page().await.unwrap(), None);

    let asked = fake.requests::<ListSessionsRequest>();
    let tokens: Vec<&str> = asked.iter().map(|request| request.page_token.as_str()).collect();
    assert_eq!(tokens, ["", "second"]);
    assert!(asked.iter().all(|request| request.app == "CRM" && request.ust == "lyu1_alice"));
}

#[tokio::test]
async fn a_page_that_failed_may_be_asked_for_again() {
    let (fake, client) = start();
    fake.answer(page(&["ses_1"], "second"));
    fake.refuse(1, &Status::resource_exhausted("slower"));
    fake.answer(page(&["ses_2"], ""));
    let mut pages = client.on_behalf_of(&ust()).list_sessions(ListSessionsRequest::default());
    pages.next_page().await.unwrap();
    pages.next_page().await.unwrap_err();
    assert_eq!(pages.next_page().await.unwrap().unwrap()[0].session_id, "ses_2");
}

#[tokio::test]
async fn a_stream_gives_the_items_of_all_pages() {
    let (fake, client) = start();
    fake.answer(page(&["ses_1", "ses_2"], "second"));
    fake.answer(page(&[], "third"));
    fake.answer(page(&["ses_3"], ""));
    let pages = client.on_behalf_of(&ust()).list_sessions(ListSessionsRequest::default());
    let sessions: Vec<UserSession> = pages.into_stream().try_collect().await.unwrap();
    assert_eq!(sessions, [session("ses_1"), session("ses_2"), session("ses_3")]);
}

//! Refusals of logins tell nothing but that they are refusals; refusals of all kinds say what the contract says.

use lanyard_client::prost_types::FieldMask;
use lanyard_client::secrecy::ExposeSecret;
use lanyard_client::v1::create_session_request::Credential;
use lanyard_client::v1::session_service_client::SessionServiceClient;
use lanyard_client::v1::user_service_client::UserServiceClient;
use lanyard_client::v1::{
    ApprovalStatus, ClientInfo, CreateSessionRequest, CreateUserRequest, GetUserRequest, ListAuditEventsRequest,
    ListSessionsRequest, ListUsersRequest, PasswordCredential, RevokeSessionsRequest, UpdateUserRequest, User,
};
use lanyard_client::{Code, ErrorReason};
use lanyard_server::config::App as AppConfig;
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, at, events_of};
use lanyard_tests::support::server::{Database, TestServer};
use prost::Message;
use tonic_types::StatusExt;

both_databases!(
    all_failed_logins_look_the_same_and_the_trail_knows_why,
    all_failed_logins_cost_one_hash_each,
    a_login_without_a_credential_is_refused_by_its_field,
    characters_that_a_database_cannot_take_are_no_fault_of_ours,
    a_refusal_carries_one_reason_and_the_correlation_id,
    zato_16_a_login_of_nobody_costs_what_a_wrong_password_costs,
);

/// Each way in which a login can fail, and what the audit trail calls it.
struct Failing {
    username: &'static str,
    password: &'static str,
    totp_code: &'static str,
    app: &'static str,
    address: &'static str,
    reason: &'static str,
}

const RIGHT: &str = "good-password";
const HERE: &str = "192.0.2.1";

const FAILING: [Failing; 10] = [
    failing("nobody", RIGHT, "unknown_user"),
    failing("", RIGHT, "unknown_user"),
    failing("plain", "bad--password", "wrong_password"),
    failing("locked", RIGHT, "user_locked"),
    failing("pending", RIGHT, "user_not_approved"),
    failing("rejected", RIGHT, "user_rejected"),
    failing("without", RIGHT, "no_password"),
    Failing { totp_code: "000000", ..failing("factor", RIGHT, "wrong_totp_code") },
    Failing { address: "198.51.100.1", ..failing("networks", RIGHT, "address_not_allowed") },
    Failing { app: "closed", ..failing("plain", RIGHT, "app_without_login") },
];

const fn failing(username: &'static str, password: &'static str, reason: &'static str) -> Failing {
    Failing { username, password, totp_code: "", app: "", address: HERE, reason }
}

impl Failing {
    fn request(&self) -> CreateSessionRequest {
        let credential = PasswordCredential {
            username: self.username.into(),
            password: self.password.into(),
            totp_code: self.totp_code.into(),
            ..PasswordCredential::default()
        };
        CreateSessionRequest {
            client: Some(at(self.app, self.address)),
            credential: Some(Credential::Password(credential)),
        }
    }
}

/// A server with a user for each way in which a login can fail.
async fn prepared(database: Database) -> TestServer {
    let server = TestServer::start_with(database, |config| {
        config.apps.insert("closed".into(), AppConfig { login: false, ..AppConfig::default() });
    })
    .await;
    let root = server.as_root().await;
    for name in ["plain", "locked", "pending", "rejected", "without", "factor", "networks"] {
        let networks = if name == "networks" { vec!["10.0.0.0/8".into()] } else { vec![] };
        let status = if name == "pending" { ApprovalStatus::Pending } else { ApprovalStatus::Approved };
        let request = CreateUserRequest {
            user: Some(User { username: name.into(), allowed_networks: networks, ..User::default() }),
            password: if name == "without" { String::new() } else { RIGHT.into() },
            approval_status: status.into(),
            ..CreateUserRequest::default()
        };
        let id = root.create_user(request).await.unwrap().user_id;
        match name {
            "locked" => drop(root.lock_user(&id).await.unwrap()),
            "rejected" => drop(root.reject_user(&id).await.unwrap()),
            "factor" => {
                let ust = server.client().log_in(name, &RIGHT.into()).await.unwrap().ust;
                let user = server.on_behalf_of(&ust);
                let secret = user.enroll_totp(&RIGHT.into()).await.unwrap().secret;
                let secret = totp_rs::Secret::try_from_base32(&secret).unwrap();
                let app = totp_rs::Builder::new().with_secret(secret).with_account_name(name).build().unwrap();
                let now = u64::try_from(server.clock.now().to_unix().0).unwrap();
                user.confirm_totp(&app.generate(now).to_string().into()).await.unwrap();
            }
            _ => {}
        }
    }
    server
}

async fn all_failed_logins_look_the_same_and_the_trail_knows_why(database: Database) {
    let server = prepared(database).await;
    let mut client = SessionServiceClient::new(server.channel().await);
    let mut answers = Vec::new();
    for login in &FAILING {
        let mut request = server.request(login.request());
        request.metadata_mut().insert("x-correlation-id", "the-same-id".parse().unwrap());
        let status = client.create_session(request).await.expect_err(login.reason);
        // The whole answer but the time of day: code, message, details, all metadata.
        let mut metadata = status.metadata().clone();
        metadata.remove("date");
        let metadata = format!("{:?}", metadata.into_headers());
        answers.push((status.code(), status.message().to_owned(), status.details().to_vec(), metadata));
        let event = &events_of(&server, "session.create").await[0];
        assert_eq!((event.reason.as_str(), event.correlation_id.as_str()), (login.reason, "the-same-id"));
        let target = event.target.is_some();
        assert_eq!(target, login.reason != "unknown_user", "{}", login.reason);
    }
    assert_eq!(answers[0].0, Code::Unauthenticated);
    for (answer, login) in answers.iter().zip(&FAILING) {
        assert_eq!(answer, &answers[0], "{}", login.reason);
    }
    server.verify_audit().await;
}

async fn all_failed_logins_cost_one_hash_each(database: Database) {
    let server = prepared(database).await;
    for login in &FAILING {
        let before = server.app().hashing_metrics().computed.count();
        assert_eq!(server.client().call(login.request()).await.reason(), ErrorReason::LoginFailed);
        assert_eq!(server.app().hashing_metrics().computed.count(), before + 1, "{}", login.reason);
    }
}

/// Zato hashed for known users only, so that the time of the answer told who is there.
async fn zato_16_a_login_of_nobody_costs_what_a_wrong_password_costs(database: Database) {
    let server = TestServer::start(database).await;
    let mut hashes = Vec::new();
    for name in ["alice", "nobody-of-this-name"] {
        let before = server.app().hashing_metrics().computed.count();
        let refused = server.client().log_in(name, &"wrong-password".into()).await;
        assert_eq!(refused.reason(), ErrorReason::LoginFailed);
        hashes.push(server.app().hashing_metrics().computed.count() - before);
    }
    assert_eq!(hashes, [1, 1]);
}

async fn a_login_without_a_credential_is_refused_by_its_field(database: Database) {
    let server = TestServer::start(database).await;
    assert_eq!(server.client().call(CreateSessionRequest::default()).await.bad_field(), "credential");
    let empty = Credential::Password(PasswordCredential::default());
    assert_eq!(server.client().create_session(empty).await.reason(), ErrorReason::LoginFailed);
    let long = "x".repeat(2000);
    for (name, password) in [(long.as_str(), "x"), ("alice", long.as_str())] {
        let refused = server.client().log_in(name, &password.into()).await;
        assert_eq!(refused.reason(), ErrorReason::LoginFailed);
    }
    let app = ClientInfo { current_app: "x".repeat(65), ..ClientInfo::default() };
    let refused = server.client().with_client_info(app).log_in("alice", &"x".into()).await;
    assert_eq!(refused.bad_field(), "client.current_app");
}

/// PostgreSQL's text has no NUL; what asks for one finds nothing, or is refused by its field, and is never a fault.
async fn characters_that_a_database_cannot_take_are_no_fault_of_ours(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let nul = "a\0b".to_owned();
    let refused = server.client().log_in(&nul, &"a-password".into()).await;
    assert_eq!(refused.reason(), ErrorReason::LoginFailed);
    assert_eq!(root.get_user_by_name(&nul).await.reason(), ErrorReason::UserNotFound);
    let users = ListUsersRequest { search: nul.clone(), ..ListUsersRequest::default() };
    assert_eq!(root.call(users).await.bad_field(), "search");
    let sessions = ListSessionsRequest { app: nul.clone(), ..ListSessionsRequest::default() };
    assert_eq!(root.call(sessions).await.bad_field(), "app");
    let target = Some(lanyard_client::v1::revoke_sessions_request::Target::App(nul.clone()));
    let revoke = RevokeSessionsRequest { target, ..RevokeSessionsRequest::default() };
    assert_eq!(root.call(revoke).await.bad_field(), "app");
    let all = ListAuditEventsRequest::default;
    for (request, field) in [
        (ListAuditEventsRequest { correlation_id: nul.clone(), ..all() }, "correlation_id"),
        (ListAuditEventsRequest { operation: nul.clone(), ..all() }, "operation"),
        (ListAuditEventsRequest { caller: nul.clone(), ..all() }, "caller"),
    ] {
        assert_eq!(root.call(request).await.bad_field(), field);
    }
    let user = User { display_name: nul.clone(), ..User::default() };
    let mask = Some(FieldMask { paths: vec!["display_name".into()] });
    let update = UpdateUserRequest { user: Some(user), update_mask: mask, ..UpdateUserRequest::default() };
    assert_eq!(root.update_user(update).await.bad_field(), "user.display_name");
    let info = ClientInfo { user_agent: nul, ..ClientInfo::default() };
    let login = server.client().with_client_info(info).log_in("alice", &server.alice.password).await.unwrap();
    assert_eq!(login.session.user_agent, "a\u{fffd}b");
}

async fn a_refusal_carries_one_reason_and_the_correlation_id(database: Database) {
    let server = TestServer::start(database).await;
    let mut client = UserServiceClient::new(server.channel().await);
    let ust = server.log_in(&server.alice).await.ust;
    let root = server.log_in(&server.root).await.ust;
    let by_id = |ust: &str, id: &str| GetUserRequest {
        ust: ust.into(),
        key: Some(lanyard_client::v1::get_user_request::Key::UserId(id.into())),
        ..GetUserRequest::default()
    };
    let nobody = "usr_00000000000070008000000000000000";
    for (message, reason) in [
        (by_id("junk", nobody), ErrorReason::SessionInvalid),
        (by_id(ust.expose(), nobody), ErrorReason::SuperUserRequired),
        (by_id(root.expose(), nobody), ErrorReason::UserNotFound),
        (by_id(root.expose(), "x"), ErrorReason::InvalidField),
    ] {
        let mut request = server.request(message);
        request.metadata_mut().insert("x-correlation-id", "order:4711".parse().unwrap());
        let status = client.get_user(request).await.unwrap_err();
        let kinds = kinds_of_details(status.details());
        assert_eq!(kinds.iter().filter(|kind| kind.ends_with("google.rpc.ErrorInfo")).count(), 1, "{kinds:?}");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.domain.as_str(), ErrorReason::from_reason(&info.reason)), ("lanyard", reason));
        assert_eq!(details.request_info().unwrap().request_id, "order:4711");
        assert_eq!(status.metadata().get("x-correlation-id").unwrap(), "order:4711");
        assert_eq!(details.bad_request().is_some(), reason == ErrorReason::InvalidField);
        let shown = format!("{status:?}");
        assert!(!shown.contains(ust.expose()) && !shown.contains(root.expose()), "{shown}");
        assert!(!shown.contains(server.key.expose_secret()), "{shown}");
    }
}

/// The types of the messages in `google.rpc.Status.details`.
fn kinds_of_details(bytes: &[u8]) -> Vec<String> {
    #[derive(Clone, PartialEq, Message)]
    struct RpcStatus {
        #[prost(message, repeated, tag = "3")]
        details: Vec<lanyard_client::prost_types::Any>,
    }
    let status = RpcStatus::decode(bytes).expect("a google.rpc.Status");
    status.details.into_iter().map(|detail| detail.type_url).collect()
}

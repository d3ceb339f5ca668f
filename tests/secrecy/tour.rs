//! A visit to every RPC with good and bad requests, which writes down all answers that are not meant to hold a secret, and
//! every secret it met.

use lanyard_client::secrecy::ExposeSecret;
use lanyard_proto::v1::attribute_owner::Owner;
use lanyard_proto::v1::create_session_request::Credential;
use lanyard_proto::v1::{self, ClientInfo};
use lanyard_server::clock::Clock;
use lanyard_server::crypto::{Token, TokenKind};
use lanyard_tests::support::installation::{Installation, Program};
use lanyard_tests::support::micetro::FakeMicetro;
use lanyard_tests::support::raw::{Answered, Connection, framed, grpc};
use lanyard_tests::support::secrets::Secrets;
use prost::Message;
use totp_rs::{Builder, Secret};

pub(super) const WRONG_PASSWORD: &str = "fälsch & \"typed\" by somebody";
const SHORT_PASSWORD: &str = "Kürz%1";
const PASSWORDS: [&str; 4] =
    ["Tür zu! \"5 %\" Rabatt", "zweites_Wort/geheim", "drittes\\Wort\tgeheim", "viertes+Wort=geheim"];
const SEALED: &str = "sealed: the number of the account is 4711-0815";
const PLAIN: &str = "plain, but nobody's business: north-east";

/// Their answers hold a secret on purpose.
const DELIBERATE: [&str; 7] = [
    "SessionService/CreateSession",
    // To who holds the token, it is shown again.
    "SessionService/GetSession",
    "SessionService/GetPlatformAuth",
    "SessionService/RenewSession",
    "UserService/EnrollTotp",
    "AttributeService/SetAttributes",
    "AttributeService/ListAttributes",
];

pub(super) struct Tour {
    connection: Connection,
    key: String,
    alice: v1::PasswordCredential,
    pub(super) alice_id: String,
    pub(super) root_ust: String,
    /// What may be nowhere at all.
    pub(super) secrets: Secrets,
    /// What may be in the database only.
    pub(super) at_rest: Secrets,
    pub(super) said: Vec<u8>,
    pub(super) tokens: Vec<(TokenKind, String)>,
}

pub(super) type Refused<A> = Result<A, String>;

impl Tour {
    pub(super) async fn new(installation: &Installation, program: &Program) -> Self {
        let server = &installation.prepared;
        let credential = |person: &lanyard_tests::support::server::Person| v1::PasswordCredential {
            username: person.username.clone(),
            password: person.password.expose_secret().to_owned(),
            ..Default::default()
        };
        let (mut secrets, mut at_rest) = (Secrets::default(), Secrets::default());
        let (alice, root) = (credential(&server.alice), credential(&server.root));
        for password in PASSWORDS.iter().chain([&WRONG_PASSWORD, &SHORT_PASSWORD]) {
            secrets.add("a password", password);
        }
        secrets.add("the password of alice", &alice.password);
        secrets.add("the password of root", &root.password);
        secrets.add("a sealed value", SEALED);
        at_rest.add("a value", PLAIN);
        let key = server.key.expose_secret().to_owned();
        secrets.add("the key of the caller", &key);
        let mut tour = Self {
            connection: Connection::open(program.addr).await,
            tokens: vec![(TokenKind::CallerKey, key.clone())],
            key,
            alice,
            alice_id: server.alice.user_id.clone(),
            root_ust: String::new(),
            secrets,
            at_rest,
            said: Vec::new(),
        };
        tour.root_ust = tour.log_in(root).await.expect("root logs in");
        tour
    }

    /// Asks, and writes down what is answered: headers, status with its details, and the message.
    pub(super) async fn ask<A: Message + Default>(&mut self, method: &str, request: &impl Message) -> Refused<A> {
        self.send(method, &request.encode_to_vec()).await
    }

    async fn send<A: Message + Default>(&mut self, method: &str, request: &[u8]) -> Refused<A> {
        let request_head = grpc(&format!("/lanyard.v1.{method}"), Some(&self.key));
        let answered = self.connection.call(request_head, framed(request)).await.answer();
        self.note(method, &answered);
        match answered.code() {
            tonic::Code::Ok => Ok(answered.message()),
            _ => Err(answered.refusal().1),
        }
    }

    fn note(&mut self, method: &str, answered: &Answered) {
        let status = answered.status.as_ref().expect("a status");
        self.said.extend(format!("{:?} {status:?}\n{}\n", answered.headers, status.message()).into_bytes());
        self.said.extend_from_slice(status.details());
        if status.code() != tonic::Code::Ok || !DELIBERATE.contains(&method) {
            self.said.extend_from_slice(&answered.body);
        }
    }

    async fn log_in(&mut self, credential: v1::PasswordCredential) -> Refused<String> {
        self.log_in_with(Credential::Password(credential)).await
    }

    pub(super) async fn log_in_with(&mut self, credential: Credential) -> Refused<String> {
        let request = v1::CreateSessionRequest { credential: Some(credential), client: None };
        let answer: v1::CreateSessionResponse = self.ask("SessionService/CreateSession", &request).await?;
        self.keep_token(&answer.ust);
        Ok(answer.ust)
    }

    pub(super) async fn log_in_as_alice(&mut self) -> Refused<String> {
        self.log_in(self.alice.clone()).await
    }

    fn keep_token(&mut self, ust: &str) {
        self.secrets.add("a token", ust);
        self.tokens.push((TokenKind::Ust, ust.to_owned()));
    }

    pub(super) async fn of_everything(&mut self, micetro: &FakeMicetro) {
        self.of_logins().await;
        self.of_sessions().await;
        self.of_users().await;
        self.of_second_factors().await;
        self.of_attributes().await;
        self.of_accounts().await;
        self.of_platforms(micetro).await;
        self.of_mistakes().await;
    }

    async fn of_logins(&mut self) {
        let alice = self.alice.clone();
        let with = |password: &str| v1::PasswordCredential { password: password.to_owned(), ..alice.clone() };
        is(self.log_in(with(WRONG_PASSWORD)).await, "LOGIN_FAILED");
        is(self.log_in(with("")).await, "LOGIN_FAILED");
        let nobody = v1::PasswordCredential { username: "nobody".into(), ..with(PASSWORDS[0]) };
        is(self.log_in(nobody).await, "LOGIN_FAILED");
        let refused = v1::PasswordCredential { new_password: SHORT_PASSWORD.into(), ..alice.clone() };
        is(self.log_in(refused).await, "PASSWORD_REFUSED");
        let typing_error = if self.key.ends_with('x') { 'y' } else { 'x' };
        let damaged = format!("{}{typing_error}", &self.key[..self.key.len() - 1]);
        self.secrets.add("a key with a typing error", &damaged);
        for key in [damaged, Token::generate(TokenKind::CallerKey).expose().to_owned()] {
            let request = grpc("/lanyard.v1.SessionService/VerifySession", Some(&key));
            let answered = self.connection.call(request, framed(&[])).await.answer();
            self.note("SessionService/VerifySession", &answered);
            assert_eq!(answered.refusal().1, "CALLER_UNAUTHENTICATED");
            self.secrets.add("a wrong key", &key);
        }
    }

    async fn of_sessions(&mut self) {
        let (ust, unknown) = (self.log_in_as_alice().await.expect("alice logs in"), Token::generate(TokenKind::Ust));
        let damaged = format!("{}x", &ust[..ust.len() - 1]);
        for asked in [&ust, unknown.expose(), damaged.as_str()] {
            self.secrets.add("a token", asked);
            self.verify(asked).await;
            let sessions = vec![v1::SessionToVerify { ust: asked.to_owned(), client: None }];
            let batch = v1::BatchVerifySessionsRequest { sessions, ..Default::default() };
            let _: Refused<v1::BatchVerifySessionsResponse> =
                self.ask("SessionService/BatchVerifySessions", &batch).await;
        }
        let get = v1::GetSessionRequest { ust: ust.clone(), ..Default::default() };
        let own: v1::GetSessionResponse = self.ask("SessionService/GetSession", &get).await.expect("the own session");
        let list = v1::ListSessionsRequest { ust: ust.clone(), page_size: 1, ..Default::default() };
        let _: v1::ListSessionsResponse = self.ask("SessionService/ListSessions", &list).await.expect("a page");
        let rotate = v1::RenewSessionRequest { ust: ust.clone(), rotate: true, client: None };
        for _ in 0..2 {
            let new: v1::RenewSessionResponse =
                self.ask("SessionService/RenewSession", &rotate).await.expect("a token");
            self.keep_token(&new.ust);
        }
        let revoke = v1::RevokeSessionRequest {
            ust: self.root_ust.clone(),
            session_id: own.session.expect("it").session_id,
            client: None,
        };
        let _: v1::RevokeSessionResponse = self.ask("SessionService/RevokeSession", &revoke).await.expect("it ends");
        self.verify(&ust).await;
        is(self.ask::<v1::RenewSessionResponse>("SessionService/RenewSession", &rotate).await, "SESSION_INVALID");
        let others =
            v1::RevokeSessionsRequest { ust: self.log_in_as_alice().await.expect("a login"), ..Default::default() };
        let _: v1::RevokeSessionsResponse = self.ask("SessionService/RevokeSessions", &others).await.expect("they end");
    }

    async fn verify(&mut self, ust: &str) {
        let request = v1::VerifySessionRequest { ust: ust.to_owned(), ..Default::default() };
        let _: Refused<v1::VerifySessionResponse> = self.ask("SessionService/VerifySession", &request).await;
    }

    async fn of_users(&mut self) {
        let (ust, user) = (self.root_ust.clone(), v1::User { username: "carol".into(), ..Default::default() });
        let create = |password: &str| v1::CreateUserRequest {
            ust: ust.clone(),
            user: Some(user.clone()),
            password: password.into(),
            ..Default::default()
        };
        is(
            self.ask::<v1::CreateUserResponse>("UserService/CreateUser", &create(SHORT_PASSWORD)).await,
            "PASSWORD_REFUSED",
        );
        let made: v1::CreateUserResponse =
            self.ask("UserService/CreateUser", &create(PASSWORDS[0])).await.expect("carol is made");
        is(self.ask::<v1::CreateUserResponse>("UserService/CreateUser", &create(PASSWORDS[1])).await, "USERNAME_TAKEN");
        let (user, user_id) = (made.user.clone(), made.user.expect("her").user_id);
        let carol = |password: &str, new: &str| v1::PasswordCredential {
            username: "carol".into(),
            password: password.into(),
            new_password: new.into(),
            ..Default::default()
        };
        let own = self.log_in(carol(PASSWORDS[0], "")).await.expect("carol logs in");
        let current = v1::GetCurrentUserRequest { ust: own.clone(), client: None };
        let _: v1::GetCurrentUserResponse = self.ask("UserService/GetCurrentUser", &current).await.expect("her");
        let mask = Some(prost_types::FieldMask { paths: vec!["display_name".into()] });
        let update = v1::UpdateUserRequest { ust: own.clone(), user, update_mask: mask, client: None };
        let _: v1::UpdateUserResponse = self.ask("UserService/UpdateUser", &update).await.expect("her");
        let change = |old: &str, new: &str| v1::ChangePasswordRequest {
            ust: own.clone(),
            old_password: old.into(),
            new_password: new.into(),
            client: None,
        };
        let method = "UserService/ChangePassword";
        is(self.ask::<v1::ChangePasswordResponse>(method, &change(WRONG_PASSWORD, PASSWORDS[1])).await, "LOGIN_FAILED");
        is(
            self.ask::<v1::ChangePasswordResponse>(method, &change(PASSWORDS[0], SHORT_PASSWORD)).await,
            "PASSWORD_REFUSED",
        );
        let _: v1::ChangePasswordResponse =
            self.ask(method, &change(PASSWORDS[0], PASSWORDS[1])).await.expect("changed");
        let set = v1::SetPasswordRequest {
            ust: ust.clone(),
            user_id: user_id.clone(),
            new_password: PASSWORDS[2].into(),
            must_change: true,
            client: None,
        };
        let _: v1::SetPasswordResponse = self.ask("UserService/SetPassword", &set).await.expect("it is set");
        is(self.log_in(carol(PASSWORDS[2], "")).await, "PASSWORD_CHANGE_REQUIRED");
        self.log_in(carol(PASSWORDS[2], PASSWORDS[3])).await.expect("carol logs in");
        self.of_states(&ust, &user_id).await;
    }

    async fn of_states(&mut self, ust: &str, user_id: &str) {
        // All of them have the same shape: the token, where the user is, whose.
        let request = v1::LockUserRequest { ust: ust.into(), user_id: user_id.into(), client: None };
        for verb in ["Lock", "Unlock", "Reject", "Approve"] {
            let _: v1::LockUserResponse = self.ask(&format!("UserService/{verb}User"), &request).await.expect(verb);
        }
        let get = v1::GetUserRequest {
            ust: ust.into(),
            key: Some(v1::get_user_request::Key::Username("carol".into())),
            client: None,
        };
        let _: v1::GetUserResponse = self.ask("UserService/GetUser", &get).await.expect("her");
        let list = v1::ListUsersRequest { ust: ust.into(), ..Default::default() };
        let _: v1::ListUsersResponse = self.ask("UserService/ListUsers", &list).await.expect("all");
        let regular = self.log_in_as_alice().await.expect("alice logs in");
        let list = v1::ListUsersRequest { ust: regular, ..Default::default() };
        is(self.ask::<v1::ListUsersResponse>("UserService/ListUsers", &list).await, "SUPER_USER_REQUIRED");
    }

    async fn of_second_factors(&mut self) {
        let ust = self.log_in_as_alice().await.expect("alice logs in");
        let enrol =
            |password: &str| v1::EnrollTotpRequest { ust: ust.clone(), password: password.into(), client: None };
        is(self.ask::<v1::EnrollTotpResponse>("UserService/EnrollTotp", &enrol(WRONG_PASSWORD)).await, "LOGIN_FAILED");
        let password = self.alice.password.clone();
        let shown: v1::EnrollTotpResponse =
            self.ask("UserService/EnrollTotp", &enrol(&password)).await.expect("a secret");
        let secret = Secret::try_from_base32(&shown.secret).expect("base32");
        self.secrets.add("a TOTP secret in base32", &shown.secret);
        self.secrets.add("an otpauth address", &shown.otpauth_uri);
        self.secrets.add("a TOTP secret", secret.as_bytes());
        let totp = Builder::new().with_secret(secret).with_account_name("alice").build().expect("a secret of ours");
        let now = u64::try_from(Clock::system().now().to_unix().0).expect("after 1970");
        // Of now, and of the step before: each works once.
        let (used, code) = (totp.generate(now - 30).to_string(), totp.generate(now).to_string());
        let wrong = if code == "246813" { "135791" } else { "246813" };
        for code in [&used, &code, wrong] {
            self.at_rest.add_code("a code", code);
        }
        let confirm = |code: &str| v1::ConfirmTotpRequest { ust: ust.clone(), totp_code: code.into(), client: None };
        is(self.ask::<v1::ConfirmTotpResponse>("UserService/ConfirmTotp", &confirm(wrong)).await, "LOGIN_FAILED");
        let _: v1::ConfirmTotpResponse = self.ask("UserService/ConfirmTotp", &confirm(&code)).await.expect("it is on");
        is(self.log_in_as_alice().await, "TOTP_REQUIRED");
        for code in [wrong, &code, &used] {
            let credential = v1::PasswordCredential { totp_code: code.into(), ..self.alice.clone() };
            is(self.log_in(credential).await, "LOGIN_FAILED");
        }
        let disable = |password: &str| v1::DisableTotpRequest {
            ust: ust.clone(),
            password: password.into(),
            ..Default::default()
        };
        is(
            self.ask::<v1::DisableTotpResponse>("UserService/DisableTotp", &disable(WRONG_PASSWORD)).await,
            "LOGIN_FAILED",
        );
        let _: v1::DisableTotpResponse =
            self.ask("UserService/DisableTotp", &disable(&password)).await.expect("it is off");
    }

    async fn of_attributes(&mut self) {
        let ust = self.log_in_as_alice().await.expect("alice logs in");
        let owner = Some(v1::AttributeOwner { owner: Some(Owner::UserId(self.alice_id.clone())) });
        let attribute = |name: &str, value: &str, seal: bool, etag: &str| v1::AttributeToSet {
            name: name.into(),
            value: value.into(),
            seal,
            etag: etag.into(),
            ttl: None,
        };
        for (owner, etag) in [(owner.clone(), ""), (None, ""), (owner.clone(), "no-such-etag")] {
            let attributes = vec![attribute("sealed", SEALED, true, etag), attribute("plain", PLAIN, false, "")];
            let set = v1::SetAttributesRequest { ust: ust.clone(), owner, attributes, client: None };
            let done: Refused<v1::SetAttributesResponse> = self.ask("AttributeService/SetAttributes", &set).await;
            assert_eq!(done.is_ok(), etag.is_empty());
        }
        let list = v1::ListAttributesRequest { ust: ust.clone(), owner: owner.clone(), ..Default::default() };
        let listed: v1::ListAttributesResponse =
            self.ask("AttributeService/ListAttributes", &list).await.expect("both");
        assert!(listed.attributes.iter().any(|attribute| attribute.value == SEALED));
        let names = vec!["plain".to_owned(), "absent".to_owned()];
        let delete = v1::DeleteAttributesRequest { ust, owner, names, client: None };
        let missing: Refused<v1::DeleteAttributesResponse> =
            self.ask("AttributeService/DeleteAttributes", &delete).await;
        is(missing, "ATTRIBUTE_NOT_FOUND");
    }

    /// A secret where something else belongs, and bytes that are no message.
    async fn of_mistakes(&mut self) {
        let (ust, root) = (self.log_in_as_alice().await.expect("alice logs in"), self.root_ust.clone());
        let get = v1::GetSessionRequest { ust: root.clone(), session_id: ust.clone(), client: None };
        is(self.ask::<v1::GetSessionResponse>("SessionService/GetSession", &get).await, "INVALID_FIELD");
        let list = v1::ListSessionsRequest { ust: root.clone(), page_token: ust.clone(), ..Default::default() };
        is(self.ask::<v1::ListSessionsResponse>("SessionService/ListSessions", &list).await, "PAGE_TOKEN_INVALID");
        let key = self.key.clone();
        for client in [
            ClientInfo { current_app: ust.clone(), ..Default::default() },
            ClientInfo { remote_addr: ust.clone(), ..Default::default() },
            ClientInfo { current_app: key.clone(), ..Default::default() },
            ClientInfo { remote_addr: key, ..Default::default() },
        ] {
            let current = v1::GetCurrentUserRequest { ust: ust.clone(), client: Some(client) };
            self.ask::<v1::GetCurrentUserResponse>("UserService/GetCurrentUser", &current)
                .await
                .expect_err("a mistake");
        }
        let events = v1::ListAuditEventsRequest { ust: root, session_id: ust.clone(), ..Default::default() };
        is(self.ask::<v1::ListAuditEventsResponse>("AuditService/ListAuditEvents", &events).await, "INVALID_FIELD");
        let events = v1::ListAuditEventsRequest { ust: self.root_ust.clone(), ..Default::default() };
        let _: v1::ListAuditEventsResponse = self.ask("AuditService/ListAuditEvents", &events).await.expect("events");
        let delete = v1::DeleteUserRequest { ust: ust.clone(), user_id: self.alice_id.clone(), client: None };
        is(self.ask::<v1::DeleteUserResponse>("UserService/DeleteUser", &delete).await, "SUPER_USER_REQUIRED");
        let mut damaged = v1::VerifySessionRequest { ust, ..Default::default() }.encode_to_vec();
        damaged.push(0xff);
        is(
            self.send::<v1::VerifySessionResponse>("SessionService/VerifySession", &damaged).await,
            "REQUEST_UNREADABLE",
        );
    }

    /// While the database is away.
    pub(super) async fn of_everything_that_fails(&mut self) {
        is(self.log_in_as_alice().await, "STORE_UNAVAILABLE");
        let credential = v1::PasswordCredential { password: WRONG_PASSWORD.into(), ..self.alice.clone() };
        is(self.log_in(credential).await, "STORE_UNAVAILABLE");
        let root = self.root_ust.clone();
        let renew = v1::RenewSessionRequest { ust: root.clone(), rotate: true, client: None };
        is(self.ask::<v1::RenewSessionResponse>("SessionService/RenewSession", &renew).await, "STORE_UNAVAILABLE");
        let list = v1::ListUsersRequest { ust: root.clone(), ..Default::default() };
        is(self.ask::<v1::ListUsersResponse>("UserService/ListUsers", &list).await, "STORE_UNAVAILABLE");
        let attributes =
            vec![v1::AttributeToSet { name: "x".into(), value: SEALED.into(), seal: true, ..Default::default() }];
        let set = v1::SetAttributesRequest { ust: root, attributes, ..Default::default() };
        is(self.ask::<v1::SetAttributesResponse>("AttributeService/SetAttributes", &set).await, "STORE_UNAVAILABLE");
        self.of_accounts_that_fail().await;
        self.of_platforms_that_fail().await;
    }
}

pub(super) fn is<A>(answer: Refused<A>, reason: &str) {
    assert_eq!(answer.err().as_deref(), Some(reason));
}

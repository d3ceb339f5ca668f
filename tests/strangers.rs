//! Programs of others, which know nothing but the address: they ask the server by reflection what there is, and do the tour
//! of the README. `tests/run` installs them.

use std::net::SocketAddr;
use std::process::{Command, Output};

use lanyard_client::secrecy::ExposeSecret;
use lanyard_tests::support::repository_file;
use lanyard_tests::support::server::{Database, TestServer, in_background, run};
use serde_json::{Value, json};

const VERIFY: &str = "lanyard.v1.SessionService/VerifySession";

#[derive(Clone, Copy)]
enum Tool {
    Grpcurl,
    BufCurl,
}

impl Tool {
    /// What makes a call with these headers.
    fn call(self, addr: SocketAddr, method: &str, headers: &[String], request: &Value) -> Command {
        let mut command = program(if matches!(self, Self::Grpcurl) { "grpcurl" } else { "buf" });
        match self {
            Self::Grpcurl => command.arg("-plaintext"),
            Self::BufCurl => command.args(["curl", "--protocol", "grpc", "--http2-prior-knowledge"]),
        };
        command.args(headers.iter().flat_map(|header| ["-H", header]));
        command.args(["-d", &request.to_string()]);
        match self {
            Self::Grpcurl => command.args([&addr.to_string(), method]),
            Self::BufCurl => command.arg(format!("http://{addr}/{method}")),
        };
        command
    }

    fn list(self, addr: SocketAddr) -> Command {
        match self {
            Self::Grpcurl => {
                let mut command = program("grpcurl");
                command.args(["-plaintext", &addr.to_string(), "list"]);
                command
            }
            Self::BufCurl => {
                let mut command = program("buf");
                let url = format!("http://{addr}");
                command.args(["curl", "--protocol", "grpc", "--http2-prior-knowledge", "--list-services", &url]);
                command
            }
        }
    }
}

/// A program that `tests/run` has installed, or that the system has.
fn program(name: &str) -> Command {
    let installed = repository_file(".tools/bin").join(name);
    if installed.exists() { Command::new(installed) } else { Command::new(name) }
}

async fn output(mut command: Command) -> Output {
    let name = command.get_program().display().to_string();
    let output = in_background(move || command.output()).await;
    output.unwrap_or_else(|problem| panic!("{name}: {problem}: tests/run installs it"))
}

/// Somebody on a tour, with a tool.
struct Tourist<'a> {
    tool: Tool,
    server: &'a TestServer,
}

impl Tourist<'_> {
    async fn ask(&self, method: &str, request: Value) -> Value {
        self.ask_as("a-stranger", method, request).await
    }

    async fn ask_as(&self, correlation_id: &str, method: &str, request: Value) -> Value {
        let key = self.server.key.expose_secret();
        let headers = [format!("authorization: Bearer {key}"), format!("x-correlation-id: {correlation_id}")];
        let output = output(self.tool.call(self.server.addr(), method, &headers, &request)).await;
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{method}: {problem}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{method}: no JSON: {output:?}"))
    }

    async fn log_in(&self, username: &str) -> Value {
        let password = json!({ "username": username, "password": format!("{username}-password") });
        self.ask("lanyard.v1.SessionService/CreateSession", json!({ "password": password })).await
    }
}

async fn tour(tool: Tool) {
    let server = TestServer::start(Database::Sqlite).await;
    let tourist = Tourist { tool, server: &server };
    let listed = output(tool.list(server.addr())).await;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for service in ["SessionService", "UserService", "LinkedAuthService", "AuditService"] {
        assert!(listed.contains(&format!("lanyard.v1.{service}")), "{listed}");
    }
    sessions(&tourist).await;
    links(&tourist).await;
    refusals(&tourist).await;
}

/// Log in, verify, renew, log out, verify, and look it up in the trail.
async fn sessions(tourist: &Tourist<'_>) {
    let login = tourist.log_in("alice").await;
    assert_eq!(login["session"]["state"], "SESSION_STATE_ACTIVE");
    let ust = &login["ust"];
    let verdict = tourist.ask(VERIFY, json!({ "ust": ust })).await;
    assert_eq!(verdict["session"]["username"], "alice");
    let renewed = tourist.ask("lanyard.v1.SessionService/RenewSession", json!({ "ust": ust, "rotate": true })).await;
    let ust = &renewed["ust"];
    let request = json!({ "ust": ust });
    let revoked = tourist.ask_as("order-4711", "lanyard.v1.SessionService/RevokeSession", request).await;
    assert_eq!(revoked, json!({ "revoked": true }));
    let verdict = tourist.ask(VERIFY, json!({ "ust": ust })).await;
    let inactive = json!({ "reason": "INACTIVE_REASON_REVOKED", "revokeReason": "REVOKE_REASON_LOGOUT" });
    assert_eq!(verdict, json!({ "inactive": inactive }));

    let root = &tourist.log_in("root").await["ust"];
    let request = json!({ "ust": root, "correlationId": "order-4711" });
    let trail = tourist.ask("lanyard.v1.AuditService/ListAuditEvents", request).await;
    let [event] = trail["events"].as_array().expect("events").as_slice() else { panic!("not one event: {trail}") };
    assert_eq!((&event["operation"], &event["caller"]), (&json!("session.revoke"), &json!("tests")));
}

/// Define, link, list, log in with it, unlink.
async fn links(tourist: &Tourist<'_>) {
    let root = &tourist.log_in("root").await["ust"];
    let definition = json!({ "name": "CRM", "isActive": true, "basicAuth": { "username": "my.username" } });
    let secret = json!({ "secret": "a secret of machines" });
    let request = json!({ "ust": root, "definition": definition, "secret": secret });
    let made = tourist.ask("lanyard.v1.DefinitionService/CreateDefinition", request).await;
    let auth_id = &made["definition"]["authId"];
    let alice = &tourist.server.alice.user_id;
    let request = json!({ "ust": root, "userId": alice, "definition": { "authId": auth_id } });
    let link = tourist.ask("lanyard.v1.LinkedAuthService/CreateLinkedAuth", request).await;
    let request = json!({ "ust": root, "userId": alice, "client": { "currentApp": "CRM", "remoteAddr": "127.0.0.1" } });
    let listed = tourist.ask("lanyard.v1.LinkedAuthService/ListLinkedAuth", request).await;
    assert_eq!(listed["links"][0]["authUsername"], "my.username");
    let credential = json!({ "username": "my.username", "secret": "a secret of machines" });
    let login = tourist.ask("lanyard.v1.SessionService/CreateSession", json!({ "basicAuth": credential })).await;
    assert_eq!(login["session"]["userId"], json!(alice));
    let request = json!({ "ust": root, "linkId": link["link"]["linkId"] });
    let deleted = tourist.ask("lanyard.v1.LinkedAuthService/DeleteLinkedAuth", request).await;
    assert_eq!(deleted, json!({ "revokedCount": "1" }));
}

/// Both tools show the code and the message of a status.
async fn refusals(tourist: &Tourist<'_>) {
    let refused = output(tourist.tool.call(tourist.server.addr(), VERIFY, &[], &json!({ "ust": "junk" }))).await;
    let shown = String::from_utf8_lossy(&refused.stderr).to_lowercase();
    assert!(!refused.status.success() && shown.contains("unauthenticated"), "{shown}");
    assert!(shown.contains("did not prove who it is"), "{shown}");
}

#[test]
fn grpcurl_does_the_tour_of_the_readme() {
    run(tour(Tool::Grpcurl));
}

#[test]
fn buf_curl_does_the_tour_of_the_readme() {
    run(tour(Tool::BufCurl));
}

#[test]
fn ghz_verifies_a_thousand_times_and_hears_no_error() {
    run(async {
        const CALLS: u32 = 1000;
        let server = TestServer::start(Database::Sqlite).await;
        let ust = server.log_in(&server.alice).await.ust;
        let mut ghz = program("ghz");
        let metadata = json!({ "authorization": format!("Bearer {}", server.key.expose_secret()) });
        ghz.args(["--insecure", "--call", VERIFY, "--format", "json", "--concurrency", "20", "--connections", "4"])
            .args(["--total", &CALLS.to_string(), "--metadata", &metadata.to_string()])
            .args(["--data", &json!({ "ust": ust.expose() }).to_string(), &server.addr().to_string()]);
        let output = output(ghz).await;
        let problem = String::from_utf8_lossy(&output.stderr);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {problem}"));
        assert_eq!(report["count"], CALLS);
        assert_eq!(report["statusCodeDistribution"], json!({ "OK": CALLS }), "{}", report["errorDistribution"]);
    });
}

//! The program `lanyard` as people and scripts use it: its own process, its arguments, what it prints, how it exits.

#[path = "cli/definition.rs"]
mod definition;
#[path = "cli/link.rs"]
mod link;
#[path = "cli/login.rs"]
mod login;
#[path = "cli/micetro.rs"]
mod micetro;
#[path = "cli/platform.rs"]
mod platform;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use lanyard_tests::support::process::{Process, lanyard};
use lanyard_tests::support::{eventually, temporary_folder};
use serde_json::Value;

/// A folder to work in, and nothing of the tests' own environment.
struct Home {
    folder: tempfile::TempDir,
}

/// What a command said and how it ended.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Home {
    fn new() -> Self {
        Self { folder: temporary_folder() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(lanyard());
        command.args(line.split_whitespace()).current_dir(self.folder.path()).env_clear();
        command
    }

    fn run(&self, line: &str) -> Said {
        self.run_with(line, &[], "")
    }

    fn run_with(&self, line: &str, environment: &[(&str, &str)], stdin: &str) -> Said {
        let mut command = self.command(line);
        command.envs(environment.iter().copied());
        said(&mut command, stdin)
    }

    /// Runs a command that must succeed, and reads its JSON.
    fn json(&self, line: &str) -> Value {
        let said = self.run(&format!("{line} --json"));
        assert_eq!(said.code, Some(0), "{line}: {}", said.stderr);
        said.json()
    }

    /// `serve --dev` on a port of its own, once it serves.
    fn serve_dev(&self) -> Process {
        self.serve_dev_with(&[])
    }

    fn serve_dev_with(&self, words: &[&str]) -> Process {
        let mut command = self.command("serve --dev");
        let server = Process::start(command.args(words).env("LANYARD__SERVER__LISTEN", "127.0.0.1:0"));
        server.wait_for_line("that it serves", |line| line.starts_with("Lanyard serves at http://").then_some(()));
        server
    }

    fn credentials(&self) -> Value {
        let text = std::fs::read_to_string(self.path("lanyard-data/credentials.json")).expect("credentials");
        serde_json::from_str(&text).expect("JSON")
    }

    fn password(&self, user: &str) -> String {
        self.credentials()[user]["password"].as_str().expect("a password").to_owned()
    }

    fn log_in(&self, user: &str) -> Value {
        let credentials = self.credentials();
        let name = credentials[user]["username"].as_str().expect("a name");
        let line = format!("session login --username {name} --password-stdin --save --json");
        let said = self.run_with(&line, &[], &format!("{}\n", self.password(user)));
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        said.json()
    }
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }

    fn error(&self) -> Value {
        let error: Value = serde_json::from_str(&self.stderr).unwrap_or_else(|e| panic!("{e}: {}", self.stderr));
        error["error"].clone()
    }
}

fn said(command: &mut Command, stdin: &str) -> Said {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // Whoever does not read its input may end before it is written.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Said { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

fn mode(path: PathBuf) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_newcomer_logs_in_verifies_renews_lists_logs_out_and_finds_it_all_in_the_audit_trail() {
    let home = Home::new();
    let mut server = home.serve_dev();
    let login = home.log_in("demo_user");
    let session = login["session"]["session_id"].as_str().expect("an ID");
    assert_eq!(login["ust"], Value::Null, "what is saved is not shown");

    let verdict = home.json("session verify");
    assert_eq!(
        (&verdict["active"], &verdict["session"]["session_id"]),
        (&true.into(), &login["session"]["session_id"])
    );
    assert_eq!(home.json("session renew --rotate")["session"]["rotation_count"], 1);
    assert_eq!(home.json("session verify")["active"], true, "the new token was saved");
    let listed = home.json("session list");
    assert_eq!(listed["sessions"].as_array().expect("a list").len(), 1, "{listed}");
    assert_eq!(home.json("attribute list")["attributes"][0]["name"], "crm:team");
    assert_eq!(home.json("link list")["links"][0]["auth_username"], "reporting");

    assert_eq!(home.json("session revoke --correlation-id goodbye-7")["revoked"], true);
    let said = home.run("session verify --json");
    assert_eq!(said.code, Some(7));
    assert_eq!(said.json()["inactive"]["revoke_reason"], "LOGOUT");

    home.log_in("super_user");
    let events = home.json("audit list --correlation-id goodbye-7");
    assert_eq!(events["events"].as_array().expect("a list").len(), 1, "{events}");
    let event = &events["events"][0];
    assert_eq!((&event["operation"], &event["session_id"]), (&"session.revoke".into(), &session.into()));
    let table = home.run("audit list --operation session. --limit 2");
    assert!(table.stdout.starts_with("TIME "), "{}", table.stdout);
    assert_eq!((table.stdout.lines().count(), table.stderr.trim()), (3, "there are more: see --limit"));
    assert_eq!(home.json("audit verify")["problems"], Value::Array(vec![]));
    assert_eq!(home.json("health")["status"], "SERVING");

    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(home.run("health").code, Some(6));
}

#[test]
fn the_lines_of_the_first_start_work_when_they_are_pasted() {
    let home = Home::new();
    let server = home.serve_dev();
    server.wait_for_line("its last line", |line| line.starts_with("Ctrl-C").then_some(()));
    let printed = server.output();
    let (_, try_it) = printed.split_once("Try it").expect("lines to try");
    let lines: Vec<&str> = try_it.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(lines.len() >= 6, "{printed}");
    let elsewhere = temporary_folder();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-e", "-c", &lines.join("\n")]).current_dir(elsewhere.path()).env_clear();
    let said = said(&mut shell, "");
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    for expected in [
        "the session is active",
        "The session has ended.",
        "(REVOKED: LOGOUT)",
        "exit code 7",
        "reporting",
        "BASIC_AUTH",
    ] {
        assert!(said.stdout.contains(expected), "{expected}: {}", said.stdout);
    }
}

#[test]
fn secrets_are_shown_once_and_kept_where_only_their_owner_can_read_them() {
    let home = Home::new();
    let mut first = home.serve_dev();
    first.wait_for_line("its last line", |line| line.starts_with("Ctrl-C").then_some(()));
    let key = home.credentials()["caller_key"].as_str().expect("a key").to_owned();
    let secret = home.credentials()["demo_definition"]["secret"].as_str().expect("a secret").to_owned();
    let secrets = [key, home.password("super_user"), home.password("demo_user"), secret];
    for secret in &secrets {
        assert!(first.output().contains(secret.as_str()), "shown at the first start");
    }
    home.log_in("demo_user");
    assert_eq!(mode(home.path("lanyard-data")), 0o700);
    for file in ["credentials.json", "keys.json", "session.json", "lanyard.db", "lanyard.db-wal"] {
        assert_eq!(mode(home.path("lanyard-data").join(file)), 0o600, "{file}");
    }
    first.terminate();
    assert!(first.wait().success());

    let mut second = home.serve_dev();
    let printed = second.output();
    assert!(printed.contains("lanyard-data/credentials.json"), "{printed}");
    home.log_in("demo_user");
    second.terminate();
    assert!(second.wait().success());
    for secret in &secrets {
        assert!(!second.output().contains(secret.as_str()), "shown again");
    }
}

#[test]
fn each_kind_of_refusal_has_its_exit_code_and_says_why() {
    let home = Home::new();
    let _server = home.serve_dev();
    let wrong = home.run_with("session login --username demo --json", &[("LANYARD_PASSWORD", "wrong")], "");
    assert_eq!((wrong.code, &wrong.error()["reason"]), (Some(3), &"LOGIN_FAILED".into()));
    assert!(wrong.error()["correlation_id"].as_str().is_some_and(|id| !id.is_empty()));

    let none = home.run("session login --username demo");
    assert_eq!(none.code, Some(2), "nobody is there to be asked");
    assert!(none.stderr.contains("--password-stdin"), "{}", none.stderr);
    assert_eq!(home.run("session list").code, Some(2), "no token");

    home.log_in("demo_user");
    let forbidden = home.run("user list --correlation-id try-1");
    assert_eq!(forbidden.code, Some(4));
    assert!(
        forbidden.stderr.contains("SUPER_USER_REQUIRED") && forbidden.stderr.contains("try-1"),
        "{}",
        forbidden.stderr
    );
    let stranger = home.run_with("session verify --json", &[("LANYARD_CALLER_KEY", "lyk1_x")], "");
    assert_eq!((stranger.code, &stranger.error()["reason"]), (Some(3), &"CALLER_UNAUTHENTICATED".into()));

    home.log_in("super_user");
    assert_eq!(home.run("user get nobody").code, Some(5));
    assert_eq!(home.run("attribute delete nothing").code, Some(5));
    let bad = home.run("session list --all-users --app nowhere --json");
    assert_eq!((bad.code, &bad.error()["reason"]), (Some(1), &"APP_UNKNOWN".into()));
    assert_eq!(home.run("session fly").code, Some(2));
    let unreachable = home.run("health --endpoint http://127.0.0.1:1");
    assert_eq!(unreachable.code, Some(6), "{}", unreachable.stderr);
}

#[test]
fn a_token_of_one_server_is_not_sent_to_another() {
    let home = Home::new();
    let _server = home.serve_dev();
    home.log_in("demo_user");
    let said = home.run("session verify --endpoint http://127.0.0.1:1");
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("is of http://127.0.0.1:"), "{}", said.stderr);
}

#[test]
fn users_are_made_changed_locked_and_removed() {
    let home = Home::new();
    let _server = home.serve_dev();
    home.log_in("super_user");
    let create = "user create alice --email a@example.org --password-stdin --pending --json";
    let alice = home.run_with(create, &[], "correct horse\n").json();
    assert_eq!((&alice["approval_status"], &alice["has_password"]), (&"PENDING".into(), &true.into()));
    assert_eq!(home.json("user approve alice")["approval_status"], "APPROVED");
    let changed =
        home.json("user update alice --super-user true --allowed-network 127.0.0.0/8 --password-expires never");
    assert_eq!((&changed["is_super_user"], &changed["allowed_networks"][0]), (&true.into(), &"127.0.0.0/8".into()));
    assert_eq!(changed["email"], "a@example.org", "what is not given stays");
    let login = [("LANYARD_PASSWORD", "correct horse")];
    let session = home.run_with("session login -u alice --json", &login, "").json();
    let ust = session["ust"].as_str().expect("a token").to_owned();
    assert_eq!(home.json("session list --user alice --state active")["sessions"][0]["username"], "alice");
    assert_eq!(home.json("user lock alice")["revoked_count"], 1);
    let said = home.run_with("session verify --json", &[("LANYARD_UST", &ust)], "");
    assert_eq!((said.code, &said.json()["inactive"]["revoke_reason"]), (Some(7), &"USER_LOCKED".into()));
    assert_eq!(home.run_with("session login -u alice", &login, "").code, Some(3));
    home.json("user unlock alice");
    let reset = home.run_with("user set-password alice", &[("LANYARD_NEW_PASSWORD", "battery staple")], "");
    assert_eq!(reset.code, Some(0), "{}", reset.stderr);
    assert_eq!(home.run_with("session login -u alice", &login, "").code, Some(3));
    home.json("user delete alice");
    assert_eq!(home.run("user get alice").code, Some(5));
}

#[test]
fn attributes_come_from_arguments_and_from_standard_input() {
    let home = Home::new();
    let _server = home.serve_dev();
    home.log_in("demo_user");
    let said = home.run_with("attribute set note crm:desk=7 --seal --ttl 1h --json", &[], "two\nlines\n");
    assert_eq!(said.json()["attributes"][0]["value"], "two\nlines");
    assert_eq!(home.json("attribute list crm:desk")["attributes"][0]["is_sealed"], true);
    let table = home.run("attribute list note").stdout;
    assert!(table.contains("two\u{fffd}lines"), "a value does not steer the terminal: {table}");
    assert_eq!(home.json("attribute delete note crm:desk")["deleted_count"], 2);
}

#[tokio::test]
async fn a_running_server_sees_that_a_caller_was_made_rotated_and_revoked() {
    let home = Home::new();
    let _server = home.serve_dev();
    home.log_in("demo_user");
    let verify = |key: &str| home.run_with("session verify", &[("LANYARD_CALLER_KEY", key)], "").code;
    let key = |value: Value| value["key"].as_str().expect("a key").to_owned();

    let first = key(home.json("caller create shop --grant session.verify"));
    assert_eq!(verify(&first), Some(0), "a new key is good at once");
    let list = home.run_with("session list --json", &[("LANYARD_CALLER_KEY", &first)], "");
    assert_eq!((list.code, &list.error()["reason"]), (Some(4), &"CALLER_FORBIDDEN".into()));

    let second = key(home.json("caller rotate shop --overlap 0s"));
    assert_eq!(verify(&second), Some(0));
    eventually("the old key is refused", async || verify(&first) == Some(3)).await;
    assert_eq!(verify(&second), Some(0));

    home.json("caller revoke shop");
    eventually("the caller is refused", async || verify(&second) == Some(3)).await;
    let shown = home.run("caller list").stdout;
    assert!(shown.contains("shop") && !shown.contains("lyk1_"), "{shown}");
}

#[test]
fn in_production_keys_schema_and_first_user_are_made_on_purpose() {
    let home = Home::new();
    let config = "server.listen = '127.0.0.1:0'\nserver.drain_delay = '0s'\n";
    std::fs::write(home.path("lanyard.toml"), config).expect("written");
    let no_keys = home.run("serve --config lanyard.toml");
    assert_eq!(no_keys.code, Some(78));
    assert!(no_keys.stderr.contains("lanyard keys init"), "{}", no_keys.stderr);
    assert_eq!(home.run("keys init --config lanyard.toml").code, Some(0));
    assert_eq!(home.run("keys init --config lanyard.toml").code, Some(1), "keys are not made twice");

    let stale = home.run("serve --config lanyard.toml");
    assert_eq!(stale.code, Some(9));
    assert!(stale.stderr.contains("lanyard migrate"), "{}", stale.stderr);
    assert_eq!(home.run("migrate --check --config lanyard.toml").code, Some(9));
    assert_eq!(home.run("migrate --config lanyard.toml").code, Some(0));
    assert_eq!(home.run("migrate --check --config lanyard.toml").code, Some(0));

    let bootstrap = "user bootstrap root --config lanyard.toml --password-stdin";
    assert_eq!(home.run_with(bootstrap, &[], "correct horse\n").code, Some(0));
    let key = home.json("caller create console --all-grants --may-relay-super-users --config lanyard.toml");
    let mut server = Process::start(&mut home.command("serve --config lanyard.toml"));
    let endpoint = server.wait_for_line("where it serves", |line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "serving").then(|| format!("http://{}", line["addr"].as_str().expect("an address")))
    });
    let environment = [
        ("LANYARD_ENDPOINT", endpoint.as_str()),
        ("LANYARD_CALLER_KEY", key["key"].as_str().expect("a key")),
        ("LANYARD_PASSWORD", "correct horse"),
    ];
    let login = home.run_with("session login -u root --save", &environment, "");
    assert_eq!(login.code, Some(0), "{}", login.stderr);
    let users = home.run_with("user list --json", &environment, "").json();
    assert_eq!(users["users"][0]["is_super_user"], true);
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_configuration_that_cannot_be_or_is_not_safe_is_refused_by_name() {
    let home = Home::new();
    let beyond = home.run_with("serve --dev", &[("LANYARD__SERVER__LISTEN", "0.0.0.0:0")], "");
    assert_eq!(beyond.code, Some(78));
    assert!(beyond.stderr.contains("server.listen") && beyond.stderr.contains("TLS"), "{}", beyond.stderr);
    assert!(!home.path("lanyard-data").exists(), "nothing was made before it was checked");

    std::fs::write(home.path("bad.toml"), "[session]\nidel = '5m'\n").expect("written");
    let unknown = home.run("config check --config bad.toml --json");
    assert_eq!(unknown.code, Some(78));
    assert!(unknown.error()["message"].as_str().expect("a message").contains("idel"), "{}", unknown.stderr);
    let missing = home.run("config check --config nowhere.toml");
    assert_eq!(missing.code, Some(78));
    assert!(missing.stderr.contains("nowhere.toml"), "{}", missing.stderr);

    let default = home.run("config default").stdout;
    std::fs::write(home.path("default.toml"), default).expect("written");
    assert_eq!(home.run("config check --config default.toml").code, Some(0));
    let url = [("LANYARD__DATABASE__URL", "postgres://lanyard:hunter2@db/lanyard")];
    let shown = home.run_with("config show --json", &url, "");
    assert!(!shown.stdout.contains("hunter2"), "{}", shown.stdout);
    assert_eq!(shown.json()["database"]["url"], "postgres://lanyard:[redacted]@db/lanyard");
}

#[test]
fn a_changed_event_is_named_and_has_an_exit_code() {
    let home = Home::new();
    let mut server = home.serve_dev();
    server.terminate();
    assert!(server.wait().success());
    let database = home.path("lanyard-data/lanyard.db");
    let mut bytes = std::fs::read(&database).expect("the database");
    let (honest, forged) = (b"caller.create", b"caller.crwate");
    let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(honest)).collect();
    assert!(!places.is_empty(), "the event is in the file");
    for at in places {
        bytes[at..at + forged.len()].copy_from_slice(forged);
    }
    std::fs::write(&database, bytes).expect("written");
    let said = home.run("audit verify");
    assert_eq!(said.code, Some(8), "{}", said.stderr);
    assert!(said.stdout.contains("(caller.crwate): changed or moved"), "{}", said.stdout);
    assert!(said.stdout.contains("Problems found: 1."), "{}", said.stdout);
}

#[test]
fn a_backup_of_sqlite_is_made_beside_a_running_server_and_replaces_nothing() {
    let home = Home::new();
    let _server = home.serve_dev();
    home.log_in("demo_user");
    let backup = home.json("backup copy.db");
    assert_eq!(backup["bytes"], std::fs::metadata(home.path("copy.db")).expect("a file").len());
    assert_eq!(mode(home.path("copy.db")), 0o600);
    assert_eq!(home.run("session verify").code, Some(0));
    let copied = [("LANYARD__DATABASE__URL", "sqlite://copy.db")];
    let events = home.run_with("audit verify --json", &copied, "").json();
    assert!(events["events"].as_u64() > Some(0) && events["problems"] == Value::Array(vec![]), "{events}");

    let again = home.run("backup copy.db");
    assert!(again.code == Some(1) && again.stderr.contains("is there already"), "{}", again.stderr);
    let postgres = [("LANYARD__DATABASE__URL", "postgres://lanyard@127.0.0.1:1/lanyard")];
    let other = home.run_with("backup other.db", &postgres, "");
    assert!(other.code == Some(1) && other.stderr.contains("pg_dump"), "{}", other.stderr);
    let nowhere = home.run("backup no/such/folder/copy.db");
    assert!(matches!(nowhere.code, Some(1 | 6)) && !home.path("no").exists(), "{}", nowhere.stderr);
}

#[test]
fn a_token_key_that_is_needed_does_not_drop_out_unless_it_is_forced() {
    let home = Home::new();
    let mut server = home.serve_dev();
    home.log_in("demo_user");
    assert_eq!(home.json("keys rotate --purpose token")["key_id"], 2);
    let refused = home.run("keys rotate --purpose token");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("live sessions: 1, caller keys: 1"), "{}", refused.stderr);
    assert_eq!(home.json("keys list")["keys"].as_array().expect("a list").len(), 4);
    server.terminate();
    assert!(server.wait().success());

    let mut server = home.serve_dev();
    assert_eq!(home.run("health").code, Some(0));
    let ust = std::fs::read_to_string(home.path("lanyard-data/session.json")).expect("saved");
    let ust: Value = serde_json::from_str(&ust).expect("JSON");
    let ust = ust["ust"].as_str().expect("a token");
    let old_token = |home: &Home| home.run_with("session verify", &[("LANYARD_UST", ust)], "").code;
    assert_eq!(old_token(&home), Some(0), "the key before the current one still counts");
    assert_eq!(home.json("keys rotate --purpose token --force")["key_id"], 3);
    server.terminate();
    assert!(server.wait().success());
    let _server = home.serve_dev();
    assert_eq!(old_token(&home), Some(3), "the caller's key went with it");
}

#[test]
fn help_names_every_command_and_every_exit_code() {
    let home = Home::new();
    let help = home.run("--help").stdout;
    for word in ["serve", "migrate", "session", "audit", "completions", "Exit codes:", "  78  ", "Examples:"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    let completions = home.run("completions bash").stdout;
    assert!(completions.contains("_lanyard"), "{completions}");
}

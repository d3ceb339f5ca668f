//! `lanyard doctor`: each thing that can be wrong with an installation is told, with what to do about it, and without a secret.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use lanyard_client::secrecy::ExposeSecret;
use lanyard_server::config::{self, DatabaseUrl};
use lanyard_server::crypto::{KeyPurpose, Keyring};
use lanyard_tests::both_databases;
use lanyard_tests::support::certificates::{Authority, Identity};
use lanyard_tests::support::installation::Installation;
use lanyard_tests::support::refusing_address;
use lanyard_tests::support::server::{Database, START, run};
use lanyard_tests::support::store::Raw;
use serde_json::Value;

both_databases!(
    a_healthy_installation_has_no_problem_and_nothing_is_written,
    a_schema_that_lacks_migrations_or_is_of_a_later_version_is_told,
    keys_that_the_database_needs_and_the_key_file_lacks_are_named,
    an_audit_trail_whose_end_was_changed_or_cut_off_is_told,
    a_database_that_is_not_there_is_told_and_not_made,
);

/// What it said.
struct Told {
    code: Option<i32>,
    findings: Vec<Value>,
}

/// Runs it for programs and for people, which must agree, and looks for secrets in all of it.
fn doctor(installation: &Installation) -> Told {
    doctor_with(installation, &[])
}

fn doctor_with(installation: &Installation, environment: &[(&str, &str)]) -> Told {
    let run = |words: &[&str]| -> Output {
        let mut command = installation.command(&[&["doctor"], words].concat());
        command.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT").envs(environment.iter().copied());
        command.output().expect("it runs")
    };
    let (json, text) = (run(&["--json"]), run(&[]));
    assert_eq!(json.status.code(), text.status.code());
    let (json_text, text) = (String::from_utf8_lossy(&json.stdout), String::from_utf8_lossy(&text.stdout));
    let told: Value = serde_json::from_str(&json_text).unwrap_or_else(|e| panic!("{e}: {json_text}"));
    let findings = told["findings"].as_array().expect("a list").clone();
    assert_eq!(told["healthy"], json.status.code() == Some(0));
    for finding in &findings {
        let check = finding["check"].as_str().expect("a name");
        assert!(text.contains(check), "{check}: {text}");
        let has_advice = !finding["what_to_do"].is_null();
        assert_eq!(has_advice, ["warning", "problem"].contains(&status(finding)), "{finding}");
    }
    for secret in secrets(installation) {
        assert!(!json_text.contains(&secret) && !text.contains(&secret), "a secret is told: {text}");
    }
    Told { code: json.status.code(), findings }
}

fn status(finding: &Value) -> &str {
    finding["status"].as_str().expect("a status")
}

/// The password of the database, the key of the caller and the keys of the file.
fn secrets(installation: &Installation) -> Vec<String> {
    let prepared = &installation.prepared;
    let mut secrets = vec![prepared.key.expose_secret().to_owned()];
    let userinfo = prepared.config.database.url.expose().split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    secrets.extend(userinfo.and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password.to_owned()));
    let file = std::fs::read_to_string(&prepared.config.keys.file).unwrap_or_default();
    let file: Value = serde_json::from_str(&file).unwrap_or_default();
    let keys = ["token", "seal", "audit"].into_iter().filter_map(|purpose| file[purpose].as_array()).flatten();
    secrets.extend(keys.filter_map(|key| key["secret"].as_str()).map(str::to_owned));
    secrets
}

impl Told {
    /// What was found of one check: status, text and advice of each finding.
    fn of(&self, check: &str) -> Vec<String> {
        let found = self.findings.iter().filter(|finding| finding["check"] == check);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        found.map(|it| format!("{}: {} -> {}", status(it), text(&it["found"]), text(&it["what_to_do"]))).collect()
    }

    /// A finding of the check begins so and has all these words.
    #[track_caller]
    fn has(&self, check: &str, status: &str, words: &[&str]) {
        let found = self.of(check);
        let fits = |finding: &String| finding.starts_with(status) && words.iter().all(|word| finding.contains(word));
        assert!(found.iter().any(fits), "{check}, {status}, {words:?}: {found:#?}");
        let expected = if self.problems() { Some(11) } else { Some(0) };
        assert_eq!(self.code, expected);
    }

    fn problems(&self) -> bool {
        self.findings.iter().any(|finding| ["problem", "not_checked"].contains(&status(finding)))
    }
}

async fn a_healthy_installation_has_no_problem_and_nothing_is_written(database: Database) {
    let installation = Installation::prepare(database, |_| {}).await;
    let raw = Raw::beside(&installation.prepared.config).await;
    let events = raw.count("audit_event").await;
    let file = installation.prepared.folder().join("lanyard.db");
    if database == Database::Sqlite {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("they can be set");
        doctor(&installation).has("disk", "warning", &["lanyard.db", "mode 644", "chmod 600"]);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("they can be set");
    }
    let told = doctor(&installation);
    assert!(told.of("disk").iter().all(|finding| finding.starts_with("ok")), "{:#?}", told.findings);
    assert_eq!(told.code, Some(0), "{:#?}", told.findings);
    let name = if installation.prepared.is_postgres() { "PostgreSQL 1" } else { "SQLite 3" };
    told.has("database", "ok", &[name]);
    told.has("schema", "ok", &["this version"]);
    told.has("audit trail", "ok", &[&format!("its last {events} events")]);
    for check in ["configuration", "key file", "tls", "disk", "platforms", "telemetry", "clock", "privileges"] {
        told.has(check, "ok", &[]);
    }
    assert_eq!(raw.count("audit_event").await, events);
    // Beside a server that runs.
    let _running = installation.start();
    assert_eq!(doctor(&installation).code, Some(0));
}

async fn a_schema_that_lacks_migrations_or_is_of_a_later_version_is_told(database: Database) {
    let installation = Installation::prepare(database, |_| {}).await;
    let raw = Raw::beside(&installation.prepared.config).await;
    raw.execute("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 0)").await;
    let told = doctor(&installation);
    told.has("schema", "warning", &["m9999_later", "finish the upgrade"]);
    assert_eq!(told.code, Some(0));
    // The older program goes on, and can be started again: otherwise a rolling upgrade could not be taken back.
    drop(installation.start());

    let last = raw.column::<String>("SELECT version FROM seaql_migrations WHERE version < 'm9' ORDER BY 1").await;
    let last = last.last().expect("there are migrations").clone();
    raw.execute(&format!("DELETE FROM seaql_migrations WHERE version IN ('m9999_later', '{last}')")).await;
    let told = doctor(&installation);
    told.has("schema", "problem", &[&last, "lanyard migrate"]);
    told.has("audit trail", "not_checked", &["the schema"]);
}

async fn keys_that_the_database_needs_and_the_key_file_lacks_are_named(database: Database) {
    let mut installation = Installation::prepare(database, |_| {}).await;
    let server = &mut installation.prepared;
    server.resume().await;
    let sealed = lanyard_client::v1::AttributeToSet {
        name: "note".into(),
        value: "x".into(),
        seal: true,
        ..lanyard_client::v1::AttributeToSet::default()
    };
    server.as_alice().await.set_attributes(None, vec![sealed]).await.expect("it is set");
    server.stop().await;

    let file = installation.prepared.config.keys.file.clone();
    let mut keyring = Keyring::load(&file).expect("the keys");
    for purpose in [KeyPurpose::Token, KeyPurpose::Token, KeyPurpose::Seal, KeyPurpose::Audit] {
        keyring.rotate(purpose, START);
    }
    keyring.save(&file).expect("written");
    let mut keys: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("the keys")).expect("JSON");
    for purpose in ["seal", "audit"] {
        keys[purpose].as_array_mut().expect("a list").truncate(1);
    }
    std::fs::write(&file, keys.to_string()).expect("written");

    let told = doctor(&installation);
    told.has("keys in use", "problem", &["token key 1 ", "caller keys: 1", "key file"]);
    told.has("keys in use", "problem", &["seal key 1 "]);
    told.has("keys in use", "problem", &["audit key 1 "]);
    told.has("audit trail", "problem", &["audit key 1 is not in the key file"]);

    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("they can be set");
    doctor(&installation).has("key file", "problem", &["mode 640", "chmod 600"]);
    std::fs::remove_file(&file).expect("it is there");
    let told = doctor(&installation);
    told.has("key file", "problem", &["backup"]);
    told.has("keys in use", "not_checked", &["the key file"]);
    told.has("schema", "ok", &[]);
}

async fn an_audit_trail_whose_end_was_changed_or_cut_off_is_told(database: Database) {
    let installation = Installation::prepare(database, |_| {}).await;
    let raw = Raw::beside(&installation.prepared.config).await;
    let last = "chain_number = (SELECT max(chain_number) FROM audit_event) AND sequence = \
                (SELECT max(sequence) FROM audit_event e WHERE e.chain_number = audit_event.chain_number)";
    raw.execute(&format!("UPDATE audit_event SET operation = 'forged' WHERE {last}")).await;
    doctor(&installation).has("audit trail", "problem", &["(forged): changed or moved", "lanyard audit verify"]);
    raw.execute(&format!("DELETE FROM audit_event WHERE {last}")).await;
    doctor(&installation).has("audit trail", "problem", &["its end cut off"]);
}

async fn a_database_that_is_not_there_is_told_and_not_made(database: Database) {
    let mut installation = Installation::prepare(database, |_| {}).await;
    let config = &mut installation.prepared.config;
    let file = Path::new("/nowhere/lanyard.db");
    config.database.acquire_timeout = Duration::from_millis(500);
    let word = if database == Database::Sqlite {
        config.database.url = DatabaseUrl::new(format!("sqlite://{}", file.display()));
        "/nowhere/lanyard.db is not there"
    } else {
        let (start, end) = config.database.url.expose().rsplit_once(':').expect("a port");
        let name = end.split_once('/').expect("a name").1;
        config.database.url = DatabaseUrl::new(format!("{start}:1/{name}"));
        "the database is unavailable"
    };
    installation.write_config();
    let told = doctor(&installation);
    told.has("database", "problem", &[word]);
    for check in ["schema", "privileges", "clock", "keys in use", "audit trail"] {
        told.has(check, "not_checked", &[]);
    }
    told.has("key file", "ok", &[]);
    assert!(!file.exists());
}

#[test]
fn an_account_that_may_not_do_what_a_server_does_is_told_what_it_lacks() {
    run(async {
        let mut installation = Installation::prepare(Database::Postgres, |_| {}).await;
        let raw = Raw::beside(&installation.prepared.config).await;
        let role = format!("reader_{}", std::process::id());
        raw.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'r'")).await;
        raw.execute(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")).await;
        let url = installation.prepared.config.database.url.expose().to_owned();
        let place = url.split_once('@').expect("an account").1;
        installation.prepared.config.database.url = DatabaseUrl::new(format!("postgres://{role}:r@{place}"));
        let told = doctor_of_reader(&installation);
        raw.execute(&format!("DROP OWNED BY {role}")).await;
        raw.execute(&format!("DROP ROLE {role}")).await;
        told.has(
            "privileges",
            "problem",
            &["INSERT on session,", "DELETE on session,", "INSERT on audit_event", "grant"],
        );
        assert!(!told.of("privileges")[0].contains("DELETE on audit_event"), "a server only adds there");
    });
}

/// Its password is one letter, which every text has.
fn doctor_of_reader(installation: &Installation) -> Told {
    let output = installation.command(&["doctor", "--json"]).output().expect("it runs");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    Told { code: output.status.code(), findings: told["findings"].as_array().expect("a list").clone() }
}

#[test]
fn a_clock_that_is_not_that_of_the_database_is_told() {
    run(async {
        let installation = Installation::prepare(Database::Postgres, |_| {}).await;
        let raw = Raw::beside(&installation.prepared.config).await;
        let name: Vec<String> = raw.column("SELECT CAST(current_database() AS text)").await;
        for statement in [
            "CREATE SCHEMA wrong",
            "CREATE FUNCTION wrong.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
             'SELECT pg_catalog.clock_timestamp() + interval ''1 hour'''",
            &format!("ALTER DATABASE {} SET search_path = public, wrong, pg_catalog", name[0]),
        ] {
            raw.execute(statement).await;
        }
        doctor(&installation).has("clock", "problem", &["3600.", "behind the database's", "NTP"]);
    });
}

#[test]
fn certificates_that_have_expired_or_do_not_fit_are_told() {
    run(async {
        let mut installation = Installation::prepare(Database::Sqlite, |_| {}).await;
        let (servers, clients) = (Authority::new(), Authority::new());
        let mut with = |identity: &Identity, key: &str| {
            let folder = installation.prepared.folder().to_owned();
            let file = |name: &str, content: &str| {
                std::fs::write(folder.join(name), content).expect("written");
                Some(folder.join(name))
            };
            installation.prepared.config.server.tls = config::Tls {
                cert: file("tls.crt", &identity.certificate),
                key: file("tls.key", key),
                client_ca: file("clients.crt", &clients.certificate()),
            };
            installation.write_config();
            doctor(&installation)
        };
        let good = servers.server();
        let told = with(&good, &good.key);
        told.has("tls", "ok", &["tls.crt", "expires in"]);
        told.has("tls", "ok", &["clients.crt", "Lanyard test authority"]);
        with(&good, &servers.server().key).has("tls", "problem", &["put the certificate"]);
        with(&good, "no key").has("tls", "problem", &["tls.key"]);
        let old = servers.server_until(1_767_225_600);
        with(&old, &old.key).has("tls", "problem", &["tls.crt", "expired at 2026-01-01T00:00:00", "renew it"]);
    });
}

#[test]
fn a_platform_and_a_telemetry_backend_that_do_not_answer_are_told() {
    run(async {
        let mut installation = Installation::prepare(Database::Sqlite, |_| {}).await;
        let platform = config::Platform::at(&format!("http://{}", refusing_address()));
        installation.prepared.config.platforms.insert("ipam".to_owned(), platform);
        installation.write_config();
        let collector = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", collector.local_addr().expect("an address"));
        doctor(&installation).has("telemetry", "ok", &["none is sent"]);
        let told = doctor_with(&installation, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]);
        told.has("platforms", "problem", &["ipam", "cannot be reached"]);
        told.has("telemetry", "ok", &["traces", "takes connections"]);
        drop(collector);
        let told = doctor_with(&installation, &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &url)]);
        told.has("telemetry", "warning", &["traces", "calls do not suffer"]);
    });
}

#[test]
fn a_configuration_that_cannot_be_read_leaves_nothing_to_be_checked() {
    run(async {
        let installation = Installation::prepare(Database::Sqlite, |_| {}).await;
        std::fs::write(installation.config_file(), "[session]\nidel = '5m'\n").expect("written");
        let told = doctor(&installation);
        told.has("configuration", "problem", &["idel", "lanyard config default"]);
        told.has("database", "not_checked", &["the configuration"]);
        told.has("key file", "not_checked", &["the configuration"]);
    });
}

//! Secrets are seen nowhere: not in logs at the highest level, not in refusals, figures, the audit trail, what the command
//! line prints, the database, nor in `Debug`.

#[path = "secrecy/accounts.rs"]
mod accounts;
#[path = "secrecy/debug.rs"]
mod debug;
#[path = "secrecy/platforms.rs"]
mod platforms;
#[path = "secrecy/tour.rs"]
mod tour;

use std::process::Command;

use lanyard_client::secrecy::ExposeSecret;
use lanyard_server::config::{Config, DatabaseUrl};
use lanyard_server::crypto::{Keyring, TokenKind, TokenRef};
use lanyard_server::model::audit::AuditFilter;
use lanyard_server::pipeline::METHODS;
use lanyard_tests::support::installation::Installation;
use lanyard_tests::support::micetro::FakeMicetro;
use lanyard_tests::support::postgres::{self, PrivateCluster};
use lanyard_tests::support::secrets::Secrets;
use lanyard_tests::support::server::{Database, run};

use tour::Tour;

/// Everything that any part of the program could say.
const LOUD: &str = "trace,sea_orm=trace,sqlx=trace";

fn loud(config: &mut Config) {
    LOUD.clone_into(&mut config.log.level);
    config.throttle.free_failures = 50;
    config.audit.reads = lanyard_server::config::AuditReads::All;
}

#[test]
fn nothing_that_is_secret_is_seen_on_sqlite() {
    run(async {
        let micetro = FakeMicetro::start();
        let prepare = Installation::prepare(Database::Sqlite, |config| {
            loud(config);
            platforms::configure(config, &micetro);
        });
        let seen = see_all(prepare.await, &micetro, None).await;
        let file = ["lanyard.db", "lanyard.db-wal"].map(|name| std::fs::read(seen.folder.join(name)));
        let stored: Vec<u8> = file.into_iter().filter_map(Result::ok).flatten().collect();
        assert!(stored.len() > 100_000, "that is not the database");
        seen.secrets.are_not_in("the file of the database", stored);
    });
}

#[test]
fn nothing_that_is_secret_is_seen_on_postgres_with_an_outage() {
    run(async {
        let cluster = tokio::task::spawn_blocking(PrivateCluster::start).await.expect("PostgreSQL starts");
        let (database, micetro) = (cluster.database(), FakeMicetro::start());
        let installation = Installation::prepare(Database::Sqlite, |config| {
            loud(config);
            platforms::configure(config, &micetro);
            config.database.url = DatabaseUrl::new(database.url());
            config.database.acquire_timeout = std::time::Duration::from_millis(300);
        })
        .await;
        let seen = see_all(installation, &micetro, Some(&cluster)).await;
        seen.secrets.are_not_in("the tables", tables(&database));
    });
}

/// What was kept secret, and where the data are.
struct Seen {
    secrets: Secrets,
    folder: std::path::PathBuf,
    _installation: Installation,
}

/// A tour of everything with a server that says all it can, and a look at what was said.
async fn see_all(mut installation: Installation, micetro: &FakeMicetro, cluster: Option<&PrivateCluster>) -> Seen {
    let program = installation.start();
    let mut tour = Tour::new(&installation, &program).await;
    tour.of_everything(micetro).await;
    let printed = command_line(&installation, &program, &tour);
    if let Some(cluster) = cluster {
        cluster.stop();
        tour.of_everything_that_fails().await;
        cluster.resume();
    }
    let figures = program.metrics().await;
    for method in METHODS {
        assert!(figures.contains(method.name()), "{} was not on the tour", method.name());
    }
    program.process.terminate();
    let (_, log) = program.ended().await;
    assert!(log.contains("\"level\":\"TRACE\"") && log.len() > 1_000_000, "the log is not loud");

    installation.prepared.resume().await;
    let Tour { mut secrets, at_rest, said, tokens, .. } = tour;
    add_keys(&mut secrets, &installation);
    let mut also_hashes = Secrets::default();
    add_hashes(&mut also_hashes, &installation, &tokens).await;
    let filter = AuditFilter::default();
    let events = installation.prepared.within(|app| async move {
        app.flush_audit(std::time::Duration::from_secs(10)).await;
        app.store().audit_events(&filter, None, 10_000).await
    });
    let trail = format!("{:?}", events.await.expect("the trail can be read"));
    assert!(trail.contains("session.create") && trail.contains("wrong_password"));
    assert!(secrets.len() > 20, "{}", secrets.len());
    for secrets in [&secrets, &at_rest, &also_hashes] {
        secrets.are_not_in("the log", &log);
        secrets.are_not_in("answers", &said);
        secrets.are_not_in("the figures", &figures);
        secrets.are_not_in("the audit trail", &trail);
        secrets.are_not_in("what the command line prints", &printed);
    }
    let folder = installation.prepared.folder().to_path_buf();
    installation.prepared.stop().await;
    Seen { secrets, folder, _installation: installation }
}

/// What commands print that are not asked for a secret, with their errors.
fn command_line(
    installation: &Installation,
    program: &lanyard_tests::support::installation::Program,
    tour: &Tour,
) -> Vec<u8> {
    let mut printed = Vec::new();
    let mut run = |mut command: Command| {
        let output = command.output().expect("it runs");
        printed.extend(output.stdout);
        printed.extend(output.stderr);
    };
    for words in [&["config", "show"][..], &["config", "check"], &["caller", "list"], &["audit", "verify"]] {
        run(installation.command(words));
    }
    for words in [
        &["session", "verify"][..],
        &["session", "get"],
        &["session", "list", "--all-users"],
        &["user", "list"],
        &["user", "get", "alice"],
        &["user", "current"],
        &["definition", "list"],
        &["definition", "show", "the issuer"],
        &["definition", "create", "another", "--basic-auth", "machine"],
        &["definition", "rotate", "the machine", "--etag", "0"],
        &["audit", "list"],
        &["session", "revoke", "ses_nonsense"],
        &["session", "login", "--username", "alice"],
        &["user", "create", "alice"],
    ] {
        for json in [false, true] {
            let mut command = Command::new(lanyard_tests::support::process::lanyard());
            command.args(words).args(json.then_some("--json"));
            command.arg("--endpoint").arg(format!("http://{}", program.addr));
            command.env("LANYARD_CALLER_KEY", installation.prepared.key.expose_secret());
            command.env("LANYARD_UST", &tour.root_ust);
            command.env("LANYARD_PASSWORD", tour::WRONG_PASSWORD).env("LANYARD_NEW_PASSWORD", tour::WRONG_PASSWORD);
            command.env("LANYARD_SECRET", tour::WRONG_PASSWORD);
            run(command);
        }
    }
    let printed_text = String::from_utf8_lossy(&printed);
    assert!(printed_text.contains("alice") && printed_text.contains("ses_"), "{printed_text}");
    printed
}

/// The keys of the key file, and the password of the database.
fn add_keys(secrets: &mut Secrets, installation: &Installation) {
    use base64::Engine;

    let config = &installation.prepared.config;
    let file = std::fs::read_to_string(&config.keys.file).expect("the key file is there");
    let file: serde_json::Value = serde_json::from_str(&file).expect("JSON");
    for (purpose, keys) in file.as_object().expect("lists of keys") {
        for key in keys.as_array().expect("a list of keys") {
            let text = key["secret"].as_str().expect("a secret");
            let key = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
            secrets.add(&format!("a key for {purpose}"), key);
        }
    }
    let url = config.database.url.expose();
    if let Some((credentials, _)) = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')) {
        let (_, password) = credentials.split_once(':').expect("a password");
        secrets.add("the password of the database", password);
    }
}

/// The stored forms of secrets: nobody can log in with them, but they may be tried at leisure.
async fn add_hashes(hashes: &mut Secrets, installation: &Installation, tokens: &[(TokenKind, String)]) {
    let keyring = Keyring::load(&installation.prepared.config.keys.file).expect("the key file is there");
    for (kind, token) in tokens {
        let token = TokenRef::parse(*kind, token).expect("a token of ours");
        for hash in keyring.token_hashes(token) {
            hashes.add("the hash of a token", hash.0);
        }
    }
    let mut stored = 0;
    for name in ["alice", "root", "carol"] {
        let row = installation.prepared.within(move |app| async move { app.store().user_by_name(name).await }).await;
        let Some(row) = row.expect("the database is there") else { continue };
        let phc = row.password_hash.expect("a password");
        for part in phc.rsplit('$').take(2) {
            hashes.add("salt or hash of a password", part);
        }
        if let Some(sealed) = row.totp_secret {
            hashes.add("a sealed TOTP secret", sealed);
        }
        stored += 1;
    }
    assert!(stored >= 2 && tokens.len() > 5, "the tour left nothing behind");
}

fn tables(database: &postgres::Database) -> String {
    let names = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
    let rows = names.lines().map(|name| database.execute(&format!("SELECT row_to_json(t) FROM \"{name}\" t")));
    let rows: Vec<String> = rows.collect();
    let rows = rows.join("\n");
    assert!(rows.contains("session.create") && rows.contains("$argon2id$"), "that is not the database");
    rows
}

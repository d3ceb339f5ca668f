//! An import that is tried, run again, run late, and run while others write.

use lanyard_client::secrecy::{ExposeSecret, SecretString};
use lanyard_client::v1::definition::Kind;
use lanyard_client::v1::{
    BasicAuthDefinition, CreateDefinitionRequest, Definition, DefinitionSecret, RotateDefinitionSecretRequest,
};
use lanyard_server::app::caller::operator;
use lanyard_server::app::import::{ImportOptions, ImportPlan, Line, RowKind, RowOutcome};
use lanyard_server::config::DatabaseUrl;
use lanyard_server::store::read_zato;
use lanyard_tests::both_databases;
use lanyard_tests::support::server::{Database, TestServer};
use lanyard_tests::support::store::Raw;
use serde_json::{Value, json};

use super::zato::{PASSWORD, Person, Zato};
use super::{JWT, imported, prepare, tables};

both_databases!(
    a_dry_run_says_what_a_run_does_and_writes_nothing,
    a_second_run_finds_everything_there_and_a_later_one_takes_what_is_new,
    a_number_that_was_given_before_is_not_given_again,
    what_others_wrote_since_the_plan_was_made_stays_as_it_is,
    users_see_what_was_imported_for_them,
    an_imported_definition_logs_its_user_in_when_it_has_a_new_secret,
);

/// What an import could change, counted.
async fn counts(raw: &Raw) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in ["\"user\"", "definition", "linked_auth", "audit_event", "audit_chain", "change"] {
        counts.push(raw.count(table).await);
    }
    counts
}

async fn a_dry_run_says_what_a_run_does_and_writes_nothing(database: Database) {
    let (installation, zato) = (prepare(database).await, Zato::full(database).await);
    let raw = tables(&installation).await;
    let before = counts(&raw).await;
    let source = std::fs::read(zato.file()).ok();
    assert_eq!(source.is_some(), database == Database::Sqlite);
    let dry = imported(&installation, &zato, &["--dry-run"]).await;
    assert_eq!(counts(&raw).await, before);
    let real = imported(&installation, &zato, &[]).await;
    assert_ne!(counts(&raw).await, before);
    assert_eq!(std::fs::read(zato.file()).ok(), source, "what is imported from is only read");
    assert_eq!(dry.code, real.code);
    let (dry, dry_totals) = dry.report();
    let (real, real_totals) = real.report();
    assert_eq!(dry.len(), real.len());
    for (dry, mut real) in dry.into_iter().zip(real) {
        if dry["id"].is_null() {
            // Users and links get theirs when they are written; numbers of definitions are known before.
            assert_ne!((real["row"] == "definition", &real["outcome"]), (true, &json!("changed")), "{real}");
            real["id"] = Value::Null;
        }
        assert_eq!(dry, real);
    }
    assert_eq!((&dry_totals["totals"], &dry_totals["dry_run"]), (&real_totals["totals"], &json!(true)));
}

async fn a_second_run_finds_everything_there_and_a_later_one_takes_what_is_new(database: Database) {
    let (installation, zato) = (prepare(database).await, Zato::full(database).await);
    let first = imported(&installation, &zato, &[]).await.report().0;
    let raw = tables(&installation).await;
    let before = counts(&raw).await;
    let second = imported(&installation, &zato, &[]).await.report().0;
    assert_eq!(counts(&raw).await, before, "nothing is doubled");
    for (first, second) in first.iter().zip(&second) {
        if first["outcome"] == "refused" {
            assert_eq!(first, second);
            continue;
        }
        assert_eq!(second["outcome"], "already_there", "{second}");
        assert!(first["id"].is_null() || first["id"] == second["id"], "{first} {second}");
    }
    zato.user(Person::new(20, "newcomer")).await;
    zato.definition(20, "basic_auth", "new", "new.user", true).await;
    zato.link(20, 20, "zato.basic_auth", 20, 2023).await;
    let third = imported(&installation, &zato, &[]).await;
    assert_eq!((third.outcome("user", "zusr20"), third.outcome("link", "20")), ("took".into(), "took".into()));
    assert_eq!(third.row("definition", "20")["id"], "20");
    assert_eq!(third.outcome("user", "zusr1"), "already_there");
}

async fn a_number_that_was_given_before_is_not_given_again(database: Database) {
    let (installation, zato) = (prepare(database).await, Zato::full(database).await);
    imported(&installation, &zato, &["--linked-only"]).await;
    let raw = tables(&installation).await;
    assert_eq!(raw.number("SELECT max(auth_id) FROM definition").await, 11, "nobody is linked to the last one");
    raw.execute("DELETE FROM definition WHERE auth_id = 11").await;
    let said = imported(&installation, &zato, &JWT).await;
    for (source, number) in [("3", "13"), ("11", "14"), ("12", "12")] {
        let line = said.row("definition", source);
        assert_eq!(line["id"], number, "{line}");
        let is_moved = line["remarks"].to_string().contains("its number was given here before: it is");
        assert_eq!(is_moved, source != number, "{line}");
    }
    assert_eq!(raw.number("SELECT auth_id FROM linked_auth ORDER BY auth_id DESC LIMIT 1").await, 14);
}

/// An import beside a server that has its users already.
async fn plan(server: &TestServer, zato: &Zato) -> ImportPlan {
    let tables = read_zato(&DatabaseUrl::new(&zato.url), None).await.expect("a database of Zato");
    let plan = server.within(|app| async move { app.plan_import(tables, &ImportOptions::default()).await }).await;
    plan.expect("a plan")
}

async fn carry_out(server: &TestServer, plan: ImportPlan) -> Vec<Line> {
    let context = operator(&server.config, server.clock.now());
    let done = server.within(|app| async move {
        let mut lines = Vec::new();
        app.import(&context, plan, |line| lines.push(line)).await.map(|()| lines)
    });
    done.await.expect("no fault")
}

async fn what_others_wrote_since_the_plan_was_made_stays_as_it_is(database: Database) {
    let (server, zato) = (TestServer::start(database).await, Zato::full(database).await);
    let plan = plan(&server, &zato).await;
    let ann = server.add_user("ann", false).await;
    let raw = Raw::beside(&server.config).await;
    let bytes = if database == Database::Postgres { "bytea" } else { "blob" };
    let taken = format!(
        "INSERT INTO definition (auth_id, auth_type, name, username, issuer, audience, algorithms, clock_skew_micros,
            source, material, is_active, is_internal, created_at, updated_at, version)
         VALUES (8, 2, 'anothers', 'anothers.user', '', '', '', 0, 1, CAST('x' AS {bytes}), TRUE, FALSE, 0, 0, 1)"
    );
    raw.execute(&taken).await;
    let lines = carry_out(&server, plan).await;
    let refused = |kind: RowKind, source: &str| {
        let line = lines.iter().find(|line| line.kind == kind && line.source == source).expect("a line for each row");
        assert_eq!((line.outcome, line.id.as_deref()), (RowOutcome::Refused, None), "{line:?}");
        line.remarks.join("; ")
    };
    assert_eq!(refused(RowKind::User, "zusr1"), "the username is taken");
    assert_eq!(refused(RowKind::Link, "3"), "no such user");
    assert_eq!(refused(RowKind::Definition, "8"), "its auth_id is taken by another definition");
    assert!(server.as_root().await.get_linked_auth_list(Some(&ann.user_id)).await.expect("a list").is_empty());
}

async fn users_see_what_was_imported_for_them(database: Database) {
    let (server, zato) = (TestServer::start(database).await, Zato::full(database).await);
    let alice = server.as_alice().await;
    assert!(alice.get_linked_auth_list(None).await.expect("a list").is_empty(), "it may be kept in memory");
    let plan = plan(&server, &zato).await;
    carry_out(&server, plan).await;
    let links = alice.get_linked_auth_list(None).await.expect("a list");
    assert_eq!(links.len(), 1, "{links:?}");
    let link = &links[0];
    assert_eq!((link.auth_type.as_str(), link.auth_username.as_str(), link.auth_id), ("basic_auth", "shop.user", 11));
    assert_eq!(link.creation_time.map(|time| time.seconds), Some(1_651_820_889));
    assert!(link.is_active && !link.is_internal && link.last_used_time.is_none());
}

async fn an_imported_definition_logs_its_user_in_when_it_has_a_new_secret(database: Database) {
    let (server, zato) = (TestServer::start(database).await, Zato::full(database).await);
    let plan = plan(&server, &zato).await;
    carry_out(&server, plan).await;
    let secret: SecretString = "a secret of its own".into();
    for guess in ["", "shop.user", PASSWORD] {
        let refused = server.client().log_in_basic_auth("shop.user", &guess.into()).await;
        assert!(refused.is_err(), "nobody knows the secret that it came with");
    }
    let root = server.as_root().await;
    let new = DefinitionSecret { secret: secret.expose_secret().to_owned(), ..DefinitionSecret::default() };
    let rotation = RotateDefinitionSecretRequest { auth_id: 11, secret: Some(new), ..Default::default() };
    root.call(rotation).await.expect("it is rotated");
    let login = server.client().log_in_basic_auth("shop.user", &secret).await.expect("the login succeeds");
    assert_eq!(login.session.user_id, server.alice.user_id);

    let made = CreateDefinitionRequest {
        definition: Some(Definition {
            name: "next".to_owned(),
            is_active: true,
            kind: Some(Kind::BasicAuth(BasicAuthDefinition { username: "next.user".to_owned() })),
            ..Definition::default()
        }),
        secret: Some(DefinitionSecret { secret: "another secret".to_owned(), ..DefinitionSecret::default() }),
        ..Default::default()
    };
    let made = root.call(made).await.expect("it is made").definition.expect("a definition");
    assert_eq!(made.auth_id, 13, "numbers go on behind those that were imported");
}

//! `lanyard import zato`: what becomes of the rows of a Zato database, in a process of its own.

mod again;
mod zato;

use std::process::Output;

use lanyard_tests::both_databases;
use lanyard_tests::support::installation::Installation;
use lanyard_tests::support::server::Database;
use lanyard_tests::support::store::Raw;
use serde_json::{Value, json};
use zato::{Person, Zato};

both_databases!(
    each_row_is_taken_changed_or_refused_and_the_report_says_why,
    what_was_taken_is_as_it_was,
    super_users_stay_only_when_told_to,
    jwt_definitions_come_along_when_somebody_issues_their_tokens,
    definitions_can_be_in_another_database,
    an_old_zato_without_links_is_read_as_far_as_it_goes,
    five_thousand_users_come_in_one_run,
    what_is_no_zato_database_is_refused,
);

/// What a run said and how it ended.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    /// The report, one object a line, and what it adds up to.
    fn report(&self) -> (Vec<Value>, Value) {
        let lines = self.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object on each line"));
        let mut lines: Vec<Value> = lines.collect();
        let totals = lines.pop().unwrap_or_else(|| panic!("nothing was said: {}", self.stderr));
        assert!(totals["totals"].is_object(), "{totals}");
        (lines, totals)
    }

    /// What became of a row.
    fn row(&self, row: &str, source: &str) -> Value {
        let mut found = self.report().0.into_iter().filter(|line| line["row"] == row && line["source"] == source);
        let line = found.next().unwrap_or_else(|| panic!("{row} {source} is missing: {}", self.stdout));
        assert!(found.next().is_none(), "{row} {source} has two lines");
        line
    }

    fn outcome(&self, row: &str, source: &str) -> String {
        self.row(row, source)["outcome"].as_str().expect("an outcome").to_owned()
    }
}

async fn run(installation: &Installation, zato: &Zato, options: &[&str]) -> Said {
    run_from(installation, &zato.url, options).await
}

async fn run_from(installation: &Installation, url: &str, options: &[&str]) -> Said {
    let mut command = installation.command(&["import", "zato", "--from", url]);
    command.args(options);
    let running = tokio::task::spawn_blocking(move || command.output());
    let Output { status, stdout, stderr } = running.await.expect("no panic").expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let said = Said { code: status.code(), stdout: text(stdout), stderr: text(stderr) };
    for place in [&said.stdout, &said.stderr] {
        assert!(!place.contains("gAAAA"), "nothing that Zato encrypted is shown: {place}");
    }
    said
}

async fn imported(installation: &Installation, zato: &Zato, options: &[&str]) -> Said {
    let said = run(installation, zato, &[&["--json"], options].concat()).await;
    assert!(matches!(said.code, Some(0 | 10)), "{:?}: {}", said.code, said.stderr);
    said
}

async fn prepare(database: Database) -> Installation {
    Installation::prepare(database, |_| {}).await
}

async fn tables(installation: &Installation) -> Raw {
    Raw::beside(&installation.prepared.config).await
}

async fn texts(raw: &Raw, sql: &str) -> Vec<String> {
    raw.column(sql).await
}

async fn each_row_is_taken_changed_or_refused_and_the_report_says_why(database: Database) {
    let (installation, zato) = (prepare(database).await, Zato::full(database).await);
    let said = imported(&installation, &zato, &[]).await;
    assert_eq!(said.code, Some(10), "some are refused: {}", said.stderr);
    for (row, source, outcome, remark) in [
        ("user", "zusr1", "took", ""),
        ("user", "zusr2", "took", ""),
        ("user", "zusr3", "changed", "was a super-user, is a regular user"),
        ("user", "zusr4", "changed", "email is encrypted"),
        ("user", "zusr5", "refused", "its username is that of ann (zusr1)"),
        ("user", "zusr6", "refused", "its username must not contain white space"),
        ("user", "zusr7", "changed", "did not finish signing up"),
        ("user", "zusr8", "took", ""),
        ("user", "zusr9", "changed", "the second factor does not come along"),
        ("user", "zusr10", "already_there", ""),
        ("user", "zusr11", "already_there", ""),
        ("user", "zusr12", "changed", "email is encrypted"),
        ("user", "zusr13", "refused", "its username is longer than 128 bytes"),
        ("user", "zusr14", "changed", "its approval is unknown"),
        ("user", "zusr15", "changed", "when they signed up is unknown or in the future"),
        ("user", "zusr16", "refused", "its email must not contain control characters"),
        ("user", "zusr17", "refused", "its username must not contain white space or control"),
        ("definition", "2", "changed", "its secret does not come along"),
        ("definition", "3", "refused", "--jwt-issuer"),
        ("definition", "5", "refused", "its username must not contain a colon"),
        ("definition", "6", "refused", "its username must have 1 to 128 bytes"),
        ("definition", "7", "changed", "its secret does not come along"),
        ("definition", "8", "changed", "its secret does not come along"),
        ("definition", "9", "refused", "its username is that of definition 2"),
        ("definition", "10", "changed", "it is called portal (10)"),
        ("definition", "11", "changed", "its secret does not come along"),
        ("definition", "12", "changed", "its secret does not come along"),
        ("link", "1", "refused", "the definition is linked to Bob already"),
        ("link", "2", "took", ""),
        ("link", "3", "took", ""),
        ("link", "4", "refused", "there is no user zusr99"),
        ("link", "5", "refused", "there is no definition 99"),
        ("link", "6", "refused", "definition 3 was refused"),
        ("link", "7", "took", ""),
        ("link", "8", "already_there", ""),
        ("link", "9", "refused", "the user is a super-user here"),
        ("link", "10", "refused", "user zusr6 was refused"),
        ("link", "11", "refused", "it says that definition 8 is of type jwt"),
        ("link", "12", "refused", "to an account outside Zato"),
        ("link", "13", "refused", "definition 1 is of type apikey"),
        ("link", "14", "took", ""),
        ("link", "15", "refused", "definition 9 was refused"),
    ] {
        let line = said.row(row, source);
        assert_eq!(line["outcome"], outcome, "{line}");
        let remarks: Vec<_> = line["remarks"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        assert!(remarks.join("; ").contains(remark) && remarks.is_empty() == remark.is_empty(), "{line}");
        assert_eq!(line["id"].is_null(), outcome == "refused" || (row, source) == ("link", "8"), "{line}");
    }
    let (lines, totals) = said.report();
    assert_eq!(lines.len(), 42);
    let counted = |took, changed, refused, there| json!({ "took": took, "changed": changed, "refused": refused, "already_there": there });
    assert_eq!(totals["totals"]["users"], counted(3, 7, 5, 2));
    assert_eq!(totals["totals"]["definitions"], counted(0, 6, 4, 0));
    assert_eq!(totals["totals"]["links"], counted(4, 0, 10, 1));
    assert_eq!(totals["dry_run"], false);

    let other = prepare(database).await;
    let told = run(&other, &zato, &[]).await;
    assert!(
        told.stdout.contains("refused       user       ANN (zusr5): its username is that of ann"),
        "{}",
        told.stdout
    );
    assert!(told.stdout.contains("links:       took 4, changed 0, refused 10, already there 1"), "{}", told.stdout);
    assert!(told.stderr.contains("Zato encrypts passwords and secrets with its own key"), "{}", told.stderr);
    assert!(!told.stdout.chars().any(|c| c.is_control() && c != '\n'), "what others wrote does not steer the terminal");
}

async fn what_was_taken_is_as_it_was(database: Database) {
    let (installation, zato) = (prepare(database).await, Zato::full(database).await);
    let said = imported(&installation, &zato, &[]).await;
    let raw = tables(&installation).await;
    let users =
        "SELECT concat(username, '|', display_name, '|', email, '|', CASE WHEN is_locked THEN 'locked' ELSE '' END,
         '|', approval_status, '|', created_at, '|', CASE WHEN is_super_user THEN 'super' ELSE '' END) FROM \"user\"
         WHERE username IN ('ann', 'Bob', 'carol', 'frank', 'gina') ORDER BY username_key";
    let made_at = 1_577_934_245_678_901_i64;
    assert_eq!(
        texts(&raw, users).await,
        [
            format!("ann|Ann A.|ann@example.org||2|{made_at}|"),
            format!("Bob|Bob Stone||locked|2|{made_at}|"),
            format!("carol||||2|{made_at}|"),
            format!("frank||||1|{made_at}|"),
            format!("gina||||3|{made_at}|"),
        ]
    );
    assert_eq!(raw.number("SELECT count(*) FROM \"user\" WHERE totp_secret IS NOT NULL OR is_totp_enabled").await, 0);
    let with_password = "SELECT username FROM \"user\" WHERE password_hash IS NOT NULL ORDER BY username";
    assert_eq!(texts(&raw, with_password).await, ["alice", "root"], "only those who were there before");

    let definitions = "SELECT concat(auth_id, '|', auth_type, '|', name, '|', username, '|', issuer, '|', source, '|',
         CASE WHEN is_active THEN 'active' ELSE '' END) FROM definition ORDER BY auth_id";
    assert_eq!(
        texts(&raw, definitions).await,
        [
            "2|2|crm|crm.user||1|active",
            "7|2|old|old.user||1|",
            "8|2|portal|portal.user||1|active",
            "10|2|portal (10)|portal.other||1|active",
            "11|2|shop|shop.user||1|active",
            "12|2|nobodys|nobody||1|active",
        ]
    );
    let materials: Vec<Vec<u8>> = raw.column("SELECT material FROM definition").await;
    assert!(materials.iter().all(|material| material.starts_with(b"$argon2id$")), "a hash that no secret is known for");
    assert_eq!(materials.iter().collect::<std::collections::HashSet<_>>().len(), materials.len());

    let links = "SELECT concat(username, '|', auth_id, '|', CASE WHEN is_active THEN 'active' ELSE '' END, '|',
         CASE WHEN is_internal THEN 'internal' ELSE '' END, '|', linked_auth.created_at) FROM linked_auth
         JOIN \"user\" ON \"user\".user_id = linked_auth.user_id ORDER BY auth_id";
    let in_2021 = 1_620_284_889_500_000_i64;
    assert_eq!(
        texts(&raw, links).await,
        [
            "Bob|2|active||1588748889500000".to_owned(),
            format!("ann|7|||{in_2021}"),
            format!("carol|8|active|internal|{in_2021}"),
            "alice|11|active||1651820889500000".to_owned(),
        ]
    );
    assert_eq!(said.row("definition", "2")["id"], "2", "the number stays");
    let next = if database == Database::Postgres {
        raw.number("SELECT nextval(pg_get_serial_sequence('definition', 'auth_id'))").await
    } else {
        raw.number("SELECT seq + 1 FROM sqlite_sequence WHERE name = 'definition'").await
    };
    assert_eq!(next, 13, "the next definition that is made gets a number of its own");

    let events = "SELECT concat(operation, ' ', count(*)) FROM audit_event WHERE operation LIKE 'import.%'
         AND caller = 'operator' GROUP BY operation ORDER BY operation";
    assert_eq!(texts(&raw, events).await, ["import.definition 6", "import.link 4", "import.user 10"]);
    let verified = installation.command(&["audit", "verify", "--json"]).output().expect("it starts");
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
}

async fn super_users_stay_only_when_told_to(database: Database) {
    let (installation, zato) = (prepare(database).await, Zato::new(database).await);
    zato.user(Person { is_super_user: true, ..Person::new(1, "carol") }).await;
    zato.user(Person { is_super_user: true, ..Person::new(2, "root") }).await;
    zato.definition(2, "basic_auth", "crm", "crm.user", true).await;
    zato.definition(3, "basic_auth", "shop", "shop.user", true).await;
    zato.link(1, 1, "zato.basic_auth", 2, 2021).await;
    zato.link(2, 2, "zato.basic_auth", 3, 2021).await;
    let said = imported(&installation, &zato, &["--dry-run"]).await;
    assert_eq!((said.outcome("user", "zusr1"), said.outcome("link", "1")), ("changed".into(), "took".into()));
    assert_eq!(said.outcome("link", "2"), "refused", "nobody becomes a super-user by a link");
    let said = imported(&installation, &zato, &["--keep-super-users"]).await;
    assert_eq!((said.outcome("user", "zusr1"), said.outcome("link", "1")), ("took".into(), "took".into()));
    assert_eq!(said.outcome("link", "2"), "took", "a super-user in both");
    assert_eq!(said.code, Some(0), "nothing is refused");
    let raw = tables(&installation).await;
    let super_users = texts(&raw, "SELECT username FROM \"user\" WHERE is_super_user ORDER BY username").await;
    assert_eq!(super_users, ["carol", "root"]);
}

const JWT: [&str; 6] = [
    "--jwt-issuer",
    "https://issuer.example.org",
    "--jwt-audience",
    "lanyard",
    "--jwt-jwks-url",
    "https://issuer.example.org/jwks.json",
];

async fn jwt_definitions_come_along_when_somebody_issues_their_tokens(database: Database) {
    let (installation, zato) = (prepare(database).await, Zato::full(database).await);
    for (at, wrong) in [(1, ""), (3, ""), (5, "http://issuer.example.org/jwks.json"), (5, "RS256")] {
        let mut jwt = JWT;
        jwt[at] = wrong;
        let said = run(&installation, &zato, &jwt).await;
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{wrong}: {}", said.stderr);
    }
    let said = run(&installation, &zato, &[&JWT[..], &["--jwt-algorithm", "RS256,none"]].concat()).await;
    assert_eq!(
        (said.code, said.stderr.contains("definition.jwt.algorithms: has an unknown one")),
        (Some(1), true),
        "{}",
        said.stderr
    );
    let said = imported(&installation, &zato, &JWT).await;
    assert_eq!((said.outcome("definition", "3"), said.outcome("link", "6")), ("took".into(), "took".into()));
    let raw = tables(&installation).await;
    let definition =
        "SELECT concat(auth_id, '|', name, '|', username, '|', issuer, '|', audience, '|', algorithms, '|',
         clock_skew_micros, '|', source) FROM definition WHERE auth_type = 3";
    let expected = "3|mobile|mobile.user|https://issuer.example.org|lanyard|RS256|60000000|4";
    assert_eq!(texts(&raw, definition).await, [expected]);
    let again = imported(&installation, &zato, &JWT).await;
    assert_eq!(
        (again.outcome("definition", "3"), again.outcome("link", "6")),
        ("already_there".into(), "already_there".into())
    );
}

async fn definitions_can_be_in_another_database(database: Database) {
    let other = if database == Database::Sqlite { Database::Postgres } else { Database::Sqlite };
    let (installation, zato) = (prepare(database).await, Zato::without_definitions(other).await);
    zato.users().await;
    zato.links().await;
    let said = imported(&installation, &zato, &["--dry-run"]).await;
    assert!(said.row("link", "2")["remarks"].to_string().contains("--definitions-from"));
    let definitions = Zato::new(database).await;
    definitions.definitions().await;
    let said = imported(&installation, &zato, &["--definitions-from", &definitions.url]).await;
    assert_eq!((said.outcome("link", "2"), said.outcome("definition", "2")), ("took".into(), "changed".into()));
}

async fn an_old_zato_without_links_is_read_as_far_as_it_goes(database: Database) {
    let (installation, zato) = (prepare(database).await, Zato::empty(database).await);
    zato.create(
        "CREATE TABLE zato_sso_user (id INTEGER PRIMARY KEY, user_id TEXT, username TEXT, approval_status TEXT)",
    )
    .await;
    zato.raw.execute("INSERT INTO zato_sso_user VALUES (1, 'zusr1', 'ann', 'approved'), (2, NULL, 'bob', NULL)").await;
    let said = imported(&installation, &zato, &[]).await;
    assert_eq!(said.outcome("user", "zusr1"), "changed", "nobody knows since when");
    assert_eq!(said.row("user", "2")["remarks"], json!(["it has no user_id"]));
    assert_eq!(said.report().0.len(), 2);
}

async fn five_thousand_users_come_in_one_run(database: Database) {
    let (installation, zato) = (prepare(database).await, Zato::new(database).await);
    zato.user(Person::new(0, "first")).await;
    let columns = texts(&zato.raw, column_names(database)).await;
    let others: Vec<_> = columns
        .iter()
        .filter(|name| !["id", "user_id", "username", "sign_up_confirm_token"].contains(&name.as_str()))
        .collect();
    let others = others.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let fill = format!(
        "INSERT INTO zato_sso_user (id, user_id, username, sign_up_confirm_token, {others})
         WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 4999)
         SELECT n, concat('zusr', n), concat('user', n), concat('confirm', n), {others} FROM number, zato_sso_user"
    );
    zato.raw.execute(&fill).await;
    let said = imported(&installation, &zato, &[]).await;
    assert_eq!((said.code, &said.report().1["totals"]["users"]["took"]), (Some(0), &json!(5000)));
    let raw = tables(&installation).await;
    assert_eq!(raw.count("\"user\"").await, 5002);
    assert_eq!(raw.number("SELECT count(*) FROM audit_event WHERE operation = 'import.user'").await, 5000);
}

const fn column_names(database: Database) -> &'static str {
    match database {
        Database::Sqlite => "SELECT name FROM pragma_table_info('zato_sso_user')",
        Database::Postgres => {
            "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'zato_sso_user'"
        }
    }
}

async fn what_is_no_zato_database_is_refused(database: Database) {
    let (installation, zato) = (prepare(database).await, Zato::empty(database).await);
    let refused = async |url: &str, code: i32, problem: &str| {
        let said = run_from(&installation, url, &["--json"]).await;
        assert_eq!((said.code, said.stdout.as_str()), (Some(code), ""), "{url}: {}", said.stderr);
        assert!(said.stderr.contains(problem), "{url}: {}", said.stderr);
        assert!(!said.stderr.contains("hunter2"), "the password is not shown: {}", said.stderr);
    };
    refused(&zato.url, 1, "is no database of Zato SSO: it has no table zato_sso_user").await;
    zato.create("CREATE TABLE zato_sso_user (id INTEGER PRIMARY KEY, user_id TEXT)").await;
    refused(&zato.url, 1, "it has no column username in its table zato_sso_user").await;
    let our_own = installation.prepared.config.database.url.expose();
    refused(our_own, 1, "is no database of Zato SSO").await;
    for (url, problem) in [
        ("postgres://zato:hunter2@127.0.0.1:1/zato", "cannot be opened: nothing listens at its host and port"),
        (
            "postgres://127.0.0.1:1/zato?user=zato&password=hunter2",
            "cannot be opened: nothing listens at its host and port",
        ),
        ("postgres://zato:hunter2@127.0.0.1:port/zato", "cannot be opened"),
        ("postgres://zato:hunter2@127.0.0.1:1/zato?sslmode=perhaps", "cannot be opened"),
        ("sqlite:no/such/folder/hunter.db", "cannot be opened"),
    ] {
        refused(url, 6, problem).await;
    }
    refused("mysql://zato:hunter2@127.0.0.1/zato", 2, "only SQLite").await;
    let file = zato.file().with_file_name("text.db");
    std::fs::write(&file, "This is a text and no database, however long it is. ".repeat(100)).expect("a folder");
    refused(
        &format!("sqlite:{}", file.display()),
        6,
        "cannot be opened: the file is damaged or not an SQLite database (26: file is not a database)",
    )
    .await;
}

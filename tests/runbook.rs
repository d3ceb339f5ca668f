//! The commands of deploy/README.md are run as they stand there, in the order of a story, on both databases.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Output};

use lanyard_client::{Client, RetryPolicy, Ust};
use lanyard_tests::both_databases;
use lanyard_tests::support::installation::serves_at;
use lanyard_tests::support::process::{Process, lanyard};
use lanyard_tests::support::server::{Database, in_background};
use lanyard_tests::support::{postgres, repository_file, temporary_folder};
use serde_json::Value;

both_databases!(an_installation_lives_by_the_commands_of_the_pages);

/// What the story runs, on one database or the other.
const STORY: [&str; 19] = [
    "first roll-out",
    "first user",
    "upgrade",
    "stage a key",
    "promote a key",
    "back up SQLite",
    "back up PostgreSQL",
    "back up the keys",
    "restore SQLite",
    "restore PostgreSQL",
    "check what was restored",
    "doctor for machines",
    "a token leaked",
    "all of a user",
    "a caller's key leaked",
    "revoke everything",
    "revoke everything without a server",
    "the database is down",
    "what a replica has",
];

/// A fenced block of commands, and what stands above it.
#[derive(Debug)]
enum Block {
    Run { name: String, commands: String },
    NotRun { reason: String },
    Silent { commands: String },
}

fn blocks() -> Vec<Block> {
    let page = std::fs::read_to_string(repository_file("deploy/README.md")).expect("the page");
    let lines: Vec<&str> = page.lines().map(str::trim).collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| **line == "```sh").map(|(at, _)| at);
    starts
        .map(|at| {
            let commands: Vec<&str> = lines[at + 1..].iter().copied().take_while(|line| *line != "```").collect();
            let commands = commands.join("\n");
            let above = lines[at - 1].strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->"));
            match above.and_then(|above| above.split_once(": ")) {
                Some(("run", name)) => Block::Run { name: name.to_owned(), commands },
                Some(("not run", reason)) => Block::NotRun { reason: reason.to_owned() },
                _ => Block::Silent { commands },
            }
        })
        .collect()
}

#[test]
fn each_block_of_commands_is_run_or_says_why_not() {
    let mut named = BTreeSet::new();
    for block in blocks() {
        match block {
            Block::Run { name, .. } => assert!(named.insert(name.clone()), "{name}: twice"),
            Block::NotRun { reason } => assert!(reason.split(' ').count() > 5, "{reason}: is no reason"),
            Block::Silent { commands } => panic!("nothing says whether this is run:\n{commands}"),
        }
    }
    let story: BTreeSet<String> = STORY.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(named, story);
}

/// Somebody with the page, a machine and a database.
struct Operator {
    folder: tempfile::TempDir,
    database: Option<postgres::Database>,
    commands: BTreeMap<String, String>,
    environment: BTreeMap<&'static str, String>,
    done: BTreeSet<String>,
    server: Option<Process>,
}

impl Operator {
    async fn new(database: Database) -> Self {
        let database = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(in_background(|| postgres::shared().database()).await),
        };
        let folder = temporary_folder();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let file = path("data/lanyard.db");
        let url = database.as_ref().map_or(format!("sqlite://{file}"), |database| database.url().to_owned());
        let config = format!(
            "server.listen = '127.0.0.1:0'\nserver.drain_delay = '0s'\nadmin.listen = '127.0.0.1:0'\nkeys.file = '{}'\n\
             password.memory_kib = 64\nlog.format = 'json'\n",
            path("data/keys.json"),
        );
        std::fs::write(path("lanyard.toml"), config).expect("written");
        for name in ["backup", "backup-of-keys"] {
            std::fs::create_dir(path(name)).expect("made");
        }
        let programs = lanyard().parent().expect("a folder").display();
        let environment = BTreeMap::from([
            ("PATH", format!("{programs}:/usr/local/bin:/usr/bin:/bin")),
            ("LANYARD_CONFIG", path("lanyard.toml")),
            ("LANYARD__DATABASE__URL", url.clone()),
            ("DATABASE_URL", url),
            ("DATABASE_FILE", file),
            ("KEY_FILE", path("data/keys.json")),
            ("ROOT_PASSWORD", PASSWORD.to_owned()),
        ]);
        let commands = blocks().into_iter().filter_map(|block| match block {
            Block::Run { name, commands } => Some((name, commands)),
            _ => None,
        });
        let commands = commands.collect();
        Self { folder, database, commands, environment, done: BTreeSet::new(), server: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sh(&self, commands: &str) -> Output {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-eu", "-c", commands]).current_dir(self.folder.path()).env_clear().envs(&self.environment);
        shell.output().expect("a shell")
    }

    /// Runs a block of the page, which must succeed; returns what it printed.
    #[track_caller]
    fn does(&mut self, name: &str) -> String {
        let (code, printed) = self.tries(name);
        assert_eq!(code, Some(0), "{name}: {printed}");
        printed
    }

    #[track_caller]
    fn tries(&mut self, name: &str) -> (Option<i32>, String) {
        self.done.insert(name.to_owned());
        let output = self.sh(&self.commands[name]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Something that the page leaves to the reader.
    #[track_caller]
    fn also(&self, line: &str) -> String {
        let output = self.sh(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn starts(&mut self) {
        let mut command = Command::new(lanyard());
        command.arg("serve").current_dir(self.folder.path()).env_clear().envs(&self.environment);
        let server = Process::start(&mut command);
        let (addr, admin) = server.wait_for_line("where it serves", serves_at);
        self.environment.insert("LANYARD_ENDPOINT", format!("http://{addr}"));
        self.environment.insert("ADMIN_URL", format!("http://{admin}"));
        self.server = Some(server);
    }

    fn stops(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.terminate();
        assert!(server.wait().success());
    }

    fn restarts(&mut self) {
        self.stops();
        self.starts();
    }

    fn logs_in(&self, user: &str) {
        let line =
            format!("printf '%s\\n' \"$ROOT_PASSWORD\" | lanyard session login -u {user} --password-stdin --save");
        self.also(&line);
    }

    async fn client(&self) -> Client {
        let key = self.environment["LANYARD_CALLER_KEY"].clone();
        let builder = Client::builder(&self.environment["LANYARD_ENDPOINT"]).api_key(key);
        builder.retry(RetryPolicy::never()).connect().await.expect("it serves")
    }

    async fn log_in(&self, user: &str) -> Ust {
        self.client().await.log_in(user, &PASSWORD.into()).await.expect("a login").ust
    }

    async fn is_active(&self, ust: &Ust) -> bool {
        let verdict = self.client().await.verify(ust).await.expect("an answer");
        matches!(verdict, lanyard_client::Verdict::Active(_))
    }
}

const PASSWORD: &str = "correct horse battery";

async fn an_installation_lives_by_the_commands_of_the_pages(database: Database) {
    let mut operator = Operator::new(database).await;
    begins(&mut operator);
    let early = goes_on(&mut operator).await;
    is_restored(&mut operator, &early).await;
    is_attacked(&mut operator).await;
    loses_its_database(&mut operator);
    let other = if operator.database.is_some() { "SQLite" } else { "PostgreSQL" };
    let story: BTreeSet<&str> = STORY.into_iter().filter(|name| !name.ends_with(other)).collect();
    let done: BTreeSet<&str> = operator.done.iter().map(String::as_str).collect();
    assert_eq!(done, story);
}

fn begins(operator: &mut Operator) {
    assert!(operator.does("first roll-out").contains("Problems: 0."));
    let printed = operator.does("first user");
    let key = printed.split_whitespace().find(|word| word.starts_with("lyk1_")).expect("a key").to_owned();
    operator.environment.insert("LANYARD_CALLER_KEY", key);
    operator.starts();
    operator.logs_in("root");
    operator.also("LANYARD_NEW_PASSWORD=\"$ROOT_PASSWORD\" lanyard user create ann");
}

/// Returns a token from before the backup.
async fn goes_on(operator: &mut Operator) -> Ust {
    operator.does("upgrade");
    let early = operator.log_in("ann").await;
    operator.does("stage a key");
    operator.restarts();
    operator.does("promote a key");
    operator.restarts();
    assert!(operator.is_active(&early).await);
    assert!(operator.does("what a replica has").contains("version="));
    operator.does("doctor for machines");
    let told: Value = serde_json::from_slice(&std::fs::read(operator.path("doctor.json")).unwrap()).unwrap();
    assert_eq!(told["healthy"], true);
    early
}

async fn is_restored(operator: &mut Operator, early: &Ust) {
    let kind = if operator.database.is_some() { "PostgreSQL" } else { "SQLite" };
    operator.does(&format!("back up {kind}"));
    operator.does("back up the keys");
    // What happens after it is lost.
    operator.logs_in("root");
    operator.also("lanyard session revoke-all --user ann");
    assert!(!operator.is_active(early).await);
    let late = operator.log_in("ann").await;
    operator.stops();
    match &operator.database {
        Some(database) => drop(database.execute("DROP TABLE audit_event, session_token")),
        None => std::fs::write(operator.path("data/lanyard.db"), "lost").expect("written"),
    }
    assert!(!operator.sh("lanyard audit verify").status.success());
    operator.does(&format!("restore {kind}"));
    let printed = operator.does("check what was restored");
    assert!(printed.contains("All are as they were written") && printed.contains("Problems: 0."), "{printed}");
    operator.starts();
    assert!(operator.is_active(early).await && !operator.is_active(&late).await, "it is as it was");
    operator.logs_in("root");
}

async fn is_attacked(operator: &mut Operator) {
    let (leaked, other) = (operator.log_in("ann").await, operator.log_in("ann").await);
    operator.environment.insert("LEAKED_UST", leaked.expose().to_owned());
    operator.environment.insert("LEAKED_USER", "ann".to_owned());
    let printed = operator.does("a token leaked");
    assert!(printed.contains("leak-1"), "{printed}");
    assert!(!operator.is_active(&leaked).await && operator.is_active(&other).await);
    operator.does("all of a user");
    assert!(!operator.is_active(&other).await);
    operator.does("a caller's key leaked");
    let bystander = operator.log_in("root").await;
    operator.does("revoke everything");
    assert!(!operator.is_active(&bystander).await);
    operator.also("lanyard session verify");
    operator.stops();
    let printed = operator.does("revoke everything without a server");
    let key = printed.split_whitespace().find(|word| word.starts_with("lyk1_")).expect("a key").to_owned();
    operator.starts();
    let ask = "LANYARD_UST=$LEAKED_UST lanyard session verify";
    assert_eq!(operator.sh(ask).status.code(), Some(3), "the caller's key went with it");
    operator.environment.insert("LANYARD_CALLER_KEY", key);
    assert_eq!(operator.sh(ask).status.code(), Some(7), "nobody knows its hash");
    operator.stops();
    operator.also("lanyard audit verify");
}

fn loses_its_database(operator: &mut Operator) {
    let url = match &operator.database {
        Some(_) => "postgres://nobody@127.0.0.1:1/nothing".to_owned(),
        None => "sqlite:///nowhere/lanyard.db".to_owned(),
    };
    operator.environment.insert("LANYARD__DATABASE__URL", url);
    let (code, printed) = operator.tries("the database is down");
    assert_eq!(code, Some(11), "{printed}");
    assert!(printed.contains("problem      database"), "{printed}");
}

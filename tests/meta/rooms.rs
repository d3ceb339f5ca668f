//! The rooms of the server, and who may name whom: arrows go one way, `transport → pipeline → service → app → store`, all may use
//! `model` and the leaves, and the nouns of `app` know each other without a circle. This reads the sources as tokens, so
//! comments and texts may name what they like, and macros hide nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lanyard_tests::support::repository;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A crate (and its relatives, `name_*`), and the rooms that may name it.
struct CrateRule {
    name: &'static str,
    rooms: &'static [&'static str],
    reason: &'static str,
}

const CRATES: [CrateRule; 12] = [
    CrateRule {
        name: "tonic",
        // opentelemetry_proto keeps its messages in a module of that name.
        rooms: &["transport", "pipeline", "service", "telemetry"],
        reason: "only transport/, pipeline/ and service/ speak gRPC",
    },
    CrateRule {
        name: "opentelemetry_sdk",
        rooms: &["telemetry"],
        reason: "only telemetry/ collects; others use the API, which does nothing by itself",
    },
    CrateRule { name: "opentelemetry_otlp", rooms: &["telemetry"], reason: "only telemetry/ sends" },
    CrateRule { name: "prometheus_client", rooms: &["telemetry"], reason: "every metric is in telemetry/" },
    CrateRule {
        name: "lanyard_proto",
        rooms: &["pipeline", "service", "transport", "cli"],
        reason: "messages stop in service/; app/ has types of its own",
    },
    CrateRule { name: "lanyard_client", rooms: &["cli"], reason: "only the command line is a client" },
    CrateRule { name: "sea_orm", rooms: &["store"], reason: "only store/ knows the database" },
    CrateRule { name: "sea_query", rooms: &["store"], reason: "only store/ knows the database" },
    CrateRule { name: "sqlx", rooms: &["store"], reason: "only store/ knows the database" },
    CrateRule { name: "jsonwebtoken", rooms: &["crypto"], reason: "what a token is worth is said in crypto/ alone" },
    CrateRule { name: "hyper_rustls", rooms: &["upstream"], reason: "only upstream/ reaches out to others" },
    CrateRule { name: "legacy", rooms: &["upstream"], reason: "hyper's client: only upstream/ reaches out to others" },
];

/// What a room may name of the server, beside itself. A room that is not here may be named by nobody but the root.
struct RoomRule {
    room: &'static str,
    may_name: &'static [&'static str],
    reason: &'static str,
}

/// They use no room and little of each other.
const LEAVES: [&str; 8] = ["clock", "config", "correlation", "crypto", "error", "model", "priority", "stop"];

const ROOMS: [RoomRule; 17] = [
    RoomRule {
        room: "transport",
        may_name: &["pipeline", "telemetry"],
        reason: "transport/ makes requests of sockets; what becomes of them is not its own",
    },
    RoomRule {
        room: "pipeline",
        may_name: &["service", "app", "telemetry"],
        reason: "pipeline/ carries calls from transport/ to service/",
    },
    RoomRule {
        room: "service",
        may_name: &["app"],
        reason: "service/ turns messages into calls of app/, and never looks past it",
    },
    RoomRule {
        room: "app",
        may_name: &["store", "upstream", "telemetry"],
        reason: "app/ decides; it does not know who speaks",
    },
    RoomRule { room: "store", may_name: &["telemetry"], reason: "store/ remembers; it does not know who asks" },
    RoomRule { room: "upstream", may_name: &[], reason: "upstream/ fetches and parses; it does not know what for" },
    RoomRule {
        room: "telemetry",
        may_name: &["upstream"],
        reason: "telemetry/ counts, collects and sends; it does not know of what",
    },
    RoomRule {
        room: "serve",
        may_name: &["transport", "pipeline", "app", "store", "telemetry"],
        reason: "serve.rs puts the rooms together; it speaks no gRPC",
    },
    RoomRule {
        room: "cli",
        may_name: &["serve", "transport", "app", "store", "telemetry"],
        reason: "cli/ is a client, or works on the database; calls are not its own",
    },
    RoomRule { room: "model", may_name: &[], reason: IS_A_LEAF },
    RoomRule { room: "clock", may_name: &[], reason: IS_A_LEAF },
    RoomRule { room: "config", may_name: &[], reason: IS_A_LEAF },
    RoomRule { room: "correlation", may_name: &[], reason: IS_A_LEAF },
    RoomRule { room: "crypto", may_name: &[], reason: IS_A_LEAF },
    RoomRule { room: "error", may_name: &[], reason: IS_A_LEAF },
    RoomRule { room: "priority", may_name: &[], reason: IS_A_LEAF },
    RoomRule { room: "stop", may_name: &[], reason: IS_A_LEAF },
];

const IS_A_LEAF: &str = "it is a leaf, which all may use and which uses none";

#[test]
fn each_room_names_only_what_it_may_know() {
    let root = repository().join("server/src");
    let files = rust_files(&root);
    assert!(files.len() > 3, "the sources of the server are not where they were: {files:?}");
    let problems: Vec<_> =
        files.iter().flat_map(|file| check_file(file, |s| server_problems(&module_of(&root, file), s))).collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn no_two_rooms_or_nouns_of_app_name_each_other() {
    let sources = repository().join("server/src");
    let mut rooms = Graph::default();
    let mut nouns = Graph::default();
    for file in rust_files(&sources) {
        let module = module_of(&sources, &file);
        let source = fs::read_to_string(&file).expect("a readable source");
        let (Some(room), false) = (module.first(), is_test(&module)) else { continue };
        let mut mentions = Mentions::default();
        mentions.read(without_tests(source.parse().expect("Rust")), &module);
        for (_, path) in mentions.paths {
            rooms.add(room, path.first());
            if let ("app", Some("app"), Some(noun)) = (room.as_str(), path.first().map(String::as_str), module.get(1)) {
                nouns.add(noun, path.get(1).filter(|other| sources.join("app").join(other).is_dir()));
            }
        }
    }
    assert!(rooms.edges.len() > 5 && nouns.edges.len() > 5, "the sources of the server are not where they were");
    assert_eq!(rooms.circle(), None, "rooms");
    assert_eq!(nouns.circle(), None, "nouns of app/");
}

#[test]
fn the_contract_and_the_client_know_nothing_of_the_server() {
    let contract = repository().join("proto/lib.rs");
    let client = rust_files(&repository().join("client/rust/src"));
    assert!(!client.is_empty(), "the sources of the client are not where they were");
    let mut problems = check_file(&contract, |s| foreign_problems(&["lanyard_server", "lanyard_client"], s));
    problems.extend(client.iter().flat_map(|file| check_file(file, |s| foreign_problems(&["lanyard_server"], s))));
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// A line, and what is wrong with it.
type Problem = (usize, String);

fn check_file(file: &Path, check: impl Fn(TokenStream) -> Vec<Problem>) -> Vec<String> {
    let shown = file.strip_prefix(repository()).unwrap_or(file).display();
    let source = fs::read_to_string(file).unwrap_or_else(|e| panic!("{shown}: {e}"));
    let tokens = source.parse().unwrap_or_else(|e| panic!("{shown}: {e}"));
    check(tokens).into_iter().map(|(line, problem)| format!("{shown}:{line}: {problem}")).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut files: Vec<_> = paths
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

/// `store/session.rs` is `store::session`, `store/mod.rs` is `store`, `lib.rs` is the root.
fn module_of(root: &Path, file: &Path) -> Vec<String> {
    let path = file.strip_prefix(root).expect("a file of the server").with_extension("");
    let mut module: Vec<_> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

fn foreign_problems(forbidden: &[&str], tokens: TokenStream) -> Vec<Problem> {
    let mut mentions = Mentions::default();
    mentions.read(tokens, &[]);
    let foreign = mentions.idents.into_iter().filter(|(_, ident)| forbidden.contains(&ident.as_str()));
    foreign.map(|(line, ident)| (line, format!("names {ident}, which stands above it"))).collect()
}

fn server_problems(module: &[String], tokens: TokenStream) -> Vec<Problem> {
    let room = module.first().map_or("", String::as_str);
    let mut mentions = Mentions::default();
    mentions.read(tokens, module);
    let mut problems = Vec::new();
    for (line, ident) in &mentions.idents {
        let rule = CRATES.iter().find(|rule| is_of_crate(ident, rule.name) && !rule.rooms.contains(&room));
        problems.extend(rule.map(|rule| (*line, format!("names {ident}: {}", rule.reason))));
    }
    let rule = ROOMS.iter().find(|rule| rule.room == room && !is_test(module));
    for (line, path) in &mentions.paths {
        let (Some(named), Some(rule)) = (path.first(), rule) else { continue };
        let may = named == room || rule.may_name.contains(&named.as_str()) || LEAVES.contains(&named.as_str());
        if !may {
            problems.push((*line, format!("names crate::{named}: {}", rule.reason)));
        }
    }
    problems.sort();
    problems
}

/// Tests may put together what the sources keep apart.
fn is_test(module: &[String]) -> bool {
    module.iter().any(|part| part == "tests" || part.ends_with("_tests"))
}

/// The tokens of a file but those of its inline tests, which stand last.
fn without_tests(tokens: TokenStream) -> TokenStream {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let tests = tokens.windows(2).position(|pair| is_ident(pair.first(), "mod") && is_ident(pair.get(1), "tests"));
    tokens[..tests.unwrap_or(tokens.len())].iter().cloned().collect()
}

/// Who names whom.
#[derive(Default)]
struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn add(&mut self, from: &str, to: Option<&String>) {
        let to = to.filter(|to| *to != from);
        self.edges.entry(from.to_owned()).or_default().extend(to.cloned());
    }

    /// Nodes that name each other, if there are any: what is left when all that name nobody are taken away, again and again.
    fn circle(&self) -> Option<BTreeMap<String, BTreeSet<String>>> {
        let mut left = self.edges.clone();
        loop {
            let nodes: BTreeSet<String> = left.keys().cloned().collect();
            for named in left.values_mut() {
                named.retain(|name| nodes.contains(name));
            }
            let before = left.len();
            left.retain(|_, named| !named.is_empty());
            if left.len() == before {
                return Some(left).filter(|left| !left.is_empty());
            }
        }
    }
}

fn is_of_crate(ident: &str, name: &str) -> bool {
    ident.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// Instead of a room: the root itself, by `crate::*` or under another name.
const EVERYTHING: &str = "*";

/// What a source names, with lines.
#[derive(Default)]
struct Mentions {
    idents: Vec<(usize, String)>,
    /// Each path that begins with `crate`, `self` or `super`, from the root of the crate.
    paths: Vec<(usize, Vec<String>)>,
}

impl Mentions {
    fn read(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at += match &tokens[at..] {
                [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(body), ..] if word == "mod" => {
                    self.read(body.stream(), &[module, &[name.to_string()]].concat());
                    3
                }
                [TokenTree::Ident(first), ..] if ["crate", "self", "super"].iter().any(|word| first == word) => {
                    self.path(&tokens[at..], module)
                }
                [TokenTree::Ident(ident), ..] => {
                    self.idents.push((ident.span().start().line, ident.to_string()));
                    1
                }
                [TokenTree::Group(group), ..] => {
                    self.read(group.stream(), module);
                    1
                }
                _ => 1,
            };
        }
    }

    fn mention(&mut self, line: usize, path: Vec<String>) {
        if !path.is_empty() {
            self.paths.push((line, path));
        }
    }

    /// Reads a path that stands at the beginning of `tokens` and continues `base`; returns how many tokens it took.
    fn path(&mut self, tokens: &[TokenTree], base: &[String]) -> usize {
        let mut path = base.to_vec();
        let mut at = 0;
        loop {
            let line = tokens.get(at).map_or(0, |token| token.span().start().line);
            match tokens.get(at) {
                Some(TokenTree::Ident(segment)) => {
                    at += 1;
                    let renames_root = is_ident(tokens.get(at), "as");
                    match segment.to_string().as_str() {
                        "crate" => path.clear(),
                        "super" => drop(path.pop()),
                        "self" => {}
                        name => {
                            path.push(name.to_owned());
                            self.idents.push((line, name.to_owned()));
                        }
                    }
                    if path.is_empty() && renames_root {
                        self.paths.push((line, vec![EVERYTHING.to_owned()]));
                    }
                    if !is_path_separator(&tokens[at..]) {
                        self.mention(line, path);
                        return at;
                    }
                    at += 2;
                }
                Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                    if path.is_empty() {
                        path.push(EVERYTHING.to_owned());
                    }
                    self.paths.push((line, path));
                    return at + 1;
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let members: Vec<_> = group.stream().into_iter().collect();
                    for member in members.split(|token| is_punct(token, ',')) {
                        self.path(member, &path);
                    }
                    return at + 1;
                }
                // `crate::store::<T>`, or the end of an empty member of a group.
                _ => {
                    self.mention(line, path);
                    return at.max(1);
                }
            }
        }
    }
}

fn is_ident(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [first, second, ..] if is_punct(first, ':') && is_punct(second, ':'))
}

#[test]
fn a_planted_violation_is_found_with_its_line() {
    let planted = [
        ("app/session.rs", "use tonic::Status;"),
        ("app/session.rs", "fn f() -> tonic_types::Status { todo!() }"),
        ("app/session.rs", "use lanyard_proto::v1;"),
        ("app/session.rs", "use crate::pipeline::status;"),
        ("app/session.rs", "fn f() { tracing::info!(x = crate::service::x()) }"),
        ("app/mod.rs", "use sea_orm::EntityTrait as _;"),
        ("app/session.rs", "use super::super::pipeline::status;"),
        ("app/session.rs", "mod inner { use super::super::super::pipeline; }"),
        ("store/user.rs", "use crate::app::User;"),
        ("store/user.rs", "use crate::{clock::Time, app::{self, User}};"),
        ("store/user.rs", "use crate::{service};"),
        ("store/mod.rs", "pub use super::app;"),
        ("store/mod.rs", "use crate::*;"),
        ("store/mod.rs", "use crate as all;"),
        ("store/mod.rs", "use super::{self as all};"),
        ("clock.rs", "use crate::store::Store;"),
        ("config.rs", "const X: usize = crate::app::session::LIMIT;"),
        ("crypto/mod.rs", "use crate::app;"),
        ("cli/user.rs", "use tonic::Status;"),
        ("main.rs", "use sea_orm::prelude::*;"),
        ("service/session.rs", "use sea_orm::DbErr;"),
        ("service/session.rs", "use crate::store::SessionRow;"),
        ("service/session.rs", "use crate::pipeline::Stage;"),
        ("pipeline/call.rs", "use crate::transport::Listener;"),
        ("pipeline/call.rs", "use crate::store::Store;"),
        ("model/session.rs", "use crate::store::SessionRow;"),
        ("store/figures.rs", "use prometheus_client::registry::Registry;"),
        ("serve.rs", "use tonic::Status;"),
        ("app/session.rs", "use opentelemetry_sdk::trace::SdkTracerProvider;"),
        ("telemetry/mod.rs", "use crate::app::App;"),
        ("upstream/jwks.rs", "use crate::app::App;"),
        ("upstream/jwks.rs", "use crate::store::Store;"),
        ("service/session.rs", "use crate::upstream::Jwks;"),
        ("store/user.rs", "use crate::upstream::Jwks;"),
        ("app/session.rs", "use jsonwebtoken::decode;"),
        ("app/session.rs", "use hyper_util::client::legacy::Client;"),
    ];
    for (file, code) in planted {
        let problems = planted_problems(file, &format!("//! A comment.\n\n{code}\n"));
        assert!(problems.iter().any(|(line, _)| *line == 3), "{file} may not say {code}: {problems:?}");
    }
}

#[test]
fn what_a_room_may_know_is_no_violation() {
    let fine = [
        ("service/session.rs", "use crate::{app, error::Error}; use tonic::Status; use lanyard_proto::v1;"),
        ("serve.rs", "use crate::{app::App, pipeline, transport, store::Store};"),
        ("app/session.rs", "use super::user::User; use crate::store::{self, Store}; use crate::clock::Time;"),
        (
            "app/session.rs",
            "/// As tonic's Status; see crate::service.\nfn f() -> &'static str { \"sea_orm\" } // tonic",
        ),
        ("app/session.rs", "mod tests { use super::*; use super::super::user; fn f(self) { self.x } }"),
        ("transport/tests/mod.rs", "use crate::app::App; use crate::serve::open_store;"),
        ("app/mod.rs", "pub(crate) mod session; pub(super) fn f() {} pub(in crate::app) fn g() {}"),
        (
            "store/user.rs",
            "use sea_orm::{entity::prelude::*}; use super::entity::user as row; use crate::crypto::TokenHash;",
        ),
        ("cli/user.rs", "use lanyard_client::Client; use lanyard_proto::v1;"),
        ("clock.rs", "use crate::error::Error; fn tonicity() {}"),
        ("upstream/jwks.rs", "use crate::crypto::jwt::PublicKeys; use crate::{clock::Clock, config, error::Error};"),
        ("app/mod.rs", "use crate::upstream::Jwks;"),
        ("crypto/jwt/mod.rs", "use jsonwebtoken::decode;"),
        ("lib.rs", "pub mod app; pub mod service; pub mod store;"),
    ];
    for (file, code) in fine {
        assert_eq!(planted_problems(file, code), [], "{file} may say {code}");
    }
}

#[test]
fn a_circle_is_found_and_a_chain_is_none() {
    let edge = |graph: &mut Graph, from: &str, to: &str| graph.add(from, Some(&to.to_owned()));
    let mut graph = Graph::default();
    for (from, to) in [("login", "session"), ("session", "audit"), ("login", "audit"), ("audit", "audit")] {
        edge(&mut graph, from, to);
    }
    assert_eq!(graph.circle(), None);
    edge(&mut graph, "audit", "login");
    assert!(graph.circle().is_some());
}

#[test]
fn the_client_that_names_the_server_is_found() {
    let problems = foreign_problems(&["lanyard_server"], "\nuse lanyard_server::model::id;".parse().unwrap());
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].0, 2);
}

fn planted_problems(file: &str, code: &str) -> Vec<Problem> {
    server_problems(&module_of(Path::new("src"), &Path::new("src").join(file)), code.parse().unwrap())
}

//! The rooms of the server, and who may name whom: arrows go one way, `grpc -> app -> store`, and the wire and the
//! database each have one room. This reads the sources as tokens, so comments and texts may name what they like, and
//! macros hide nothing.

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

const CRATES: [CrateRule; 10] = [
    CrateRule {
        name: "tonic",
        // opentelemetry_proto keeps its messages in a module of that name.
        rooms: &["grpc", "serve", "telemetry"],
        reason: "only grpc/ and serve.rs speak gRPC",
    },
    CrateRule {
        name: "opentelemetry_sdk",
        rooms: &["telemetry"],
        reason: "only telemetry/ collects; others use the API, which does nothing by itself",
    },
    CrateRule {
        name: "lanyard_proto",
        rooms: &["grpc", "serve", "cli"],
        reason: "messages stop in grpc/; app/ has types of its own",
    },
    CrateRule { name: "lanyard_client", rooms: &["cli"], reason: "only the command line is a client" },
    CrateRule { name: "sea_orm", rooms: &["store"], reason: "only store/ knows the database" },
    CrateRule { name: "sea_query", rooms: &["store"], reason: "only store/ knows the database" },
    CrateRule { name: "sqlx", rooms: &["store"], reason: "only store/ knows the database" },
    CrateRule { name: "jsonwebtoken", rooms: &["crypto"], reason: "what a token is worth is said in crypto/ alone" },
    CrateRule { name: "hyper_rustls", rooms: &["upstream"], reason: "only upstream/ reaches out to others" },
    CrateRule { name: "legacy", rooms: &["upstream"], reason: "hyper's client: only upstream/ reaches out to others" },
];

/// Rooms that a room may not name.
struct RoomRule {
    rooms: &'static [&'static str],
    may_not_name: &'static [&'static str],
    reason: &'static str,
}

const ROOMS: [RoomRule; 6] = [
    RoomRule {
        rooms: &["store"],
        may_not_name: &["app", "grpc", "serve", "cli"],
        reason: "store/ remembers; it does not know who asks",
    },
    RoomRule {
        rooms: &["app"],
        may_not_name: &["grpc", "serve", "cli"],
        reason: "app/ decides; it does not know who speaks",
    },
    RoomRule {
        rooms: &["upstream"],
        may_not_name: &["app", "grpc", "store", "serve", "cli"],
        reason: "upstream/ fetches and parses; it knows configuration, errors, time and keys, and not what for",
    },
    RoomRule {
        rooms: &["grpc", "store", "serve", "cli"],
        may_not_name: &["upstream"],
        reason: "only app/ decides when to reach out, and telemetry/ sends",
    },
    RoomRule {
        rooms: &["telemetry"],
        may_not_name: &["app", "grpc", "store", "serve", "cli"],
        reason: "telemetry/ collects and sends; it does not know of what",
    },
    RoomRule {
        rooms: &["error", "id", "clock", "crypto", "correlation", "metrics", "priority", "config"],
        may_not_name: &["app", "grpc", "store", "upstream", "serve", "cli", "telemetry"],
        reason: "it is a leaf, which all may use and which uses none",
    },
];

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
    for (line, named) in &mentions.rooms {
        let rule = ROOMS.iter().filter(|rule| rule.rooms.contains(&room));
        let broken = rule.filter(|rule| rule.may_not_name.contains(&named.as_str()) || named == EVERYTHING);
        problems.extend(broken.map(|rule| (*line, format!("names crate::{named}: {}", rule.reason))));
    }
    problems.sort();
    problems
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
    /// The first segment of each path that begins with `crate`, `self` or `super`, from the root of the crate.
    rooms: Vec<(usize, String)>,
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
                        self.rooms.push((line, EVERYTHING.to_owned()));
                    }
                    if !is_path_separator(&tokens[at..]) {
                        self.rooms.extend(path.into_iter().next().map(|room| (line, room)));
                        return at;
                    }
                    at += 2;
                }
                Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                    self.rooms.push((line, path.into_iter().next().unwrap_or_else(|| EVERYTHING.to_owned())));
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
                    self.rooms.extend(path.into_iter().next().map(|room| (line, room)));
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
        ("app/session.rs", "use crate::grpc::status;"),
        ("app/session.rs", "fn f() { tracing::info!(x = crate::grpc::x()) }"),
        ("app/mod.rs", "use sea_orm::EntityTrait as _;"),
        ("app/session.rs", "use super::super::grpc::status;"),
        ("app/session.rs", "mod tests { use super::super::super::grpc; }"),
        ("store/user.rs", "use crate::app::User;"),
        ("store/user.rs", "use crate::{clock::Time, app::{self, User}};"),
        ("store/user.rs", "use crate::{grpc};"),
        ("store/mod.rs", "pub use super::app;"),
        ("store/mod.rs", "use crate::*;"),
        ("store/mod.rs", "use crate as all;"),
        ("store/mod.rs", "use super::{self as all};"),
        ("clock.rs", "use crate::store::Store;"),
        ("config.rs", "const X: usize = crate::app::session::LIMIT;"),
        ("crypto/mod.rs", "use crate::app;"),
        ("cli/user.rs", "use tonic::Status;"),
        ("main.rs", "use sea_orm_migration::prelude::*;"),
        ("grpc/session.rs", "use sea_orm::DbErr;"),
        ("metrics.rs", "use tonic::Status;"),
        ("app/session.rs", "use opentelemetry_sdk::trace::SdkTracerProvider;"),
        ("telemetry/mod.rs", "use crate::app::App;"),
        ("upstream/jwks.rs", "use crate::app::App;"),
        ("upstream/jwks.rs", "use crate::store::Store;"),
        ("grpc/session.rs", "use crate::upstream::Jwks;"),
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
        ("grpc/session.rs", "use crate::{app, error::Error}; use tonic::Status; use lanyard_proto::v1;"),
        ("serve.rs", "use tonic_health::server; use crate::{app::App, grpc, store::Store};"),
        ("app/session.rs", "use super::user::User; use crate::store::{self, Store}; use crate::clock::Time;"),
        ("app/session.rs", "/// As tonic's Status; see crate::grpc.\nfn f() -> &'static str { \"sea_orm\" } // tonic"),
        ("app/session.rs", "mod tests { use super::*; use super::super::user; fn f(self) { self.x } }"),
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
        ("lib.rs", "pub mod app; pub mod grpc; pub mod store;"),
    ];
    for (file, code) in fine {
        assert_eq!(planted_problems(file, code), [], "{file} may say {code}");
    }
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

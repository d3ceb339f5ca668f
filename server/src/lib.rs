//! Lanyard's server, in rooms whose arrows go one way: `transport → pipeline → service → app → store`.
//!
//! - [`transport`]: sockets to requests.
//! - [`pipeline`]: the stages that every call passes, in order, and the fast path.
//! - [`service`]: one file per service of the contract; turns messages into calls of `app`.
//! - [`app`]: verbs and authorization, one folder per noun.
//! - [`store`]: the database.
//! - [`upstream`]: third-party servers, which only `app` and `telemetry` call.
//! - [`model`]: nouns and pure rules. All rooms may use it and the leaves `clock`, `config`, `correlation`, `crypto`,
//!   `error`, `priority`, `stop` and [`telemetry`].
//!
//! `cli` is the program `lanyard`, in the library because a binary would compile each async function it awaits again.
//! `serve` puts the rooms together. `ARCHITECTURE.md` walks through them; `tests/meta/rooms.rs` enforces the arrows.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod correlation;
pub mod crypto;
pub mod error;
pub mod model;
pub mod pipeline;
pub mod priority;
pub mod serve;
pub mod service;
pub mod stop;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod upstream;

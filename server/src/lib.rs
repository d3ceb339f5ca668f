//! Lanyard's server.
//!
//! `grpc` speaks, `app` decides, `store` remembers; each noun has one file in each, and arrows go one way:
//! `grpc -> app -> store`. `upstream`, which only `app` uses, reaches out to the servers of others. `id`, `clock`, `crypto`,
//! `error`, `config`, `correlation`, `metrics`, `priority` and `stop` are leaves that all may use. `serve` puts the rooms together.

pub mod admin;
pub mod app;
pub mod clock;
pub mod config;
pub mod correlation;
pub mod crypto;
pub mod error;
pub mod grpc;
pub mod id;
pub mod metrics;
pub mod priority;
pub mod serve;
pub mod stop;
pub mod store;
pub mod telemetry;
pub mod upstream;

//! Lanyard's server.
//!
//! `grpc` speaks, `app` decides, `store` remembers; each noun has one file in each, and arrows go one way:
//! `grpc -> app -> store`. `id`, `clock`, `crypto` and `error` are leaves that all may use.

pub mod clock;
pub mod crypto;
pub mod config;
pub mod error;
pub mod id;
pub mod store;

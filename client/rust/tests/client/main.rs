//! The client against a server that does as it is told, over a connection in memory.

mod carrying;
mod health;
mod retrying;
mod support;
mod tls;
mod user_session;
mod verbs;

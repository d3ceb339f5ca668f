//! The Rust client of Lanyard: whose session is this, and is it still good?
//!
//! ```no_run
//! use lanyard_client::v1::{ClientInfo, ListSessionsRequest};
//! use lanyard_client::{Client, ErrorReason, Ust, Verdict};
//! use secrecy::SecretString;
//!
//! # async fn example(key: SecretString, password: SecretString) -> Result<(), Box<dyn std::error::Error>> {
//! // Once, when the service starts. Clones are cheap and share the connection.
//! let lanyard = Client::builder("http://127.0.0.1:50051").api_key(key).current_app("CRM").connect().await?;
//!
//! // A user logs in. The token comes once; hand it to the user's browser.
//! let login = match lanyard.log_in("alice", &password).await {
//!     Ok(login) => login,
//!     Err(error) if error.reason == ErrorReason::LoginFailed => return Ok(()), // ask again
//!     Err(error) => return Err(error.into()),                                  // names the correlation ID
//! };
//!
//! // On each request of that user: is the token good? `remote_addr` is where the user is.
//! let from = ClientInfo { remote_addr: "203.0.113.7".into(), ..ClientInfo::default() };
//! let token: Ust = login.ust.clone();
//! match lanyard.with_client_info(from).verify(&token).await? {
//!     Verdict::Active(session) => println!("hello, {}", session.username),
//!     Verdict::Inactive(inactive) => println!("log in again: {inactive}"),
//! }
//! // The same where anything but a good session is the end of it.
//! let session = lanyard.verify(&token).await?.into_session()?;
//! println!("{} may stay until {:?}", session.username, session.idle_expire_time);
//!
//! // What a user does is done on their behalf.
//! let alice = lanyard.on_behalf_of(&token);
//! let mut pages = alice.list_sessions(ListSessionsRequest::default());
//! while let Some(sessions) = pages.next_page().await? {
//!     for session in sessions {
//!         println!("{} from {}", session.session_id, session.remote_addr);
//!     }
//! }
//! alice.log_out().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What each call does by itself
//!
//! - It has a **deadline** ([`ClientBuilder::deadline`], 2 seconds), kept here and told to the server.
//! - A *read* that finds the server unavailable is **tried again** ([`RetryPolicy`]) while the deadline and the shared
//!   [budget](RetryPolicy#the-budget) allow; a write never is.
//! - It carries a **correlation ID**, the same in all its attempts: of [`Client::with_correlation_id`], else of the
//!   current span (see [`CorrelationLayer`]), else a new one. Every [`Error`] names it; the audit trail finds by it.
//! - It carries the **trace context** (`traceparent`, `tracestate`) of the current span.
//!
//! # Messages
//!
//! Requests and answers are the messages of the contract ([`v1`]). Leave `ust` and `client` of a request empty: the
//! client fills them in. Where a verb here gives less than its answer holds, [`Client::call`] and [`Subject::call`]
//! give the whole.

mod attribute;
mod audit;
mod builder;
mod call;
mod client;
mod correlation;
mod definition;
mod error;
mod health;
mod linked_auth;
#[cfg(feature = "micetro")]
pub mod micetro;
mod page;
mod platform_auth;
mod retry;
mod rpc;
mod session;
mod token;
mod user;
mod user_session;
mod verdict;

pub use lanyard_proto::v1;
pub use lanyard_proto::v1::{ErrorReason, InactiveReason, RevokeReason};
pub use prost_types;
pub use secrecy;
pub use tonic::Code;
pub use tonic::transport::Channel;
pub use tonic_types::FieldViolation;

pub use builder::{ClientBuilder, ConnectError};
pub use client::{Client, Subject};
pub use correlation::{CorrelationId, CorrelationLayer, InvalidCorrelationId};
pub use definition::DefinitionChange;
pub use error::Error;
pub use linked_auth::LinkChange;
#[cfg(feature = "micetro")]
pub use micetro::{MicetroClient, MicetroError, MicetroErrorKind, MicetroReply};
pub use page::Pages;
pub use retry::RetryPolicy;
pub use rpc::{ActingRequest, PagedRequest, Rpc};
pub use session::{Login, Renewal};
pub use token::Ust;
pub use user::UserChange;
pub use user_session::UserSession;
pub use verdict::{Inactive, Verdict, VerifiedSession};

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

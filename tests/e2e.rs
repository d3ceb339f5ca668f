//! What a caller sees: real servers, over real gRPC. One file for each noun.

mod approval;
mod crash;
mod deploy;
mod ending;
mod harness;
mod hostile;
mod outage;
mod place;
mod renewal;
mod rooms;
mod session;
mod stopping;
mod tls;
mod user;

//! What a caller sees: real servers, over real gRPC. One file for each noun.

mod approval;
mod conflict;
mod deploy;
mod ending;
mod harness;
mod migrations;
mod place;
mod renewal;
mod rooms;
mod rotation;
mod session;
mod store;
mod trail;
mod user;

//! What a caller sees: real servers, over real gRPC. One file for each noun.

mod deploy;
mod harness;
mod migrations;
mod rooms;
mod store;

//! What a caller sees: real servers, over real gRPC. One file for each noun.

mod crash;
mod deploy;
mod harness;
mod rooms;
mod session;

//! What a caller sees: real servers, over real gRPC. One file for each noun.

mod cli;
mod deploy;
mod harness;
mod rooms;

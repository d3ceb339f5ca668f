//! What a caller sees: real servers, over real gRPC. One file for each noun.

mod approval;
mod attribute;
mod conflict;
mod crash;
mod deploy;
mod ending;
mod harness;
mod migrations;
mod password;
mod place;
mod refusals;
mod renewal;
mod rooms;
mod rotation;
mod sealing;
mod session;
mod store;
mod throttle;
mod totp;
mod trail;
mod user;

//! What a caller sees: real servers, over real gRPC. One file for each noun.

mod approval;
mod attribute;
mod audit;
mod caller;
mod chaos;
mod correlation;
mod deploy;
mod ending;
mod harness;
mod password;
mod place;
mod refusals;
mod renewal;
mod rooms;
mod sealing;
mod session;
mod throttle;
mod totp;
mod user;

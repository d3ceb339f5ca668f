//! Nouns and pure rules. It uses no other room.

pub mod audit;
pub mod caller;
pub mod id;

//! What the end-to-end tests and the benchmarks of Lanyard share.

pub mod support;

//! One file per table, no logic. Times are microseconds since 1970 (UTC) in both databases.
//!
//! A row may hold a secret, which its `Debug` does not show.

#![expect(unreachable_pub, reason = "the derive macros of sea-orm write `pub`")]

pub(super) mod attribute;
pub(super) mod audit_chain;
pub(super) mod audit_event;
pub(super) mod caller;
pub(super) mod caller_key;
pub(super) mod change;
pub(super) mod definition;
pub(super) mod lease;
pub(super) mod linked_auth;
pub(super) mod platform_credential;
pub(super) mod session;
pub(super) mod session_credential;
pub(super) mod session_platform;
pub(super) mod session_token;
pub(super) mod user;

/// `Debug` for a row that holds a secret: shows only its table.
macro_rules! silent_debug {
    ($table:literal) => {
        impl std::fmt::Debug for Model {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct($table).finish_non_exhaustive()
            }
        }
    };
}
use silent_debug;

//! Users.

use strum::FromRepr;

/// Whether the user was approved. The numbers are those of the contract and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRepr)]
#[repr(i16)]
pub enum ApprovalStatus {
    Pending = 1,
    Approved = 2,
    Rejected = 3,
}

impl ApprovalStatus {
    /// A number from a newer version reads as rejected, so that it lets nobody in.
    pub fn from_number(number: i16) -> Self {
        Self::from_repr(number).unwrap_or(Self::Rejected)
    }
}

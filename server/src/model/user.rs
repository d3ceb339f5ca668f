//! Users.

/// Whether somebody has let the user in. The numbers are those of the contract and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalStatus {
    Pending = 1,
    Approved = 2,
    Rejected = 3,
}

impl ApprovalStatus {
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// A number from a newer version reads as rejected: it lets nobody in.
    pub const fn from_number(number: i16) -> Self {
        match number {
            1 => Self::Pending,
            2 => Self::Approved,
            _ => Self::Rejected,
        }
    }
}

//! Callers: the services that call Lanyard, and what each of them may do.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use strum::{IntoStaticStr, VariantArray};

use super::id::CallerId;

/// The right to call one group of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[repr(u8)]
pub enum Grant {
    #[strum(serialize = "session.create")]
    SessionCreate,
    #[strum(serialize = "session.verify")]
    SessionVerify,
    #[strum(serialize = "session.read")]
    SessionRead,
    #[strum(serialize = "session.write")]
    SessionWrite,
    #[strum(serialize = "user.read")]
    UserRead,
    #[strum(serialize = "user.write")]
    UserWrite,
    #[strum(serialize = "user.self")]
    UserSelf,
    #[strum(serialize = "attribute.read")]
    AttributeRead,
    #[strum(serialize = "attribute.write")]
    AttributeWrite,
    #[strum(serialize = "audit.read")]
    AuditRead,
    #[strum(serialize = "definition.read")]
    DefinitionRead,
    #[strum(serialize = "definition.write")]
    DefinitionWrite,
    #[strum(serialize = "link.read")]
    LinkRead,
    #[strum(serialize = "link.write")]
    LinkWrite,
    #[strum(serialize = "link.lookup")]
    LinkLookup,
    #[strum(serialize = "platform.auth")]
    PlatformAuth,
}

impl Grant {
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name that operators use and that the database stores.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such grant")]
pub struct ParseGrantError;

impl FromStr for Grant {
    type Err = ParseGrantError;

    fn from_str(name: &str) -> Result<Self, ParseGrantError> {
        Self::ALL.iter().copied().find(|grant| grant.name() == name).ok_or(ParseGrantError)
    }
}

/// A set of grants.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Grants(u32);

impl Grants {
    pub const NONE: Self = Self(0);

    pub fn all() -> Self {
        Grant::ALL.iter().copied().collect()
    }

    #[must_use]
    pub const fn with(self, grant: Grant) -> Self {
        Self(self.0 | 1 << grant as u8)
    }

    pub const fn contains(self, grant: Grant) -> bool {
        self.0 & 1 << grant as u8 != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Grant> {
        Grant::ALL.iter().copied().filter(move |grant| self.contains(*grant))
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        grants.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Grants {
    /// Comma-separated names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, grant) in self.iter().enumerate() {
            write!(f, "{}{grant}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromStr for Grants {
    type Err = ParseGrantError;

    /// What `Display` writes.
    fn from_str(names: &str) -> Result<Self, ParseGrantError> {
        names.split(',').filter(|name| !name.is_empty()).map(str::parse::<Grant>).collect()
    }
}

/// How a calling service proves who it is.
#[derive(Clone, Copy)]
pub enum CallerCredential<'a> {
    /// `authorization: Bearer ...`
    Key(&'a str),
    /// The only SPIFFE URI of a client certificate that TLS has verified.
    Certificate { spiffe_id: &'a str },
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    pub id: CallerId,
    pub name: String,
    pub granted: Grants,
    pub apps: Apps,
    pub flags: Flags,
    /// Maximum concurrent calls.
    pub max_in_flight: u32,
    /// Calls in progress. Shared by all copies of this caller, so that a reload does not reset it.
    pub in_flight: Arc<AtomicU32>,
}

impl Caller {
    pub fn grants(&self, grant: Grant) -> bool {
        self.granted.contains(grant)
    }
}

/// The apps that a caller may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Apps {
    All,
    Only(Vec<String>),
}

impl Apps {
    pub fn contain(&self, app: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(apps) => apps.iter().any(|allowed| allowed == app),
        }
    }
}

impl From<&str> for Apps {
    /// `*`, or comma-separated names.
    fn from(text: &str) -> Self {
        if text == "*" {
            return Self::All;
        }
        Self::Only(text.split(',').filter(|app| !app.is_empty()).map(str::to_owned).collect())
    }
}

impl fmt::Display for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Only(apps) => f.write_str(&apps.join(",")),
        }
    }
}

/// Privileges of a caller beyond its grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The user's address that it reports is trusted.
    pub may_assert_client_address: bool,
    /// It may act for super-users. Without this, their tokens can only be verified.
    pub may_relay_super_users: bool,
}

impl Flags {
    const ASSERT: &'static str = "may_assert_client_address";
    const RELAY: &'static str = "may_relay_super_users";
    pub const NAMES: [&'static str; 2] = [Self::ASSERT, Self::RELAY];
}

/// The text names no flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such flag")]
pub struct ParseFlagError;

impl FromStr for Flags {
    type Err = ParseFlagError;

    /// Comma-separated names.
    fn from_str(names: &str) -> Result<Self, ParseFlagError> {
        let mut flags = Self::default();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            match name {
                Self::ASSERT => flags.may_assert_client_address = true,
                Self::RELAY => flags.may_relay_super_users = true,
                _ => return Err(ParseFlagError),
            }
        }
        Ok(flags)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = [(self.may_assert_client_address, Self::ASSERT), (self.may_relay_super_users, Self::RELAY)];
        let names: Vec<&str> = set.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_and_flags_read_back_from_their_text() {
        for text in ["*", "", "CRM", "CRM,default"] {
            assert_eq!(Apps::from(text).to_string(), text);
        }
        assert!(
            Apps::from("CRM,default").contain("CRM")
                && !Apps::from("CRM").contain("default")
                && !Apps::from("").contain("CRM")
        );
        for text in ["", "may_assert_client_address", "may_assert_client_address,may_relay_super_users"] {
            assert_eq!(text.parse::<Flags>().unwrap().to_string(), text);
        }
        assert_eq!("may_do_anything".parse::<Flags>(), Err(ParseFlagError));
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_reads_back_from_its_text() {
        for grant in Grant::ALL.iter().copied() {
            let alone = Grants::NONE.with(grant);
            assert_eq!(alone.iter().collect::<Vec<_>>(), [grant]);
            assert_eq!(grant.to_string().parse(), Ok(grant));
            assert_eq!(alone.to_string().parse(), Ok(alone));
        }
        assert_eq!(Grants::all().to_string().parse(), Ok(Grants::all()));
        assert_eq!("".parse(), Ok(Grants::NONE));
        assert_eq!("session.verify,everything".parse::<Grants>(), Err(ParseGrantError));
    }
}

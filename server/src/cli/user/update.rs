//! `lanyard user update`.

use clap::Args;
use lanyard_client::prost_types::{FieldMask, Timestamp};
use lanyard_client::v1::{self, UpdateUserRequest};

use super::{show, user_id};
use crate::cli::connection::Acting;
use crate::cli::exit::Outcome;
use crate::cli::output::Output;
use crate::cli::when::future;

/// Change a user: what is given, and nothing else
#[derive(Args)]
pub(super) struct Update {
    /// Name or ID (usr_...); another than oneself needs a super-user [default: the acting user]
    user: Option<String>,
    #[command(flatten)]
    changes: Changes,
    /// Refuse if somebody changed the user since this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct Changes {
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    #[arg(long)]
    email: Option<String>,
    /// New name; super-users only, as all below
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    #[arg(long, value_name = "BOOL")]
    super_user: Option<bool>,
    /// Must choose another password at the next login
    #[arg(long, value_name = "BOOL")]
    must_change: Option<bool>,
    /// When the password expires: a time (RFC 3339), how long from now on, or `never`
    #[arg(long, value_name = "WHEN", value_parser = future_or_never)]
    password_expires: Option<Expiry>,
    /// Network (CIDR) or address that the user may come from, in the place of those so far; can be given often
    #[arg(long, value_name = "NETWORK")]
    allowed_network: Vec<String>,
    /// The user may come from anywhere
    #[arg(long, conflicts_with = "allowed_network")]
    any_network: bool,
}

#[derive(Clone, Copy)]
struct Expiry(Option<Timestamp>);

pub(super) async fn run(update: Acting<Update>, output: Output) -> Outcome {
    let (Update { user, changes, etag }, subject) = update.connect().await?;
    let user_id = match user {
        Some(user) => user_id(&subject, &user).await?,
        None => String::new(),
    };
    let (user, paths) = changes.into_user(v1::User { user_id, etag, ..v1::User::default() });
    let request =
        UpdateUserRequest { user: Some(user), update_mask: Some(FieldMask { paths }), ..UpdateUserRequest::default() };
    show(subject.update_user(request).await?, output)
}

impl Changes {
    /// Returns the given fields and the paths of their update mask.
    fn into_user(self, mut user: v1::User) -> (v1::User, Vec<String>) {
        let mut paths = Vec::new();
        let mut change = |path: &str| paths.push(path.to_owned());
        macro_rules! take {
            ($($given:ident => $field:ident),*) => {
                $(if let Some(value) = self.$given {
                    user.$field = value;
                    change(stringify!($field));
                })*
            };
        }
        take!(display_name => display_name, email => email, username => username);
        take!(super_user => is_super_user, must_change => password_must_change);
        if let Some(Expiry(time)) = self.password_expires {
            user.password_expire_time = time;
            change("password_expire_time");
        }
        if self.any_network || !self.allowed_network.is_empty() {
            user.allowed_networks = self.allowed_network;
            change("allowed_networks");
        }
        (user, paths)
    }
}

fn future_or_never(text: &str) -> Result<Expiry, String> {
    if text == "never" { Ok(Expiry(None)) } else { future(text).map(|time| Expiry(Some(time))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_names_what_was_given_and_nothing_else() {
        let nothing = Changes {
            display_name: None,
            email: None,
            username: None,
            super_user: None,
            must_change: None,
            password_expires: None,
            allowed_network: Vec::new(),
            any_network: false,
        };
        let changes = Changes {
            email: Some(String::new()),
            super_user: Some(false),
            password_expires: Some(Expiry(None)),
            any_network: true,
            ..nothing
        };
        let (_, paths) = changes.into_user(v1::User::default());
        assert_eq!(paths, ["email", "is_super_user", "password_expire_time", "allowed_networks"]);
    }
}

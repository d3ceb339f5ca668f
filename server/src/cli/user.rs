//! `lanyard user`.

mod update;

use crate::app::user::UserChange;
use clap::{Args, Subcommand, ValueEnum};
use lanyard_client::Subject;
use lanyard_client::prost_types::Timestamp;
use lanyard_client::secrecy::ExposeSecret;
use lanyard_client::v1::{self, CreateUserRequest, ListUsersRequest};
use serde_json::json;

use super::connection::{Acting, Limit};
use super::exit::{Failure, Outcome};
use super::operator::Operator;
use super::output::{Output, say, say_json};
use super::secrets::Passwords;
use super::settings::Settings;
use super::totp::{self, Totp};
use super::view::UserView;
use super::when::future;

/// The people known to the SSO
#[derive(Args)]
pub(crate) struct User {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Bootstrap(Bootstrap),
    Create(Acting<Create>),
    Get(Acting<Whom>),
    Current(Acting<Nothing>),
    List(Acting<List>),
    Update(Acting<update::Update>),
    Delete(Acting<Delete>),
    Lock(Acting<Lock>),
    Unlock(Acting<Unlock>),
    Approve(Acting<Approve>),
    Reject(Acting<Reject>),
    SetPassword(Acting<SetPassword>),
    ChangePassword(Acting<ChangePassword>),
    Totp(Totp),
}

/// Make a super-user in the database itself: the first one has nobody who could (`LANYARD_NEW_PASSWORD`)
#[derive(Args)]
#[command(after_help = "\
Example:
  lanyard user bootstrap alice --config /etc/lanyard/lanyard.toml")]
struct Bootstrap {
    username: String,
    /// How the person wants to be called
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    display_name: String,
    #[command(flatten)]
    passwords: Passwords,
    #[command(flatten)]
    settings: Settings,
}

/// Add a user (`LANYARD_NEW_PASSWORD`); super-users only
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag on the command line")]
struct Create {
    username: String,
    /// How the person wants to be called
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    display_name: String,
    #[arg(long, default_value = "", hide_default_value = true)]
    email: String,
    /// May do everything for everybody
    #[arg(long)]
    super_user: bool,
    /// Must choose another password at the first login
    #[arg(long)]
    must_change: bool,
    /// When the password expires: a time (RFC 3339) or how long from now on
    #[arg(long, value_name = "WHEN", value_parser = future)]
    password_expires: Option<Timestamp>,
    /// Network (CIDR) or address that the user may come from; can be given often
    #[arg(long, value_name = "NETWORK")]
    allowed_network: Vec<String>,
    /// Nobody has let the user in yet: see `user approve`
    #[arg(long)]
    pending: bool,
    /// No password: none can be used until one is set
    #[arg(long, conflicts_with = "password_stdin")]
    no_password: bool,
    #[command(flatten)]
    passwords: Passwords,
}

/// Show a user; super-users only
#[derive(Args)]
struct Whom {
    /// Name or ID (usr_...)
    user: String,
}

/// Show the acting user
#[derive(Args)]
struct Nothing {}

/// List users in the order of their creation; super-users only
#[derive(Args)]
struct List {
    /// Only those in whose name, display name or email this text stands
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    search: String,
    /// Only of this approval status
    #[arg(long)]
    status: Option<Status>,
    /// Only locked users, or only those who are not
    #[arg(long, value_name = "BOOL")]
    locked: Option<bool>,
    /// Only super-users, or only regular ones
    #[arg(long, value_name = "BOOL")]
    super_user: Option<bool>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Pending,
    Approved,
    Rejected,
}

/// Verbs whose only argument is a user.
macro_rules! verbs_on_a_user {
    ($($(#[$doc:meta])* $verb:ident)*) => {
        $($(#[$doc])*
        #[derive(Args)]
        struct $verb {
            /// Name or ID (usr_...)
            user: String,
        })*
    };
}

verbs_on_a_user! {
    /// Remove a user with all attributes and end their sessions; super-users only
    Delete
    /// Keep a user out and end their sessions; super-users only
    Lock
    /// Let a locked user log in again; super-users only
    Unlock
    /// Let a user in who was waiting or rejected; super-users only
    Approve
    /// Keep a user out for good and end their sessions; super-users only
    Reject
}

/// Give a user a new password (`LANYARD_NEW_PASSWORD`) and end their sessions; super-users only
#[derive(Args)]
struct SetPassword {
    /// Name or ID (usr_...)
    user: String,
    /// They must choose another one at the next login
    #[arg(long)]
    must_change: bool,
    #[command(flatten)]
    passwords: Passwords,
}

/// Replace the own password (`LANYARD_PASSWORD`) by a new one (`LANYARD_NEW_PASSWORD`) and end all other own sessions
#[derive(Args)]
struct ChangePassword {
    #[command(flatten)]
    passwords: Passwords,
}

impl User {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        match self.verb {
            Verb::Bootstrap(bootstrap) => bootstrap.run(output).await,
            Verb::Create(create) => self::create(create, output).await,
            Verb::Get(get) => {
                let (Whom { user }, subject) = get.connect().await?;
                let is_id = user.starts_with("usr_");
                let user = if is_id { subject.get_user(&user).await? } else { subject.get_user_by_name(&user).await? };
                show(user, output)
            }
            Verb::Current(current) => show(current.connect().await?.1.current_user().await?, output),
            Verb::List(list) => self::list(list, output).await,
            Verb::Update(update) => update::run(update, output).await,
            Verb::Delete(delete) => {
                let (Delete { user }, subject) = delete.connect().await?;
                ended(subject.delete_user(&user_id(&subject, &user).await?).await?, "The user is gone.", output)
            }
            Verb::Lock(lock) => {
                let (Lock { user }, subject) = lock.connect().await?;
                changed(subject.lock_user(&user_id(&subject, &user).await?).await?, output)
            }
            Verb::Unlock(unlock) => {
                let (Unlock { user }, subject) = unlock.connect().await?;
                show(subject.unlock_user(&user_id(&subject, &user).await?).await?, output)
            }
            Verb::Approve(approve) => {
                let (Approve { user }, subject) = approve.connect().await?;
                show(subject.approve_user(&user_id(&subject, &user).await?).await?, output)
            }
            Verb::Reject(reject) => {
                let (Reject { user }, subject) = reject.connect().await?;
                changed(subject.reject_user(&user_id(&subject, &user).await?).await?, output)
            }
            Verb::SetPassword(set) => {
                let (SetPassword { user, must_change, passwords }, subject) = set.connect().await?;
                let user = user_id(&subject, &user).await?;
                let password = passwords.chosen("New password: ")?;
                ended(subject.set_password(&user, &password, must_change).await?, "The password is set.", output)
            }
            Verb::ChangePassword(change) => {
                let (ChangePassword { passwords }, subject) = change.connect().await?;
                let old = passwords.present("Present password: ")?;
                let new = passwords.chosen("New password: ")?;
                ended(subject.change_password(&old, &new).await?, "The password is changed.", output)
            }
            Verb::Totp(totp) => totp::run(totp, output).await,
        }
    }
}

impl Bootstrap {
    async fn run(self, output: Output) -> Outcome {
        let password = self.passwords.chosen(&format!("Password for {}: ", self.username))?;
        let operator = Operator::open(&self.settings).await?;
        let changes = vec![
            UserChange::Username(self.username.clone()),
            UserChange::DisplayName(self.display_name),
            UserChange::IsSuperUser(true),
        ];
        let password = password.expose_secret().to_owned().into();
        let user = operator.app.create_user_by_operator(&operator.context, changes, password).await?;
        operator.close().await?;
        let user_id = user.user_id.to_string();
        let text = format!("{} ({user_id}) is a super-user.", user.username);
        output.done(&json!({ "user_id": user_id, "username": user.username, "is_super_user": true }), &text)
    }
}

async fn create(create: Acting<Create>, output: Output) -> Outcome {
    let (create, subject) = create.connect().await?;
    let password = if create.no_password {
        String::new()
    } else {
        let prompt = format!("Password for {}: ", create.username);
        create.passwords.chosen(&prompt)?.expose_secret().to_owned()
    };
    let status = if create.pending { v1::ApprovalStatus::Pending } else { v1::ApprovalStatus::Approved };
    let request = CreateUserRequest {
        user: Some(v1::User {
            username: create.username,
            display_name: create.display_name,
            email: create.email,
            is_super_user: create.super_user,
            password_must_change: create.must_change,
            password_expire_time: create.password_expires,
            allowed_networks: create.allowed_network,
            ..v1::User::default()
        }),
        password,
        approval_status: status.into(),
        ..CreateUserRequest::default()
    };
    show(subject.create_user(request).await?, output)
}

async fn list(list: Acting<List>, output: Output) -> Outcome {
    let (list, subject) = list.connect().await?;
    let status = match list.status {
        None => v1::ApprovalStatus::Unspecified,
        Some(Status::Pending) => v1::ApprovalStatus::Pending,
        Some(Status::Approved) => v1::ApprovalStatus::Approved,
        Some(Status::Rejected) => v1::ApprovalStatus::Rejected,
    };
    let request = ListUsersRequest {
        search: list.search,
        approval_status: status.into(),
        is_locked: list.locked,
        is_super_user: list.super_user,
        page_size: list.limit.page_size(),
        ..ListUsersRequest::default()
    };
    let (users, has_more) = list.limit.collect(subject.list_users(request)).await?;
    let views: Vec<_> = users.into_iter().map(UserView::from).collect();
    output.list("users", &views, has_more)
}

/// Resolves a name or ID to the ID. Looking up a name needs a super-user.
pub(crate) async fn user_id(subject: &Subject, user: &str) -> Result<String, Failure> {
    if user.starts_with("usr_") {
        return Ok(user.to_owned());
    }
    Ok(subject.get_user_by_name(user).await?.user_id)
}

fn show(user: v1::User, output: Output) -> Outcome {
    output.one(&UserView::from(user))
}

fn changed(change: lanyard_client::UserChange, output: Output) -> Outcome {
    let count = change.revoked_count;
    if output.is_json() {
        return say_json(&json!({ "user": UserView::from(change.user), "revoked_count": count }));
    }
    show(change.user, output)?;
    say(&format!("Sessions ended: {count}."))
}

/// Reports a change that ends sessions.
pub(crate) fn ended(count: u64, text: &str, output: Output) -> Outcome {
    output.done(&json!({ "revoked_count": count }), &format!("{text} Sessions ended: {count}."))
}

//! `lanyard user totp`.

use clap::{Args, Subcommand};
use lanyard_client::secrecy::SecretString;
use serde_json::json;

use super::connection::Acting;
use super::exit::{Exit, Failure, Outcome};
use super::output::Output;
use super::secrets::{Passwords, ask, somebody_is_there};
use super::user::{ended, user_id};

/// The second factor
#[derive(Args)]
pub(crate) struct Totp {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Enroll(Acting<Enroll>),
    Confirm(Acting<Confirm>),
    Disable(Acting<Disable>),
}

/// Make a secret for an authenticator app and show it, once; it counts after `confirm`
#[derive(Args)]
struct Enroll {
    #[command(flatten)]
    passwords: Passwords,
}

/// Turn the second factor on with a code of the app, and end all other own sessions
#[derive(Args)]
struct Confirm {
    /// The six digits; asked for at a terminal if not given
    code: Option<String>,
}

/// Turn the second factor off, and end sessions
#[derive(Args)]
struct Disable {
    /// Somebody else's (name or usr_...); super-users only, and without a password
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    passwords: Passwords,
}

pub(crate) async fn run(totp: Totp, output: Output) -> Outcome {
    match totp.verb {
        Verb::Enroll(enroll) => {
            let (Enroll { passwords }, subject) = enroll.connect().await?;
            let made = subject.enroll_totp(&passwords.present("Password: ")?).await?;
            let json = json!({ "secret": made.secret, "otpauth_uri": made.otpauth_uri });
            let text = format!(
                "secret  {}\nuri     {}\n\nAdd it to an authenticator app, then: lanyard user totp confirm",
                made.secret, made.otpauth_uri
            );
            output.done(&json, &text)
        }
        Verb::Confirm(confirm) => {
            let (Confirm { code }, subject) = confirm.connect().await?;
            let code = match code {
                Some(code) => SecretString::from(code),
                None if somebody_is_there() => ask("Code: ")?,
                None => return Err(Failure::new(Exit::Usage, "no code: give the six digits")),
            };
            ended(subject.confirm_totp(&code).await?, "The second factor is on.", output)
        }
        Verb::Disable(disable) => {
            let (Disable { user, passwords }, subject) = disable.connect().await?;
            let count = match user {
                Some(user) => subject.disable_totp_of(&user_id(&subject, &user).await?).await?,
                None => subject.disable_totp(&passwords.present("Password: ")?).await?,
            };
            ended(count, "The second factor is off.", output)
        }
    }
}

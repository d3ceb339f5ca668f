//! `lanyard session`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use lanyard_client::secrecy::ExposeSecret;
use lanyard_client::v1::create_session_request::Credential;
use lanyard_client::v1::revoke_sessions_request::Target;
use lanyard_client::v1::{
    BasicAuthCredential, ErrorReason, JwtCredential, ListSessionsRequest, PasswordCredential, PlatformCredential,
    SessionState,
};
use lanyard_client::{Client, Login, Ust};
use serde_json::json;

use super::connection::{Acting, Holder, Limit, Remote, SavedSession};
use super::exit::{Exit, Failure, Outcome};
use super::output::{Output, say, say_json};
use super::secrets::{Passwords, ask, secret_file, somebody_is_there};
use super::user::user_id;
use super::view::{SessionView, TokenView, VerdictView};

/// Maximum tokens per call.
const BATCH: usize = 500;

/// Log in, verify, look, renew, log out
#[derive(Args)]
pub(crate) struct Session {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Login(Remote<LoginArgs>),
    Verify(Remote<Verify>),
    VerifyBatch(Remote<VerifyBatch>),
    Get(Acting<Get>),
    List(Acting<List>),
    Renew(Remote<Renew>),
    Revoke(Remote<Revoke>),
    RevokeAll(Acting<RevokeAll>),
}

/// Log a user in and show the token (UST), once
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanyard session login --username demo --save
  printf '%s\\n' \"$PASSWORD\" | lanyard session login --username demo --password-stdin --json
  lanyard session login --basic-auth reporting --secret-file reporting.secret
  lanyard session login --jwt --secret-file token.jwt
  lanyard session login --platform micetro --username alice --save")]
struct LoginArgs {
    #[command(flatten)]
    who: Who,
    /// Log in with name and password of this platform
    #[arg(long, value_name = "PLATFORM", conflicts_with_all = ["basic_auth", "jwt"])]
    platform: Option<String>,
    /// With --platform: what tells the sessions of one user apart
    #[arg(long, value_name = "TEXT", requires = "platform")]
    unique_name: Option<String>,
    /// Keep the token for the commands that follow, in a file that only you can read, instead of showing it
    #[arg(long)]
    save: bool,
    /// Code of the second factor; asked for at a terminal where it is needed
    #[arg(long, value_name = "CODE")]
    totp: Option<String>,
    /// Choose a new password with this login (`LANYARD_NEW_PASSWORD`); asked for at a terminal where it is needed
    #[arg(long, conflicts_with_all = ["basic_auth", "jwt", "platform"])]
    new_password: bool,
    /// The secret of the definition (else `LANYARD_SECRET`) or the token (else `LANYARD_JWT`) is in this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["username", "password_stdin"])]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    passwords: Passwords,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Who {
    /// Name of the user, who logs in with a password: their own here, or with --platform the one there
    #[arg(long, short)]
    username: Option<String>,
    /// Log in with this username of a basic-auth definition and its secret, as the user that it is linked to
    #[arg(long, value_name = "USERNAME", conflicts_with = "totp")]
    basic_auth: Option<String>,
    /// Log in with a JSON web token, as the user that its definition is linked to
    #[arg(long)]
    jwt: bool,
}

impl LoginArgs {
    /// Reads the credential, or prompts for it.
    fn credential(&self) -> Result<Credential, Failure> {
        let passwords = self.passwords;
        let totp_code = self.totp.clone().unwrap_or_default();
        let secret = |prompt: &str, variable| match &self.secret_file {
            Some(file) => secret_file(file),
            None => passwords.other(prompt, variable),
        };
        Ok(match &self.who {
            Who { username: Some(username), .. } if self.platform.is_some() => {
                Credential::Platform(PlatformCredential {
                    platform: self.platform.clone().unwrap_or_default(),
                    username: username.clone(),
                    password: passwords.present(&format!("Password of {username}: "))?.expose_secret().to_owned(),
                    totp_code,
                    unique_name: self.unique_name.clone().unwrap_or_default(),
                })
            }
            Who { username: Some(username), .. } => Credential::Password(PasswordCredential {
                username: username.clone(),
                password: passwords.present(&format!("Password of {username}: "))?.expose_secret().to_owned(),
                totp_code,
                new_password: if self.new_password { ask_new_password(passwords)? } else { String::new() },
            }),
            Who { basic_auth: Some(username), .. } => Credential::BasicAuth(BasicAuthCredential {
                username: username.clone(),
                secret: secret(&format!("Secret of {username}: "), "LANYARD_SECRET")?.expose_secret().to_owned(),
            }),
            Who { .. } => Credential::Jwt(JwtCredential {
                token: secret("Token: ", "LANYARD_JWT")?.expose_secret().to_owned(),
                totp_code,
            }),
        })
    }
}

/// Ask whether a token is good; exit code 7 if it is not
#[derive(Args)]
struct Verify {
    /// Do not count this as the user's activity
    #[arg(long)]
    peek: bool,
    #[command(flatten)]
    holder: Holder,
}

/// Ask about many tokens, one a line of standard input; exit code 7 if one is not good
#[derive(Args)]
struct VerifyBatch {
    /// Do not count this as the users' activity
    #[arg(long)]
    peek: bool,
}

/// Show a session
#[derive(Args)]
struct Get {
    /// Session (ses_...); a super-user can name anybody's [default: the own]
    session_id: Option<String>,
}

/// List sessions, newest first
#[derive(Args)]
struct List {
    /// Sessions of this user (name or usr_...); another than oneself needs a super-user
    #[arg(long, value_name = "USER", conflicts_with = "all_users")]
    user: Option<String>,
    /// Sessions of everybody; needs a super-user
    #[arg(long)]
    all_users: bool,
    /// Only in this state
    #[arg(long)]
    state: Option<State>,
    /// Only those that were logged in to this app
    #[arg(long, value_name = "APP")]
    in_app: Option<String>,
    /// Only those that are logged in to this platform
    #[arg(long, value_name = "PLATFORM")]
    on_platform: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    Active,
    Expired,
    Revoked,
}

/// Give the own session more time
#[derive(Args)]
struct Renew {
    /// Replace the token too; the old one keeps working for a short grace
    #[arg(long)]
    rotate: bool,
    #[command(flatten)]
    holder: Holder,
}

/// End a session: log out
#[derive(Args)]
struct Revoke {
    /// Session (ses_...); a super-user can name anybody's [default: the own]
    session_id: Option<String>,
    #[command(flatten)]
    holder: Holder,
}

/// End many sessions: all own ones, or as a super-user others
#[derive(Args)]
struct RevokeAll {
    #[command(flatten)]
    target: RevokeTarget,
    /// Spare the session that does it
    #[arg(long)]
    keep_current: bool,
}

#[derive(Args)]
#[group(multiple = false)]
struct RevokeTarget {
    /// Those of this user (name or usr_...)
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Those that were logged in to this app
    #[arg(long, value_name = "APP")]
    in_app: Option<String>,
    /// Those that began with the definition of this number
    #[arg(long, value_name = "AUTH_ID")]
    of_definition: Option<i64>,
    /// Those that are logged in to this platform
    #[arg(long, value_name = "PLATFORM")]
    on_platform: Option<String>,
    /// All there are
    #[arg(long)]
    everyone: bool,
}

impl Session {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        match self.verb {
            Verb::Login(login) => log_in(login, output).await,
            Verb::Verify(verify) => self::verify(verify, output).await,
            Verb::VerifyBatch(verify) => verify_batch(verify, output).await,
            Verb::Get(get) => {
                let (get, subject) = get.connect().await?;
                let session = subject.get_session(get.session_id.as_deref().unwrap_or_default()).await?;
                output.one(&SessionView::from(session))
            }
            Verb::List(list) => self::list(list, output).await,
            Verb::Renew(renew) => self::renew(renew, output).await,
            Verb::Revoke(revoke) => self::revoke(revoke, output).await,
            Verb::RevokeAll(revoke) => revoke_all(revoke, output).await,
        }
    }
}

async fn log_in(login: Remote<LoginArgs>, output: Output) -> Outcome {
    let LoginArgs { save, passwords, .. } = &login.verb;
    let credential = login.verb.credential()?;
    let made = try_to_log_in(&login.connect().await?, credential, *passwords).await?;
    if *save {
        SavedSession::write(&login.connection, &made.session.username, &made.ust)?;
    }
    let ust = (!save).then(|| made.ust.expose().to_owned());
    let view = TokenView::of_login(ust, made);
    for warning in &view.warnings {
        output.note(&format!("warning: {}", warning.text()));
    }
    if *save {
        output.note(&format!("The token is in {}.", SavedSession::path(&login.connection).display()));
    }
    output.token(&view)
}

/// Prompts for a second factor or new password that the server requires.
async fn try_to_log_in(client: &Client, mut credential: Credential, passwords: Passwords) -> Result<Login, Failure> {
    loop {
        let answer = client.create_session(credential.clone()).await;
        let failure = match answer {
            Ok(login) => return Ok(login),
            Err(error) => Failure::from(error),
        };
        if !somebody_is_there() {
            return Err(failure);
        }
        match &mut credential {
            Credential::Password(PasswordCredential { totp_code, .. })
            | Credential::Jwt(JwtCredential { totp_code, .. })
            | Credential::Platform(PlatformCredential { totp_code, .. })
                if failure.is(ErrorReason::TotpRequired) && totp_code.is_empty() =>
            {
                ask("Code of the second factor: ")?.expose_secret().clone_into(totp_code);
            }
            Credential::Password(credential)
                if failure.is(ErrorReason::PasswordChangeRequired) && credential.new_password.is_empty() =>
            {
                credential.new_password = ask_new_password(passwords)?;
            }
            _ => return Err(failure),
        }
    }
}

fn ask_new_password(passwords: Passwords) -> Result<String, Failure> {
    Ok(passwords.chosen("New password: ")?.expose_secret().to_owned())
}

async fn verify(verify: Remote<Verify>, output: Output) -> Outcome {
    let ust = verify.verb.holder.ust(&verify.connection)?;
    let client = verify.connect().await?;
    let verdict = if verify.verb.peek { client.peek(&ust).await? } else { client.verify(&ust).await? };
    let view = VerdictView::from(verdict);
    match &view.session {
        _ if output.is_json() => say_json(&view)?,
        Some(session) => say(&view.text).and_then(|_| output.one(session))?,
        None => say(&view.text)?,
    };
    Ok(if view.active { Exit::Ok } else { Exit::NotGood })
}

async fn verify_batch(verify: Remote<VerifyBatch>, output: Output) -> Outcome {
    let tokens: Vec<Ust> =
        std::io::stdin().lines().map(|line| Ok(Ust::from(line?.trim()))).collect::<Result<_, Failure>>()?;
    let client = verify.connect().await?;
    let mut verdicts = Vec::with_capacity(tokens.len());
    for batch in tokens.chunks(BATCH) {
        let answer =
            if verify.verb.peek { client.batch_peek(batch).await? } else { client.batch_verify(batch).await? };
        verdicts.extend(answer.into_iter().map(VerdictView::from));
    }
    if output.is_json() {
        say_json(&json!({ "verdicts": verdicts }))?;
    } else {
        for verdict in &verdicts {
            say(&verdict.line())?;
        }
    }
    Ok(if verdicts.iter().all(|verdict| verdict.active) { Exit::Ok } else { Exit::NotGood })
}

async fn list(list: Acting<List>, output: Output) -> Outcome {
    let (list, subject) = list.connect().await?;
    let state = match list.state {
        None => SessionState::Unspecified,
        Some(State::Active) => SessionState::Active,
        Some(State::Expired) => SessionState::Expired,
        Some(State::Revoked) => SessionState::Revoked,
    };
    let request = ListSessionsRequest {
        user_id: match &list.user {
            Some(user) => user_id(&subject, user).await?,
            None => String::new(),
        },
        all_users: list.all_users,
        state: state.into(),
        app: list.in_app.unwrap_or_default(),
        platform: list.on_platform.unwrap_or_default(),
        page_size: list.limit.page_size(),
        ..ListSessionsRequest::default()
    };
    let (sessions, has_more) = list.limit.collect(subject.list_sessions(request)).await?;
    let views: Vec<_> = sessions.into_iter().map(SessionView::from).collect();
    output.list("sessions", &views, has_more)
}

async fn renew(renew: Remote<Renew>, output: Output) -> Outcome {
    let Renew { rotate, holder } = &renew.verb;
    let ust = holder.ust(&renew.connection)?;
    let subject = renew.connect().await?.on_behalf_of(&ust);
    let renewal = if *rotate { subject.rotate().await? } else { subject.renew().await? };
    let mut shown = renewal.ust.as_ref().map(|ust| ust.expose().to_owned());
    // The saved token expires after the grace period.
    if let Some(new) = renewal.ust.as_ref().filter(|_| holder.is_saved()) {
        SavedSession::write(&renew.connection, &renewal.session.username, new)?;
        output.note(&format!("The new token is in {}.", SavedSession::path(&renew.connection).display()));
        shown = None;
    }
    output.token(&TokenView::of_renewal(shown, renewal))
}

async fn revoke(revoke: Remote<Revoke>, output: Output) -> Outcome {
    let Revoke { session_id, holder } = &revoke.verb;
    let ust = holder.ust(&revoke.connection)?;
    let subject = revoke.connect().await?.on_behalf_of(&ust);
    let was_live = subject.revoke_session(session_id.as_deref().unwrap_or_default()).await?;
    output.done(
        &json!({ "revoked": was_live }),
        if was_live { "The session has ended." } else { "It had ended already." },
    )
}

async fn revoke_all(revoke: Acting<RevokeAll>, output: Output) -> Outcome {
    let (RevokeAll { target, keep_current }, subject) = revoke.connect().await?;
    let target = match target {
        RevokeTarget { user: Some(user), .. } => Some(Target::UserId(user_id(&subject, &user).await?)),
        RevokeTarget { in_app: Some(app), .. } => Some(Target::App(app)),
        RevokeTarget { of_definition: Some(auth_id), .. } => Some(Target::AuthId(auth_id)),
        RevokeTarget { on_platform: Some(platform), .. } => Some(Target::Platform(platform)),
        RevokeTarget { everyone: true, .. } => Some(Target::Everyone(true)),
        _ => None,
    };
    let count = subject.revoke_sessions(target, keep_current).await?;
    output.done(&json!({ "revoked_count": count }), &format!("Sessions ended: {count}."))
}

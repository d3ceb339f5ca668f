//! Platforms: external servers that sessions are logged in to. This module holds the configured platforms and seals
//! session credentials; `login::platform` logs in, `auth` hands credentials out.

pub mod auth;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::audit::Event;
use super::client::ClientInput;
use super::{App, Context};
use crate::config::{self, ConfigError, CredentialMode, PlatformExpiry, Policy};
use crate::crypto::Keyring;
use crate::error::{Error, Fault, Result};
use crate::model::audit::Operation;
use crate::model::id::SessionId;
use crate::model::session::RevokeReason;
use crate::store::{PlatformCredentialRow, SessionPlatformRow, StoredCredential};
use crate::upstream::{Micetro, Problem};

/// Credentials resealed per batch.
const RESEAL_BATCH: u64 = 500;
/// Concurrent logouts from platforms.
const LOGOUT_CONCURRENCY: usize = 8;

/// All configured platforms, by name and alias.
pub struct Platforms {
    by_name: HashMap<String, Arc<Platform>>,
}

/// A configured platform.
pub(in crate::app) struct Platform {
    pub(in crate::app) name: String,
    /// Base URL.
    pub(in crate::app) url: String,
    pub(in crate::app) config: config::Platform,
    pub(in crate::app) micetro: Micetro,
}

impl Platforms {
    /// Takes a validated configuration. Opens no connection and reads no file.
    pub fn new(configured: &BTreeMap<String, config::Platform>) -> Result<Self> {
        let mut by_name = HashMap::new();
        for (name, config) in configured {
            let origin = config.url.origin().map_err(Error::internal)?;
            let platform = Arc::new(Platform {
                name: name.clone(),
                url: origin.to_string(),
                config: config.clone(),
                micetro: Micetro::new(name, config, &origin),
            });
            by_name.extend(config.aliases.iter().map(|alias| (alias.clone(), Arc::clone(&platform))));
            by_name.insert(name.clone(), platform);
        }
        Ok(Self { by_name })
    }

    /// Finds a platform by name or alias.
    pub(in crate::app) fn find(&self, name: &str) -> Option<&Arc<Platform>> {
        self.by_name.get(name)
    }

    /// The platform of a session, if it is still configured under the same name and URL.
    pub(in crate::app) fn of(&self, session: &SessionPlatformRow) -> Option<&Arc<Platform>> {
        self.find_exact(&session.platform, &session.url)
    }

    fn find_exact(&self, name: &str, url: &str) -> Option<&Arc<Platform>> {
        self.find(name).filter(|platform| platform.name == name && platform.url == url)
    }

    /// Each platform once, without its aliases.
    fn all(&self) -> impl Iterator<Item = &Arc<Platform>> {
        let names: BTreeSet<&str> = self.by_name.values().map(|platform| platform.name.as_str()).collect();
        names.into_iter().filter_map(|name| self.find(name))
    }

    /// Checks that every configured `ca_file` can be read.
    pub fn check_files(&self) -> std::result::Result<(), ConfigError> {
        for platform in self.all() {
            platform.micetro.authorities().map_err(|problem| ConfigError::Invalid {
                key: format!("platforms.{}.ca_file", platform.name),
                problem,
            })?;
        }
        Ok(())
    }

    /// Queries the version of each platform, without credentials.
    pub async fn probe(&self) -> Vec<(String, Result<Option<String>>)> {
        let mut found = Vec::new();
        for platform in self.all() {
            let outcome = platform.micetro.look().await.map_err(|problem| match problem {
                Problem::Fault(error) => error,
                Problem::Refused { code } => Error::PlatformAnswerInvalid {
                    problem: "asks for a credential where it should not",
                    code,
                    source: Fault("answered 401".to_owned()),
                },
            });
            found.push((platform.name.clone(), outcome));
        }
        found
    }
}

impl Platform {
    /// The groups of a user with these roles; `None`: they may not log in.
    pub(in crate::app) fn groups(&self, roles: &[String]) -> Option<Vec<String>> {
        let prefix = self.config.required_role_prefix.as_str();
        let groups: BTreeSet<&str> = roles.iter().filter_map(|role| role.strip_prefix(prefix)).collect();
        let may_log_in = prefix.is_empty() || !groups.is_empty();
        may_log_in.then(|| groups.into_iter().filter(|group| !group.is_empty()).map(str::to_owned).collect())
    }

    /// The session limits of an app, capped by those of the platform.
    pub(in crate::app) fn capped_policy(&self, policy: Policy) -> Policy {
        let Some(after) = self.config.expires_after else { return policy };
        match self.config.expiry {
            PlatformExpiry::None => policy,
            PlatformExpiry::Fixed => {
                let absolute = policy.absolute.min(after);
                Policy { absolute, idle: policy.idle.min(absolute), ..policy }
            }
            PlatformExpiry::Activity => Policy { idle: policy.idle.min(after), ..policy },
        }
    }

    /// Whether the password may be stored with the platform credential.
    pub(in crate::app) fn keeps_password(&self) -> bool {
        self.config.keep_password && self.config.credential == CredentialMode::Bearer
    }
}

/// The platform of a session, as returned to callers.
#[derive(Clone, Debug, Default)]
pub struct SessionOnPlatform {
    pub name: String,
    /// Scheme, host and, if configured, port.
    pub url: String,
    pub host: Option<String>,
    pub version: Option<String>,
    pub unique_name: String,
    pub groups: Vec<String>,
}

impl From<SessionPlatformRow> for SessionOnPlatform {
    fn from(row: SessionPlatformRow) -> Self {
        Self {
            host: host_of(&row.url),
            name: row.platform,
            url: row.url,
            version: row.version,
            unique_name: row.unique_name,
            groups: serde_json::from_str(&row.groups).unwrap_or_default(),
        }
    }
}

fn host_of(url: &str) -> Option<String> {
    let origin = config::Platform::at(url).url.origin().ok()?;
    Some(origin.host().to_owned())
}

/// The sealed part of a platform credential.
#[derive(Serialize, Deserialize)]
pub(in crate::app) struct SealedCredential {
    /// The value of the `Authorization` header.
    pub(in crate::app) authorization: Zeroizing<String>,
    /// Username and password for another login, where the password may be kept.
    #[serde(rename = "again")]
    pub(in crate::app) relogin: Option<ReloginCredential>,
}

#[derive(Serialize, Deserialize)]
pub(in crate::app) struct ReloginCredential {
    pub(in crate::app) username: String,
    pub(in crate::app) password: Zeroizing<String>,
}

impl SealedCredential {
    /// Seals the credential for this session, platform and URL only.
    pub(in crate::app) fn seal(
        &self,
        keyring: &Keyring,
        platform: &SessionPlatformRow,
        generation: i32,
    ) -> Result<PlatformCredentialRow> {
        let text = Zeroizing::new(serde_json::to_vec(self).map_err(Error::internal)?);
        Ok(PlatformCredentialRow {
            session_id: platform.session_id,
            key_id: i32::from(keyring.current_seal_key()),
            generation,
            sealed: keyring.seal(&seal_context(platform), &text),
        })
    }

    pub(in crate::app) fn open(keyring: &Keyring, stored: &StoredCredential) -> Result<Self> {
        let text = keyring.open(&seal_context(&stored.platform), &stored.credential.sealed).map(Zeroizing::new);
        // The parser's error could quote the secret.
        serde_json::from_slice(&text.map_err(Error::internal)?)
            .map_err(|_| Error::internal("a sealed credential of a platform is unreadable"))
    }
}

fn seal_context(platform: &SessionPlatformRow) -> [&[u8]; 4] {
    [b"platform_credential", platform.session_id.as_bytes(), platform.platform.as_bytes(), platform.url.as_bytes()]
}

impl App {
    /// As [`Platforms::check_files`].
    pub fn check_platforms(&self) -> std::result::Result<(), ConfigError> {
        self.parts.platforms.check_files()
    }

    /// The platform of a session, as returned to callers.
    pub(in crate::app) async fn platform_of_session(&self, session: SessionId) -> Result<Option<SessionOnPlatform>> {
        Ok(self.parts.store.session_platform(session).await?.map(SessionOnPlatform::from))
    }

    /// Ends the sessions of platforms that are no longer configured, or not at that URL: nobody vouches for the server
    /// that their credentials are for. Returns how many were live.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn end_sessions_of_removed_platforms(&self, context: &Context) -> Result<u64> {
        let mut ended = 0;
        for (name, url) in self.parts.store.platforms_in_use().await? {
            if self.parts.platforms.find_exact(&name, &url).is_some() {
                continue;
            }
            let client = self.client(context, ClientInput::default())?;
            let event = Event::new(&client, Operation::SessionRevokeMany);
            let of = name.clone();
            let done = self.parts.store.write(move |tx| {
                let (event, name, url) = (event.clone(), of.clone(), url.clone());
                Box::pin(async move {
                    let (reason, now) = (RevokeReason::PlatformRemoved, tx.clock().now());
                    let ended = tx.revoke_sessions_of_platform(&name, Some(&url), None, reason, now).await?;
                    let detail = json!({ "platform": name, "cause": "platform_removed", "revoked": ended });
                    tx.audit(event.detail(detail));
                    Ok(ended)
                })
            });
            let done = done.await?;
            tracing::warn!(
                platform = name,
                revoked = done,
                "a platform is not configured any more: its sessions ended"
            );
            ended += done;
        }
        Ok(ended)
    }

    /// Logs deleted credentials out of their platforms, best effort, until `stop`.
    pub(in crate::app) async fn log_out_of_platforms(&self, stop: &tokio_util::sync::CancellationToken) {
        use futures::StreamExt;

        let Some(logouts) = self.parts.store.logouts() else { return };
        let logouts = tokio_stream::wrappers::ReceiverStream::new(logouts).take_until(stop.cancelled());
        logouts.for_each_concurrent(LOGOUT_CONCURRENCY, async |stored| self.log_out_of_platform(&stored).await).await;
    }

    async fn log_out_of_platform(&self, stored: &StoredCredential) {
        let Some(platform) = self.parts.platforms.of(&stored.platform) else { return };
        match SealedCredential::open(&self.parts.keyring, stored) {
            Ok(opened) => platform.micetro.log_out(&opened.authorization).await,
            Err(error) => {
                let session_id = stored.platform.session_id;
                let source = std::error::Error::source(&error);
                tracing::error!(%session_id, source, "the credential of a platform cannot be opened");
            }
        }
    }

    /// Reseals credentials that are sealed under an older key; returns how many.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn reseal_platform_credentials(&self) -> Result<u64> {
        let mut all = 0;
        loop {
            let current = self.parts.keyring.current_seal_key();
            let old = self.parts.store.platform_credentials_before_key(current, RESEAL_BATCH).await?;
            let mut done = 0;
            for stored in old {
                done += u64::from(self.reseal(stored).await?);
            }
            all += done;
            // What cannot be opened stays as it is.
            if done == 0 {
                return Ok(all);
            }
        }
    }

    async fn reseal(&self, stored: StoredCredential) -> Result<bool> {
        let opened = match SealedCredential::open(&self.parts.keyring, &stored) {
            Ok(opened) => opened,
            Err(Error::Internal { source }) => {
                let session_id = stored.platform.session_id;
                tracing::error!(%session_id, %source, "the credential of a platform cannot be sealed anew");
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let resealed = opened.seal(&self.parts.keyring, &stored.platform, stored.credential.generation)?;
        let (before, resealed) = (Arc::new(stored.credential), Arc::new(resealed));
        let replace = self.parts.store.write(move |tx| {
            let (before, resealed) = (Arc::clone(&before), Arc::clone(&resealed));
            Box::pin(async move { tx.replace_platform_credential(&before, (*resealed).clone()).await })
        });
        replace.await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Time;

    fn platform(change: impl FnOnce(&mut config::Platform)) -> Arc<Platform> {
        let mut config = config::Platform::at("https://micetro.example.org");
        change(&mut config);
        let platforms = Platforms::new(&std::iter::once(("micetro".to_owned(), config)).collect()).unwrap();
        Arc::clone(platforms.find("micetro").unwrap())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn groups_are_the_roles_with_the_prefix_and_without_one_nobody_gets_in() {
        let with_prefix = platform(|_| {});
        let groups = |roles: &[&str]| with_prefix.groups(&names(roles));
        assert_eq!(groups(&["GW_ops", "Administrators", "GW_all", "GW_ops"]), Some(names(&["all", "ops"])));
        for roles in [&[][..], &["Administrators"], &["gw_all"], &["XGW_all"]] {
            assert_eq!(groups(roles), None, "{roles:?}");
        }
        let without = platform(|config| config.required_role_prefix.clear());
        assert_eq!(without.groups(&names(&["GW_all", "b"])), Some(names(&["GW_all", "b"])));
        assert_eq!(without.groups(&[]), Some(Vec::new()));
    }

    #[test]
    fn a_platform_only_shortens_the_limits_of_an_app() {
        let minutes = Duration::from_mins;
        let app = config::Config::default().policy("default").unwrap();
        let of = |expiry, after| {
            let platform = platform(|config| (config.expiry, config.expires_after) = (expiry, Some(minutes(after))));
            let Policy { idle, absolute, .. } = platform.capped_policy(app);
            (idle, absolute)
        };
        let (idle, absolute) = (app.idle, app.absolute);
        assert_eq!(of(PlatformExpiry::None, 1), (idle, absolute));
        assert_eq!(of(PlatformExpiry::Activity, 20), (minutes(20), absolute));
        assert_eq!(of(PlatformExpiry::Activity, 60), (idle, absolute));
        assert_eq!(of(PlatformExpiry::Fixed, 20), (minutes(20), minutes(20)));
        assert_eq!(of(PlatformExpiry::Fixed, 60), (idle, minutes(60)));
        assert_eq!(of(PlatformExpiry::Fixed, 60 * 24 * 20), (idle, absolute));
    }

    #[test]
    fn a_sealed_credential_opens_for_its_session_platform_and_url_only() {
        let keyring = Keyring::generate(Time::default());
        let row = SessionPlatformRow {
            session_id: SessionId::new(Time::default()),
            platform: "micetro".to_owned(),
            url: "https://micetro.example.org".to_owned(),
            version: None,
            unique_name: String::new(),
            groups: "[]".to_owned(),
        };
        let secret = SealedCredential { authorization: "Bearer 4711".to_owned().into(), relogin: None };
        let credential = secret.seal(&keyring, &row, 0).unwrap();
        let open = |platform: SessionPlatformRow| {
            SealedCredential::open(&keyring, &StoredCredential { credential: credential.clone(), platform })
        };
        assert_eq!(open(row.clone()).unwrap().authorization.as_str(), "Bearer 4711");
        let elsewhere = [
            SessionPlatformRow { session_id: SessionId::new(Time::default()), ..row.clone() },
            SessionPlatformRow { platform: "other".to_owned(), ..row.clone() },
            SessionPlatformRow { url: "https://evil.example.org".to_owned(), ..row },
        ];
        for moved in elsewhere {
            assert!(open(moved).is_err());
        }
    }
}

//! The credential of a platform, as it was handed out.

use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

use crate::builder::LONGEST_DEADLINE;
use crate::v1::GetPlatformAuthResponse;
#[cfg(feature = "micetro")]
use crate::v1::PlatformSettings;

#[derive(Debug)]
pub(crate) struct PlatformAuth {
    value: SecretString,
    good_until: Instant,
    #[cfg(feature = "micetro")]
    pub(crate) micetro_url: String,
    #[cfg(feature = "micetro")]
    pub(crate) settings: PlatformSettings,
}

impl PlatformAuth {
    pub(crate) fn new(answer: GetPlatformAuthResponse, asked_at: Instant) -> Self {
        let valid_for = answer.valid_for.and_then(|duration| Duration::try_from(duration).ok()).unwrap_or_default();
        Self {
            value: answer.micetro_auth.into(),
            good_until: asked_at + valid_for.min(LONGEST_DEADLINE),
            #[cfg(feature = "micetro")]
            micetro_url: answer.micetro_url,
            #[cfg(feature = "micetro")]
            settings: answer.settings.unwrap_or_default(),
        }
    }

    /// The value of the header `Authorization`.
    pub(crate) fn value(&self) -> &SecretString {
        &self.value
    }

    pub(crate) fn may_be_used(&self, now: Instant) -> bool {
        now < self.good_until
    }
}

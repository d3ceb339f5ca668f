//! Options of commands that need the configuration.

use std::path::{Path, PathBuf};

use crate::config::Config;

use super::exit::Failure;

/// Default folder of the database, the keys and saved credentials.
pub(super) const DATA_DIR: &str = "lanyard-data";

#[derive(clap::Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Settings {
    /// Configuration file (TOML); `lanyard config default` prints one with all keys
    #[arg(long, value_name = "FILE", env = "LANYARD_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of database and keys, where the configuration names no others
    #[arg(long, value_name = "DIR", env = "LANYARD_DATA_DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,
}

impl Settings {
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        self.load_for(false)
    }

    pub(crate) fn load_for(&self, is_dev: bool) -> Result<Config, Failure> {
        Ok(Config::load_in(&self.data_dir, is_dev, self.config.as_deref(), environment())?)
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The configuration file, if given.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}

/// Skips variables that are not UTF-8; settings always are.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

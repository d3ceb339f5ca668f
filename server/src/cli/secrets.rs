//! Reads secrets from a prompt, standard input, the environment or a file; arguments are a last resort.

use std::io::{self, BufRead, IsTerminal};
use std::path::Path;

use clap::Args;
use lanyard_client::secrecy::{ExposeSecret, SecretString};

use super::exit::{Exit, Failure};

/// Environment variable with the current password.
const PRESENT: &str = "LANYARD_PASSWORD";
/// Environment variable with a new password.
const NEW: &str = "LANYARD_NEW_PASSWORD";

#[derive(Args, Clone, Copy)]
#[command(next_help_heading = "Password")]
pub(crate) struct Passwords {
    /// Read passwords from standard input, one a line: the present one, then the new one, as far as they are needed
    #[arg(long)]
    password_stdin: bool,
}

impl Passwords {
    /// Reads the current password.
    pub(crate) fn present(self, prompt: &str) -> Result<SecretString, Failure> {
        self.read(prompt, PRESENT)
    }

    /// Reads a new password; a prompt asks twice.
    pub(crate) fn chosen(self, prompt: &str) -> Result<SecretString, Failure> {
        self.chosen_other(prompt, NEW)
    }

    /// Like `chosen`, for other secrets.
    pub(crate) fn chosen_other(self, prompt: &str, variable: &str) -> Result<SecretString, Failure> {
        if self.password_stdin || from_environment(variable).is_some() || !somebody_is_there() {
            return self.read(prompt, variable);
        }
        let first = ask(prompt)?;
        let second = ask("The same again: ")?;
        if first.expose_secret() == second.expose_secret() {
            return Ok(first);
        }
        Err(Failure::new(Exit::Failed, "the two are not the same"))
    }

    /// Reads another credential.
    pub(crate) fn other(self, prompt: &str, variable: &str) -> Result<SecretString, Failure> {
        self.read(prompt, variable)
    }

    fn read(self, prompt: &str, variable: &str) -> Result<SecretString, Failure> {
        if self.password_stdin {
            return line_of_stdin();
        }
        match from_environment(variable) {
            Some(password) => Ok(password),
            None if somebody_is_there() => ask(prompt),
            None => {
                let problem = format!("no password: use --password-stdin or {variable}, or type it at a terminal");
                Err(Failure::new(Exit::Usage, problem))
            }
        }
    }
}

/// Can we prompt?
pub(crate) fn somebody_is_there() -> bool {
    io::stdin().is_terminal()
}

pub(crate) fn ask(prompt: &str) -> Result<SecretString, Failure> {
    Ok(rpassword::prompt_password(prompt)?.into())
}

/// One line only: the next may hold the new password.
fn line_of_stdin() -> Result<SecretString, Failure> {
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(Failure::new(Exit::Usage, "standard input has no password left"));
    }
    Ok(line.trim_end_matches(['\r', '\n']).into())
}

#[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
fn from_environment(variable: &str) -> Option<SecretString> {
    std::env::var(variable).ok().filter(|value| !value.is_empty()).map(SecretString::from)
}

/// Trims whitespace, such as a final newline.
pub(crate) fn secret_file(path: &Path) -> Result<SecretString, Failure> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Failure::new(Exit::Config, format!("{}: {error}", path.display())))?;
    Ok(text.trim().into())
}

/// A clap parser for secret arguments.
#[expect(clippy::unnecessary_wraps, reason = "a parser of arguments may fail")]
pub(crate) fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(text.into())
}

/// Serializes secrets in plain text, for owner-only files.
pub(crate) mod in_file {
    use lanyard_client::secrecy::{ExposeSecret, SecretString};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose_secret())
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<SecretString, D::Error> {
        String::deserialize(deserializer).map(SecretString::from)
    }
}

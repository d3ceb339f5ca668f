//! The command line: one file per noun, and shared modules: [`connection`] (connecting to a server), [`settings`] (the
//! configuration), [`operator`] (direct database access), [`secrets`] (passwords and tokens), [`output`] and [`exit`].

mod attribute;
mod audit;
mod backup;
mod caller;
mod completions;
mod config;
mod connection;
mod definition;
mod dev;
mod doctor;
mod exit;
mod health;
mod import;
mod keys;
mod link;
mod micetro;
mod migrate;
mod operator;
mod output;
mod secrets;
mod serve;
mod session;
mod settings;
mod totp;
mod user;
mod view;
mod when;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Outcome;
use output::Output;

const EXAMPLES: &str = "\
Examples:
  lanyard serve --dev                                a server, with all it takes to try it
  lanyard session login --username demo --save       log in, and keep the token
  lanyard session verify                             is it good?
  lanyard audit list --correlation-id ID             what happened in that call
  lanyard caller create shop --grant session.verify  a key for a service

Who acts: commands take the user's token (UST) from --ust-file, from LANYARD_UST, or from
`session login --save`. Passwords are asked for at a terminal, or come from --password-stdin
or LANYARD_PASSWORD.
";

/// Lanyard keeps user sessions: whose session is this, and is it still good?
///
/// The server and its client in one program.
#[derive(Parser)]
#[command(name = "lanyard", version, max_term_width = 110, after_help = help_of_exit_codes(), after_long_help = long_help())]
struct Cli {
    /// Answers and errors as JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Migrate(migrate::Migrate),
    Backup(backup::Backup),
    Config(config::Config),
    Session(session::Session),
    User(user::User),
    Attribute(attribute::Attribute),
    Definition(definition::Definition),
    Link(link::Link),
    Micetro(micetro::Micetro),
    Audit(audit::Audit),
    Caller(caller::Caller),
    Keys(keys::Keys),
    Doctor(doctor::Doctor),
    Import(import::Import),
    Health(health::Health),
    Completions(completions::Completions),
}

/// Entry point of the binary.
pub fn main() -> ExitCode {
    Cli::parse().run()
}

impl Cli {
    fn run(self) -> ExitCode {
        // Only the owner may access files created here: database, keys, credentials, tokens.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let output = Output::new(self.json);
        let outcome = match self.command {
            Command::Serve(serve) => serve.run(output),
            Command::Migrate(migrate) => wait_for(migrate.run(output)),
            Command::Backup(backup) => wait_for(backup.run(output)),
            Command::Config(config) => wait_for(config.run(output)),
            Command::Session(session) => wait_for(session.run(output)),
            Command::User(user) => wait_for(user.run(output)),
            Command::Attribute(attribute) => wait_for(attribute.run(output)),
            Command::Definition(definition) => wait_for(definition.run(output)),
            Command::Link(link) => wait_for(link.run(output)),
            Command::Micetro(micetro) => wait_for(micetro.run(output)),
            Command::Audit(audit) => wait_for(audit.run(output)),
            Command::Caller(caller) => wait_for(caller.run(output)),
            Command::Keys(keys) => wait_for(keys.run(output)),
            Command::Doctor(doctor) => wait_for(doctor.run(output)),
            Command::Import(import) => wait_for(import.run(output)),
            Command::Health(health) => wait_for(health.run(output)),
            Command::Completions(completions) => completions.run(),
        };
        outcome.unwrap_or_else(|failure| output.failure(&failure)).into()
    }
}

/// One thread is enough for one call or one database connection.
fn wait_for(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

fn help_of_exit_codes() -> String {
    let codes = <exit::Exit as strum::VariantArray>::VARIANTS
        .iter()
        .map(|exit| format!("  {:>2}  {}\n", exit.code(), exit.meaning()));
    format!("Exit codes:\n{}", codes.collect::<String>())
}

fn long_help() -> String {
    format!("{EXAMPLES}\n{}", help_of_exit_codes())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_can_be_typed_is_read() {
        for line in [
            "serve --dev --data-dir x",
            "session login --username demo --save --password-stdin --endpoint http://127.0.0.1:1",
            "session login --platform micetro --username demo --unique-name desk --totp 1 --password-stdin",
            "session list --on-platform micetro",
            "session revoke-all --on-platform micetro",
            "config check --probe",
            "serve --dev --platform micetro=http://127.0.0.1:8080",
            "session verify --peek --json --ust-file x",
            "session renew --rotate --app CRM --remote-addr 192.0.2.7",
            "session revoke-all --everyone --keep-current",
            "user update demo --email a@example.org --super-user false --allowed-network 10.0.0.0/8",
            "user totp confirm",
            "attribute set crm:team=north --seal --ttl 1h --user demo",
            "definition create shop --basic-auth shop --password-stdin",
            "definition create idp --jwt alice --issuer i --audience a --algorithm RS256,ES256 --jwks-url https://i/keys",
            "definition update shop --active false --etag 1",
            "definition rotate 7 --overlap 1d --revoke-sessions --secret-file x",
            "link list --user demo --app CRM --remote-addr 127.0.0.1 --limit 0",
            "link create demo basic_auth:reporting --inactive",
            "link create-own --jwt --secret-file x",
            "link update lnk_1 --active false --etag 2",
            "link delete lnk_1",
            "link lookup 7 jwt:somebody",
            "micetro get /dnsServers --param limit=1 -p filter=name=^ns --unwrap --expect 200 --ust-file x",
            "micetro put /dnsZones/1 --body {\"properties\":{}}",
            "micetro post /dnsZones --body-file -",
            "micetro version",
            "audit list --correlation-id x --outcome refused --since 1h",
            "audit verify --config x.toml",
            "caller create shop --grant session.verify,session.create --in-app CRM --expires-in 90d",
            "keys rotate --purpose token --force",
            "keys rotate --purpose seal --stage",
            "keys promote --purpose audit",
            "doctor --config x.toml --json",
            "migrate --check",
            "backup x.db",
            "import zato --from sqlite:zato.db --dry-run --keep-super-users --linked-only",
            "import zato --from sqlite:zato.db --jwt-issuer i --jwt-audience a --jwt-jwks-url https://example.org/jwks",
            "completions bash",
        ] {
            Cli::try_parse_from(format!("lanyard {line}").split(' ')).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "session revoke-all --everyone --user demo",
            "session revoke-all --everyone --on-platform x",
            "session login --platform micetro",
            "session login --platform micetro --jwt",
            "session login --platform micetro --username x --new-password",
            "session login --username x --unique-name y",
            "serve --platform micetro=http://127.0.0.1:8080",
            "serve --dev --platform micetro",
            "serve --dev --platform micetro=ftp://x",
            "caller create shop --grant session.fly",
            "definition create shop",
            "definition create shop --basic-auth a --jwt b",
            "definition create idp --jwt alice",
            "definition update shop",
            "definition rotate shop --jwks-url https://i/keys --public-keys x",
            "keys rotate --purpose nothing",
            "user update",
            "link create demo",
            "link lookup reporting",
            "micetro get",
            "micetro get /dnsServers --param limit",
            "micetro get /dnsServers --expect 20",
            "micetro post /dnsZones --body {",
            "micetro post /dnsZones --body {} --body-file x",
            "link create-own",
            "link create-own --jwt --basic-auth x",
            "link update lnk_1",
            "caller create shop --no-key --grant session.verify",
            "import zato --from sqlite:zato.db --jwt-issuer i",
            "import zato",
        ] {
            let refusal = Cli::try_parse_from(format!("lanyard {line}").split(' ')).err();
            assert_eq!(refusal.map(|e| e.exit_code()), Some(2), "{line}");
        }
    }
}

//! Checks that need no database: key file, certificates, disk, platforms and telemetry collector.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::app::platform::Platforms;
use crate::clock::{Clock, Time};
use crate::config::{Config, SignalKind, Telemetry};
use crate::crypto::{KeyPurpose, Keyring};
use crate::store::StoreConfig;
use crate::transport::{CertificateFacts, examine_tls};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Report;
use crate::cli::exit::with_sources;
use crate::cli::keys;

pub(super) const CHECKS: [&str; 6] = [KEY_FILE, KEY_AGE, TLS, DISK, PLATFORMS, TELEMETRY];
const KEY_FILE: &str = "key file";
const KEY_AGE: &str = "key age";
const TLS: &str = "tls";
const DISK: &str = "disk";
const PLATFORMS: &str = "platforms";
const TELEMETRY: &str = "telemetry";

const DAY: Duration = Duration::from_hours(24);
/// Older keys are a warning.
const OLD_KEY: Duration = Duration::from_hours(24 * 365);
/// Certificates that expire sooner are a warning.
const RENEW_BEFORE: Duration = Duration::from_hours(24 * 14);
/// Free space for SQLite: less than the first is a warning, less than the second a problem.
const ROOM_WANTED: u64 = 1 << 30;
const ROOM_NEEDED: u64 = 64 << 20;
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

const ROTATE: &str = "rotate it: deploy/README.md, \"Rotating keys\"";

/// Returns the keyring if the key file is usable.
pub(super) async fn check(config: &Config, clock: &Clock, report: &mut Report) -> Option<Arc<Keyring>> {
    let keyring = key_file(config, report);
    match &keyring {
        Some(keyring) => key_age(keyring, clock.now(), report),
        None => report.not_checked(&[KEY_AGE], "the key file has to be right first"),
    }
    tls(config, clock.now(), report);
    disk(config, report);
    platforms(config, report).await;
    telemetry(config, report).await;
    keyring
}

fn key_file(config: &Config, report: &mut Report) -> Option<Arc<Keyring>> {
    let file = &config.keys.file;
    let keyring = match Keyring::load(file) {
        Ok(keyring) => keyring,
        Err(error) => {
            let advice = "bring it back from its backup; `lanyard keys init` makes one for a new installation only";
            report.problem(KEY_FILE, with_sources(&error), advice);
            return None;
        }
    };
    let shown = file.display();
    let of_others = 0o077;
    match std::fs::metadata(file).map(|about| about.mode() & 0o777) {
        Ok(mode) if mode & of_others == 0 => report.ok(KEY_FILE, format!("{shown} is good and its owner's alone")),
        Ok(mode) => report.problem(
            KEY_FILE,
            format!("{shown} can be used by others (mode {mode:o})"),
            format!("chmod 600 {shown}, and rotate the keys if others were there"),
        ),
        Err(error) => report.problem(KEY_FILE, format!("{shown}: {error}"), "see to it that it can be read"),
    }
    Some(Arc::new(keyring))
}

fn key_age(keyring: &Keyring, now: Time, report: &mut Report) {
    for purpose in KeyPurpose::ALL {
        let name = keys::name(purpose);
        let Some((key_id, created)) = keyring.list(purpose).next() else { continue };
        let age = now.since(created);
        let said = format!("{name} key {key_id} is {} days old", age.as_secs() / DAY.as_secs());
        match keyring.staged(purpose) {
            Some(staged) => report.warning(
                KEY_AGE,
                format!("{said}, and key {staged} is staged"),
                format!("when all servers have been restarted: `lanyard keys promote --purpose {name}`"),
            ),
            None if age > OLD_KEY => report.warning(KEY_AGE, said, ROTATE),
            None => report.ok(KEY_AGE, said),
        }
    }
}

fn tls(config: &Config, now: Time, report: &mut Report) {
    let server = &config.server;
    if server.tls.cert.is_none() {
        let why = if server.plaintext_behind_proxy { "a proxy ends it" } else { "the server listens on loopback only" };
        return report.ok(TLS, format!("none: {why}"));
    }
    match examine_tls(&server.tls) {
        Ok(certificates) => certificates.iter().for_each(|facts| certificate(facts, now, report)),
        Err(error) => {
            report.problem(TLS, error.to_string(), "put the certificate, its key and the authorities where it says");
        }
    }
}

fn certificate(facts: &CertificateFacts, now: Time, report: &mut Report) {
    let name = format!("{} ({})", facts.file.display(), facts.subject);
    let advice = "renew it: deploy/README.md, \"Certificates\"";
    if now < facts.not_before {
        return report.problem(TLS, format!("{name} is good only from {}", facts.not_before), advice);
    }
    if now >= facts.not_after {
        return report.problem(TLS, format!("{name} expired at {}", facts.not_after), advice);
    }
    let left = facts.not_after.since(now);
    let said = format!("{name} expires in {} days, at {}", left.as_secs() / DAY.as_secs(), facts.not_after);
    if left < RENEW_BEFORE { report.warning(TLS, said, advice) } else { report.ok(TLS, said) }
}

/// SQLite only: free space, and access to the file.
fn disk(config: &Config, report: &mut Report) {
    let Some(file) = StoreConfig::of(config).sqlite_path() else {
        return report.ok(DISK, "the database is elsewhere");
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match rustix::fs::statvfs(folder) {
        Ok(about) => room(folder, about.f_bavail.saturating_mul(about.f_frsize), report),
        Err(error) => report.problem(DISK, format!("{}: {error}", folder.display()), "make the folder of the database"),
    }
    let Ok(about) = std::fs::metadata(&file) else { return };
    let (shown, mode) = (file.display(), about.mode() & 0o777);
    if mode & 0o077 != 0 {
        let found = format!("{shown} can be used by others (mode {mode:o})");
        report.warning(DISK, found, format!("chmod 600 {shown} {shown}-wal {shown}-shm"));
    }
    if let Err(error) = rustix::fs::access(&file, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK) {
        report.problem(DISK, format!("{shown}: {error}"), "give it to the account of the server");
    }
}

fn room(folder: &Path, bytes: u64, report: &mut Report) {
    let said = format!("{}: {} MiB are free", folder.display(), bytes >> 20);
    let advice = "make room: a full disk refuses every login and every change";
    match bytes {
        ROOM_WANTED.. => report.ok(DISK, said),
        ROOM_NEEDED.. => report.warning(DISK, said, advice),
        _ => report.problem(DISK, said, advice),
    }
}

async fn platforms(config: &Config, report: &mut Report) {
    if config.platforms.is_empty() {
        return report.ok(PLATFORMS, "none are configured");
    }
    let platforms = match Platforms::new(&config.platforms) {
        Ok(platforms) => platforms,
        Err(error) => return report.problem(PLATFORMS, with_sources(&error), "correct the section of the platform"),
    };
    if let Err(error) = platforms.check_files() {
        return report.problem(PLATFORMS, error.to_string(), "put the certificates of its authorities there");
    }
    for (name, outcome) in platforms.probe().await {
        match outcome {
            Ok(version) => {
                report.ok(PLATFORMS, format!("{name} answers (version {})", version.as_deref().unwrap_or("unknown")));
            }
            Err(error) => report.problem(
                PLATFORMS,
                format!("{name}: {}", with_sources(&error)),
                "see whether it runs, and whether `url` and `ca_file` are right; logins to it fail meanwhile",
            ),
        }
    }
}

async fn telemetry(config: &Config, report: &mut Report) {
    let sent: Vec<_> = SignalKind::ALL.into_iter().filter(|kind| config.telemetry.sends(*kind)).collect();
    if sent.is_empty() {
        return report.ok(TELEMETRY, "none is sent");
    }
    for kind in sent {
        let name = kind.name();
        match reach(&config.telemetry, kind).await {
            Ok(place) => report.ok(TELEMETRY, format!("{name}: {place} takes connections")),
            Err(problem) => {
                let advice = "see whether the collector runs and whether the endpoint is right; calls do not suffer";
                report.warning(TELEMETRY, format!("{name}: {problem}"), advice);
            }
        }
    }
}

/// Returns the address connected to. Errors repeat only host and port: the URL may hold secrets.
async fn reach(telemetry: &Telemetry, kind: SignalKind) -> Result<String, String> {
    let uri = telemetry.destination(kind)?.uri;
    let host = uri.host().ok_or("names no host")?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let place = format!("{host}:{port}");
    let Ok(connected) = timeout(CONNECT_LIMIT, TcpStream::connect(&place)).await else {
        return Err(format!("{place} does not answer"));
    };
    let stream = connected.map_err(|error| format!("{place}: {error}"))?;
    Ok(stream.peer_addr().map_or(place, |addr: SocketAddr| addr.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    fn told(tell: impl FnOnce(&mut Report)) -> Vec<(Status, String)> {
        let mut report = Report::default();
        tell(&mut report);
        report.findings.into_iter().map(|finding| (finding.status, finding.found)).collect()
    }

    #[test]
    fn little_room_is_a_warning_and_none_is_a_problem() {
        for (bytes, status) in [
            (ROOM_WANTED, Status::Ok),
            (ROOM_WANTED - 1, Status::Warning),
            (ROOM_NEEDED, Status::Warning),
            (0, Status::Problem),
        ] {
            assert_eq!(told(|report| room(Path::new("/data"), bytes, report))[0].0, status, "{bytes}");
        }
    }

    #[test]
    fn a_certificate_is_renewed_before_it_expires() {
        let start = Time::default() + DAY;
        let facts = CertificateFacts {
            file: "tls.crt".into(),
            subject: "CN=lanyard".to_owned(),
            not_before: start,
            not_after: start + 90 * DAY,
        };
        for (now, status, word) in [
            (Time::default(), Status::Problem, "only from"),
            (start, Status::Ok, "in 90 days"),
            (start + 80 * DAY, Status::Warning, "in 10 days"),
            (start + 90 * DAY, Status::Problem, "expired at"),
        ] {
            let (found, said) = told(|report| certificate(&facts, now, report)).remove(0);
            assert!(found == status && said.contains(word) && said.contains("tls.crt (CN=lanyard)"), "{said}");
        }
    }

    #[test]
    fn a_key_that_is_old_or_staged_is_told() {
        let now = Time::default() + OLD_KEY;
        let mut ring = Keyring::generate(Time::default());
        assert!(told(|report| key_age(&ring, now, report)).iter().all(|(status, _)| *status == Status::Ok));
        let later = now + DAY;
        assert_eq!(
            told(|report| key_age(&ring, later, report))[0],
            (Status::Warning, "token key 1 is 366 days old".to_owned())
        );
        ring.stage(KeyPurpose::Seal, later);
        let (status, said) = told(|report| key_age(&ring, now, report)).remove(1);
        assert!(status == Status::Warning && said.ends_with("key 2 is staged"), "{said}");
    }
}

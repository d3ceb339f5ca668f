//! Telemetry over TLS: to whom it is sent, and who may send it.

use std::path::Path;

use lanyard_server::config::{Config, Exporter};
use lanyard_tests::support::certificates::{Authority, Identity};
use lanyard_tests::support::eventually;
use lanyard_tests::support::installation::Installation;
use lanyard_tests::support::otlp::Collector;
use lanyard_tests::support::server::run;

use crate::telemetry::{Caller, installation, trace, traceparent};
use crate::telemetry_trouble::{costs_nothing_but_telemetry, installation as hasty_installation};

#[test]
fn a_receiver_over_tls_must_be_one_that_the_authority_vouches_for() {
    run(async {
        let (authority, other) = (Authority::new(), Authority::new());
        let collector = Collector::tls(authority.server()).await;
        let folder = lanyard_tests::support::temporary_folder();
        let [good, bad] = [(&authority, "good.crt"), (&other, "bad.crt")].map(|(authority, name)| {
            let file = folder.path().join(name);
            std::fs::write(&file, authority.certificate()).expect("the folder can be written to");
            file
        });
        let installation = installation(&collector, |config| {
            config.telemetry.ca_file = Some(good);
            config.telemetry.logs.ca_file = Some(bad);
        })
        .await;
        let program = installation.start();
        let caller = Caller::of(&installation, &program).await;
        let ust = caller.ust().await;
        caller.verify(&ust, &[("traceparent", &traceparent(true)), ("x-correlation-id", "order-7")]).await;
        trace(&collector, "order-7", "lanyard.v1.SessionService/VerifySession").await;
        program.process.wait_for_line("that logs are not taken", |line| {
            (line.contains("telemetry is not taken") && line.contains("\"logs\"")).then_some(())
        });
        assert_eq!(collector.counts()[1], 0);
    });
}

/// Where an identity stands, by the standard variables.
struct Files {
    certificate: String,
    key: String,
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("the folder can be written to");
    file.display().to_string()
}

impl Files {
    fn of(identity: &Identity, folder: &Path, name: &str) -> Self {
        Self {
            certificate: write(folder, &format!("{name}.crt"), &identity.certificate),
            key: write(folder, &format!("{name}.key"), &identity.key),
        }
    }
}

/// The standard variables say where telemetry goes, and the configuration nothing.
fn silent(config: &mut Config) {
    config.telemetry.exporter = Exporter::Off;
    config.telemetry.endpoint = None;
}

#[test]
fn a_receiver_that_demands_a_certificate_gets_everything_from_who_has_one() {
    run(async {
        let (servers, clients) = (Authority::new(), Authority::new());
        let collector = Collector::mutual_tls(servers.server(), &clients.certificate()).await;
        let installation = installation(&collector, silent).await;
        let folder = installation.prepared.folder();
        let ca = write(folder, "servers.crt", &servers.certificate());
        let client = Files::of(&clients.client(&["spiffe://example.org/lanyard"]), folder, "client");
        let program = installation.start_with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &client.certificate),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &client.key),
        ]);
        let caller = Caller::of(&installation, &program).await;
        let ust = caller.ust().await;
        caller.verify(&ust, &[("traceparent", &traceparent(true)), ("x-correlation-id", "order-7")]).await;
        trace(&collector, "order-7", "lanyard.v1.SessionService/VerifySession").await;
        eventually("all three signals arrive", async || !collector.counts().contains(&0)).await;
    });
}

/// On `variables` beside those of the receiver, nothing arrives, and nothing else is lost.
async fn delivers_nothing(collector: &Collector, installation: &Installation, variables: &[(&str, &str)]) {
    let program = installation.start_with(variables);
    costs_nothing_but_telemetry(installation, program, "not_sent").await;
    assert_eq!(collector.counts(), [0, 0, 0], "{variables:?}");
}

#[test]
fn a_receiver_that_demands_a_certificate_gets_nothing_from_who_has_none_or_one_of_others() {
    run(async {
        let (servers, clients) = (Authority::new(), Authority::new());
        let collector = Collector::mutual_tls(servers.server(), &clients.certificate()).await;
        let installation = hasty_installation(&collector, silent).await;
        let folder = installation.prepared.folder();
        let ca = write(folder, "servers.crt", &servers.certificate());
        let stranger = Files::of(&Authority::new().client(&["spiffe://example.org/lanyard"]), folder, "stranger");
        let url = collector.url();
        let receiver = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), ("OTEL_EXPORTER_OTLP_CERTIFICATE", &*ca)];
        delivers_nothing(&collector, &installation, &receiver).await;
        let identity = [
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &*stranger.certificate),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &*stranger.key),
        ];
        delivers_nothing(&collector, &installation, &[&receiver[..], &identity].concat()).await;
    });
}

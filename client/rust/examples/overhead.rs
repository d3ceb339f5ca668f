//! What this client costs over the bare generated stub, for each call of `VerifySession`. `client/rust/bench` runs it.

use std::error::Error;
use std::time::{Duration, Instant};

use lanyard_client::v1::VerifySessionRequest;
use lanyard_client::v1::session_service_client::SessionServiceClient;
use lanyard_client::{Channel, Client, Ust};
use secrecy::SecretString;
use tonic::transport::Endpoint;

const ROUNDS: usize = 15;
const CALLS: u32 = 2_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// One call after the other, by the generated stub; the key is put in as everybody would.
async fn bare(channel: &Channel, key: &str, ust: &Ust) -> Outcome<Duration> {
    let mut stub = SessionServiceClient::new(channel.clone());
    let authorization = format!("Bearer {key}").parse::<tonic::metadata::AsciiMetadataValue>()?;
    let start = Instant::now();
    for _ in 0..CALLS {
        let message = VerifySessionRequest { ust: ust.expose().to_owned(), ..VerifySessionRequest::default() };
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", authorization.clone());
        request.set_timeout(Duration::from_secs(5));
        let answer = stub.verify_session(request).await?.into_inner();
        assert!(answer.verdict.is_some());
    }
    Ok(start.elapsed())
}

async fn layer(client: &Client, ust: &Ust) -> Outcome<Duration> {
    let start = Instant::now();
    for _ in 0..CALLS {
        client.verify(ust).await?.into_session()?;
    }
    Ok(start.elapsed())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[expect(clippy::disallowed_methods, reason = "a program of its own")]
fn setting(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set"))
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let (endpoint, key) = (setting("LANYARD_ENDPOINT")?, setting("LANYARD_CALLER_KEY")?);
    let client = Client::builder(&endpoint).api_key(key.clone()).connect().await?;
    let password = SecretString::from(setting("LANYARD_PASSWORD")?);
    let ust = client.log_in("demo", &password).await?.ust;
    let channel = Endpoint::from_shared(endpoint)?.connect().await?;
    let (mut ratios, mut micros) = (Vec::new(), Vec::new());
    for _ in 0..=ROUNDS {
        let below = bare(&channel, &key, &ust).await?;
        let above = layer(&client, &ust).await?;
        ratios.push(above.div_duration_f64(below));
        micros.push(below.as_secs_f64() * 1e6 / f64::from(CALLS));
    }
    // The first round warms up.
    let (ratio, bare) = (median(ratios.split_off(1)), median(micros.split_off(1)));
    println!(r#"{{"language":"rust","verify_over_bare_stub":{ratio:.3},"bare_stub_us":{bare:.1}}}"#);
    Ok(())
}

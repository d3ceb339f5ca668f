//! The first call of the README, as it is printed there.
#![expect(clippy::disallowed_methods, reason = "a program of its own")]

use lanyard_client::secrecy::SecretString;
use lanyard_client::{Client, Verdict};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (endpoint, key) = (std::env::var("LANYARD_ENDPOINT")?, std::env::var("LANYARD_CALLER_KEY")?);
    let lanyard = Client::builder(endpoint).api_key(key).current_app("CRM").connect().await?;

    let password = SecretString::from(std::env::var("LANYARD_PASSWORD")?);
    let login = lanyard.log_in("demo", &password).await?;
    match lanyard.verify(&login.ust).await? {
        Verdict::Active(session) => println!("{} may come in", session.username),
        Verdict::Inactive(inactive) => println!("log in again: {inactive}"),
    }
    lanyard.on_behalf_of(&login.ust).log_out().await?;
    Ok(())
}

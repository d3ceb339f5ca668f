//! Health: `grpc.health.v1`.

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::Client;
use crate::error::Error;

impl Client {
    /// Asks the server whether it serves; needs no key. `service` is empty for the server as a whole. Not tried again:
    /// the answer is about this moment.
    pub async fn is_serving(&self, service: &str) -> Result<bool, Error> {
        let correlation_id = self.id_of_call();
        let mut request = tonic::Request::new(HealthCheckRequest { service: service.to_owned() });
        request.set_timeout(self.deadline);
        let mut health = HealthClient::new(self.shared.channel.clone());
        let answer = tokio::time::timeout(self.deadline, health.check(request)).await;
        let answer = answer.map_err(|_| Error::deadline_exceeded(&correlation_id))?;
        match answer {
            Ok(answer) => Ok(answer.into_inner().status() == ServingStatus::Serving),
            Err(status) => Err(Error::from_status(status, &correlation_id)),
        }
    }
}

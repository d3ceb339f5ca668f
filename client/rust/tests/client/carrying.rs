//! What each call carries: caller, correlation ID, trace context, where the user is.

use std::time::Duration;

use lanyard_client::v1::{ClientInfo, VerifySessionRequest};
use lanyard_client::{Client, ClientBuilder, CorrelationId, CorrelationLayer, RetryPolicy, Ust};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tonic::Status;
use tracing::{Instrument as _, info_span};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::Fake;

fn builder() -> ClientBuilder {
    let policy = RetryPolicy { attempts: 4, initial_backoff: Duration::ZERO, max_backoff: Duration::ZERO };
    Client::builder("http://fake").retry(policy)
}

async fn verify(client: &Client) {
    client.verify(&Ust::from("lyu1_alice")).await.map(drop).unwrap();
}

fn correlation_ids(fake: &Fake) -> Vec<String> {
    fake.metadata("x-correlation-id").into_iter().map(Option::unwrap).collect()
}

#[tokio::test]
async fn a_new_correlation_id_is_the_same_in_all_attempts_and_another_in_the_next_call() {
    let (fake, channel) = Fake::start();
    let client = builder().over(channel).unwrap();
    fake.refuse(2, &Status::unavailable("not now"));
    verify(&client).await;
    verify(&client).await;
    let ids = correlation_ids(&fake);
    assert_eq!(ids.len(), 4);
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
    assert_eq!(uuid::Uuid::parse_str(&ids[0]).unwrap().get_version_num(), 7);
}

#[tokio::test]
async fn the_correlation_id_of_the_current_span_is_carried_and_named_by_the_error() {
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(CorrelationLayer));
    let (fake, channel) = Fake::start();
    let client = builder().over(channel).unwrap();
    fake.refuse(1, &Status::internal("no"));
    let request = async {
        let inner = info_span!("inner");
        client.verify(&Ust::from("lyu1_alice")).instrument(inner).await.unwrap_err()
    };
    let error = request.instrument(info_span!("request", correlation_id = "order-4711")).await;
    assert_eq!(correlation_ids(&fake), ["order-4711"]);
    assert!(error.to_string().contains("order-4711"), "{error}");
}

#[tokio::test]
async fn an_explicit_correlation_id_goes_before_the_one_of_the_span() {
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(CorrelationLayer));
    let (fake, channel) = Fake::start();
    let id: CorrelationId = "explicit".parse().unwrap();
    let client = builder().over(channel).unwrap().with_correlation_id(id);
    verify(&client).instrument(info_span!("request", correlation_id = "of-the-span")).await;
    assert_eq!(correlation_ids(&fake), ["explicit"]);
}

#[tokio::test]
async fn the_trace_of_the_current_span_is_carried() {
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let (fake, channel) = Fake::start();
    let client = builder().over(channel).unwrap();
    let span = info_span!("request");
    verify(&client).instrument(span.clone()).await;

    let context = tracing_opentelemetry::OpenTelemetrySpanExt::context(&span);
    let span_context = opentelemetry::trace::TraceContextExt::span(&context).span_context().clone();
    let expected = format!("00-{}-{}-01", span_context.trace_id(), span_context.span_id());
    assert_eq!(fake.metadata("traceparent"), [Some(expected)]);
    assert_eq!(fake.metadata("tracestate"), [None]);
}

#[tokio::test]
async fn a_call_outside_of_any_trace_carries_none() {
    let (fake, channel) = Fake::start();
    verify(&builder().over(channel).unwrap()).await;
    assert_eq!(fake.metadata("traceparent"), [None]);
}

#[tokio::test]
async fn the_key_is_sent_as_a_bearer_and_shown_nowhere() {
    let (fake, channel) = Fake::start();
    let client = builder().api_key("lyk1_secret").over(channel).unwrap();
    fake.refuse(1, &Status::unauthenticated("who are you?"));
    let subject = client.on_behalf_of(&Ust::from("lyu1_alice"));
    let error = subject.current_session().await.unwrap_err();
    assert_eq!(fake.metadata("authorization"), [Some("Bearer lyk1_secret".to_owned())]);

    let pages = subject.list_sessions(lanyard_client::v1::ListSessionsRequest::default());
    let shown = format!("{client:?} {client:#?} {subject:?} {pages:?} {error:?} {error}");
    assert!(!shown.contains("lyk1") && !shown.contains("lyu1"), "{shown}");
}

#[tokio::test]
async fn where_the_user_is_goes_along_and_the_app_stays_unless_it_is_named() {
    let (fake, channel) = Fake::start();
    let client = builder().current_app("CRM").over(channel).unwrap();
    verify(&client).await;
    let elsewhere = ClientInfo { remote_addr: "203.0.113.7".into(), ..ClientInfo::default() };
    verify(&client.with_client_info(elsewhere.clone())).await;
    let shop = ClientInfo { current_app: "Shop".into(), ..elsewhere };
    verify(&client.with_client_info(shop)).await;

    let told: Vec<(String, String)> = fake
        .requests::<VerifySessionRequest>()
        .into_iter()
        .map(|request| request.client.unwrap())
        .map(|client| (client.current_app, client.remote_addr))
        .collect();
    let expected = [("CRM", ""), ("CRM", "203.0.113.7"), ("Shop", "203.0.113.7")];
    assert_eq!(told, expected.map(|(app, address)| (app.to_owned(), address.to_owned())));
}

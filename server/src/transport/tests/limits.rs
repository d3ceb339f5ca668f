//! Tests of the limits.

use super::*;

fn retry_delay(answered: &Answered) -> Option<Duration> {
    answered.details().retry_info().and_then(|info| info.retry_delay)
}

#[tokio::test]
async fn one_call_too_many_is_told_to_come_back_and_a_probe_is_answered() {
    let server = Server::start_with(|config| config.max_in_flight = 2).await;
    let client = server.connect().await;
    let under_way = [server.begin(&client, "wait").await, server.begin(&client, "wait").await];
    let refused = client.ask("ok", &[key("known")]).await;
    assert_eq!((refused.code(), refused.reason().as_str()), (Code::Unavailable, "OVERLOADED"));
    assert_eq!(
        retry_delay(&refused).map(|delay| delay.as_millis().to_string()).as_deref(),
        refused.headers["grpc-retry-pushback-ms"].to_str().ok()
    );
    assert_eq!(client.health("").await.code(), Code::Ok);
    server.double.0.gate.add_permits(2);
    for call in under_way {
        assert_eq!(call.await.expect("a task").code(), Code::Ok);
    }
    assert_eq!(client.ask("ok", &[key("known")]).await.code(), Code::Ok, "there is room again");
    assert_eq!(server.count(Code::Unavailable), 1, "refusals are counted");
}

#[tokio::test]
async fn a_caller_with_too_many_calls_leaves_room_for_the_others() {
    let server = Server::start().await;
    let client = server.connect().await;
    let single = key("single");
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.ask("wait", &[single]).await }
    });
    until(|| server.double.waiting() == 1).await;
    let refused = client.ask("ok", &[single]).await;
    assert_eq!((refused.code(), refused.reason().as_str()), (Code::ResourceExhausted, "CALLER_LIMITED"));
    assert!(retry_delay(&refused).is_some());
    assert_eq!(client.ask("ok", &[key("known")]).await.code(), Code::Ok);
    server.double.0.gate.add_permits(1);
    assert_eq!(first.await.expect("a task").code(), Code::Ok);
    assert_eq!(client.ask("ok", &[single]).await.code(), Code::Ok);
}

#[tokio::test]
async fn calls_that_end_badly_leave_their_place_too() {
    let server = Server::start_with(|config| config.max_in_flight = 1).await;
    let client = server.connect().await;
    let single = key("single");
    for ust in ["panic", "wait", "fail", "panic twice"] {
        let answered = client.ask(ust, &[single, ("grpc-timeout", "20m")]).await;
        assert!(matches!(answered.code(), Code::Internal | Code::DeadlineExceeded), "{ust}: {:?}", answered.status());
    }
    client.ask("ok", &[]).await;
    client.ask("ok", &[key("powerless")]).await;
    assert_eq!(client.ask("ok", &[single]).await.code(), Code::Ok);
}

/// Different workers serve the connections, but share one limit.
#[tokio::test]
async fn the_limit_is_of_all_connections_together() {
    let server = Server::start_with(|config| config.max_in_flight = 2).await;
    let (one, other, third) = (server.connect().await, server.connect().await, server.connect().await);
    let _under_way = [server.begin(&one, "wait").await, server.begin(&other, "wait").await];
    assert_eq!(third.ask("ok", &[key("known")]).await.reason(), "OVERLOADED");
}

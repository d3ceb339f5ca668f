//! Tests of connection age and shutdown.

use http_body_util::BodyExt;

use super::*;

const NEVER: Duration = Duration::from_hours(1);

/// tonic's `max_connection_age_grace` would kill such a call.
#[tokio::test]
async fn an_old_connection_takes_no_new_calls_and_finishes_those_under_way() {
    let server = Server::start_with(|config| config.max_connection_age = Duration::from_millis(50)).await;
    let client = server.connect().await;
    let under_way = server.begin(&client, "wait").await;
    let request = frame(&GetSessionRequest::default());
    until_async(|| {
        let (client, request) = (client.clone(), request.clone());
        Box::pin(async move { client.open(ASK, &[key("known")], request).await.is_err() })
    })
    .await;
    assert_eq!(server.connect().await.ask("ok", &[key("known")]).await.code(), Code::Ok, "a new connection is welcome");
    server.double.0.gate.add_permits(1);
    assert_eq!(under_way.await.expect("a task").code(), Code::Ok);
}

#[tokio::test]
async fn calls_under_way_finish_before_the_server_ends() {
    let server = Server::start_with(|config| config.drain_timeout = NEVER).await;
    let client = server.connect().await;
    let under_way = server.begin(&client, "wait").await;
    server.stop.softly();
    until_async(|| {
        let addr = server.addr;
        Box::pin(async move { TcpStream::connect(addr).await.is_err() })
    })
    .await;
    server.double.0.gate.add_permits(1);
    assert_eq!(under_way.await.expect("a task").code(), Code::Ok);
    assert_eq!(server.ended().await, Ended::Drained);
}

#[tokio::test]
async fn while_balancers_notice_health_says_no_and_calls_are_still_taken() {
    let server = Server::start_with(|config| config.drain_delay = NEVER).await;
    let client = server.connect().await;
    let mut health = server.health.state();
    server.stop.softly();
    let told = tokio::time::timeout(PATIENCE, health.wait_for(|state| !state.is_serving)).await;
    told.expect("in time").expect("it is told");
    assert_eq!(client.health("readiness").await.message::<tonic_health::pb::HealthCheckResponse>().status, 2);
    assert_eq!(server.connect().await.ask("ok", &[key("known")]).await.code(), Code::Ok);
    drop(client);
    server.stop.hard();
    server.ended().await;
}

/// With tonic's transport such a stream would block shutdown for as long as its client likes.
#[tokio::test]
async fn an_open_watch_is_told_that_the_server_stops_and_does_not_hold_it() {
    let server = Server::start_with(|config| config.drain_timeout = NEVER).await;
    let client = server.connect().await;
    let request = frame(&tonic_health::pb::HealthCheckRequest { service: "readiness".into() });
    let watch = client.open("/grpc.health.v1.Health/Watch", &[], request).await.expect("a stream");
    let mut body = watch.into_body();
    let mut told = Vec::new();
    let first = body.frame().await.expect("a frame").expect("a message");
    told.extend(first.into_data().ok().and_then(|data| data.last().copied()));
    server.stop.softly();
    let mut trailers = None;
    while let Some(frame) = tokio::time::timeout(PATIENCE, body.frame()).await.expect("an end") {
        match frame.expect("a frame").into_data() {
            Ok(data) => told.extend(data.last().copied()),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    assert_eq!(told.first(), Some(&1), "serving");
    assert!(told.iter().skip(1).all(|status| *status == 2), "then not: {told:?}");
    let status = Status::from_header_map(&trailers.expect("trailers")).expect("a status");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_details_error_info().expect("ErrorInfo").reason, "SHUTTING_DOWN");
    assert_eq!(server.ended().await, Ended::Drained);
}

#[tokio::test]
async fn a_call_without_an_end_is_cut_off_when_the_time_is_over() {
    let server = Server::start_with(|config| config.drain_timeout = Duration::from_millis(50)).await;
    let client = server.connect().await;
    let _under_way = server.begin(&client, "wait").await;
    let double = server.double.clone();
    server.stop.softly();
    assert_eq!(server.ended().await, Ended::CutOff);
    assert_eq!(double.dropped(), 1, "nothing of the call is left");
}

#[tokio::test]
async fn a_hard_stop_waits_for_nothing() {
    let server = Server::start_with(|config| (config.drain_delay, config.drain_timeout) = (NEVER, NEVER)).await;
    let client = server.connect().await;
    let _under_way = server.begin(&client, "wait").await;
    server.stop.hard();
    assert_eq!(server.ended().await, Ended::CutOff);
}

/// The client sends nothing and never closes.
#[tokio::test]
async fn a_silent_connection_does_not_hold_the_stop() {
    let server = Server::start_with(|config| config.drain_timeout = Duration::from_millis(50)).await;
    let _silent = TcpStream::connect(server.addr).await.expect("it listens");
    assert_eq!(server.connect().await.ask("ok", &[key("known")]).await.code(), Code::Ok);
    server.stop.softly();
    server.ended().await;
}

#[tokio::test]
async fn workers_end_with_the_future_that_serves() {
    let server = Server::start().await;
    let client = server.connect().await;
    let _under_way = server.begin(&client, "wait").await;
    server.running.abort();
    until(|| server.double.dropped() == 1).await;
}

//! Tests of the order of the stages: the first that can refuse a call does.

use super::*;

/// Not a protobuf message.
fn unreadable() -> Bytes {
    framed(b"\xff\xff\xff\xff")
}

#[tokio::test]
async fn the_limit_of_all_calls_comes_after_the_protocol_and_before_the_caller() {
    let server = Server::start_with(|config| config.max_in_flight = 1).await;
    let client = server.connect().await;
    let _in_flight = server.begin(&client, "wait").await;
    let no_grpc = client.call(ASK, &[("content-type", "application/json")], unreadable()).await;
    assert_eq!(no_grpc.http, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(client.call("/lanyard.v1.SessionService/Nothing", &[], unreadable()).await.reason(), "METHOD_UNKNOWN");
    assert_eq!(client.call(ASK, &[], unreadable()).await.reason(), "OVERLOADED");
    assert_eq!(client.health("").await.code(), Code::Ok, "a probe passes none of them");
}

#[tokio::test]
async fn caller_grant_limit_of_the_caller_and_message_are_looked_at_in_this_order() {
    let server = Server::start().await;
    let client = server.connect().await;
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.ask("wait", &[key("single")]).await }
    });
    until(|| server.double.waiting() == 1).await;
    let lock_user = "/lanyard.v1.UserService/LockUser";
    for (path, headers, reason) in [
        (VERIFY, &[] as &[_], "CALLER_UNAUTHENTICATED"),
        (VERIFY, &[key("powerless")], "CALLER_FORBIDDEN"),
        (lock_user, &[key("single")], "CALLER_FORBIDDEN"),
        (VERIFY, &[key("single")], "CALLER_LIMITED"),
        (VERIFY, &[key("known")], "REQUEST_UNREADABLE"),
    ] {
        assert_eq!(client.call(path, headers, unreadable()).await.reason(), reason, "{path}");
    }
    server.double.0.gate.add_permits(1);
    assert_eq!(first.await.expect("a task").code(), Code::Ok);
}

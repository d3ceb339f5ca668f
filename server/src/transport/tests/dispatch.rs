//! Tests that each row of the table of methods reaches its service.

use super::*;

/// The wrong generated service would return `METHOD_UNKNOWN`.
#[tokio::test]
async fn every_row_of_the_table_reaches_its_method() {
    let server = Server::serving(false, |_| {}).await;
    let client = server.connect().await;
    for method in METHODS {
        let answered = client.call(method.path, &[key("mighty")], framed(&[])).await;
        if answered.code() != Code::Ok {
            assert_ne!(answered.reason(), "METHOD_UNKNOWN", "{}", method.path);
        }
    }
}

#[tokio::test]
async fn a_batch_may_be_four_times_as_large_as_any_other_request() {
    let server = Server::serving(false, |_| {}).await;
    let client = server.connect().await;
    // protobuf skips unknown fields.
    let message = |length: usize| {
        let mut message = vec![0xfa, 0x3f];
        prost::encoding::encode_varint(length as u64 - 4, &mut message);
        message.resize(length, 0);
        framed(&message)
    };
    for (path, length, code) in [
        (VERIFY, LIMIT, Code::Ok),
        (VERIFY, LIMIT + 1, Code::OutOfRange),
        (ASK, LIMIT + 1, Code::OutOfRange),
        // Decoded, then refused for having no tokens.
        (BATCH, 4 * LIMIT - 1, Code::InvalidArgument),
        (BATCH, 4 * LIMIT + 1, Code::OutOfRange),
    ] {
        assert_eq!(client.call(path, &[key("known")], message(length)).await.code(), code, "{path} {length}");
    }
}

//! JSON-RPC: `Login` and `Logout`.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::reply::{JSON, Refusal};
use super::{Shared, State};

pub(super) fn answer(shared: &Shared, headers: &HeaderMap, body: &[u8]) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return reply(StatusCode::BAD_REQUEST, &Value::Null, "error", &json!({ "code": -32700, "message": "no JSON" }));
    };
    let id = &request["id"];
    match called(shared, headers, &request) {
        Ok(result) => reply(StatusCode::OK, id, "result", &result),
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.status).expect("a status");
            reply(status, id, "error", &json!({ "code": refusal.code, "message": refusal.message }))
        }
    }
}

fn reply(status: StatusCode, id: &Value, envelope: &str, content: &Value) -> Response {
    let body = json!({ "jsonrpc": "2.0", "id": id, envelope: content });
    (status, [(header::CONTENT_TYPE, JSON)], body.to_string()).into_response()
}

fn called(shared: &Shared, headers: &HeaderMap, request: &Value) -> Result<Value, Refusal> {
    let now = shared.clock.now();
    let mut state = shared.state();
    let State { behaviour, people, sessions, .. } = &mut *state;
    let parameters = &request["params"];
    let text = |name: &str| parameters[name].as_str().unwrap_or_default();
    match request["method"].as_str() {
        Some("Login") => {
            let session = sessions.log_in(people, behaviour, (text("loginName"), text("password")), now)?;
            Ok(json!({ "session": session }))
        }
        Some("Logout") => {
            let bearer =
                headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            let session = parameters["session"].as_str().or(bearer).ok_or_else(Refusal::no_session)?;
            sessions.holder(people, behaviour, session, now)?;
            sessions.log_out(session);
            Ok(json!(""))
        }
        _ => Err(Refusal::new(400, -32601, "The method is not known.")),
    }
}

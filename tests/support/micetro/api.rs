//! `/mmws/api/v2`: which answer belongs to which path.

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse as _, Response};
use serde_json::{Value, json};

use super::data::{ADDRESSES, GROUPS, Kind, RECORDS, ROLES, Row, USERS, text};
use super::people::{Access, Account};
use super::query::{Query, decode, page};
use super::reply::{Answer, Answered, Refusal};
use super::rpc;
use super::{Shared, State};

pub(super) const BASE: &str = "/mmws/api/v2";

/// A request, taken apart.
struct Request<'a> {
    method: &'a str,
    /// Below [`BASE`], decoded.
    segments: Vec<String>,
    query: Query,
    body: &'a [u8],
}

/// Answers a request that is to be answered as well as may be.
pub(super) fn answer(shared: &Shared, parts: &Parts, body: &[u8]) -> Response {
    let path = parts.uri.path();
    if path == "/mmws/json" || path.strip_prefix(BASE).is_some_and(|rest| rest.eq_ignore_ascii_case("/json")) {
        return rpc::answer(shared, &parts.headers, body);
    }
    let Some(below) = path.strip_prefix(BASE) else {
        return (StatusCode::NOT_FOUND, Html("<!doctype html><title>Not found</title>")).into_response();
    };
    let request = Request {
        method: parts.method.as_str(),
        segments: below.split('/').filter(|segment| !segment.is_empty()).map(decode).collect(),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        body,
    };
    let answered = answered(shared, parts, &request);
    answered
        .map_or_else(|refusal| refusal.into_response_for(&parts.headers), |answer| answer.into_response(&parts.headers))
}

fn answered(shared: &Shared, parts: &Parts, request: &Request<'_>) -> Answered {
    let now = shared.clock.now();
    let mut state = shared.state();
    let segments: Vec<_> = request.segments.iter().map(String::as_str).collect();
    let State { behaviour, people, sessions, .. } = &mut *state;
    match (request.method, &segments[..]) {
        ("POST", ["micetro", "sessions"]) if behaviour.bearer => {
            let login = credentials(request.body)?;
            let session = sessions.log_in(people, behaviour, (&login.0, &login.1), now)?;
            return Ok(Answer::Created(json!({ "session": session })));
        }
        ("POST", ["command", "Login"]) => {
            let login = credentials(request.body)?;
            let session = sessions.log_in(people, behaviour, (&login.0, &login.1), now)?;
            return Ok(Answer::Found(json!({ "session": session })));
        }
        ("GET", ["command", "web_getPreLoginInfo"]) => {
            return Ok(Answer::Found(before_login(behaviour.version.as_deref())));
        }
        _ => {}
    }
    let account = sessions.authenticate(people, behaviour, &parts.headers, &request.query, now)?.clone();
    if let ("GET", ["users", "."]) = (request.method, &segments[..]) {
        return Ok(Answer::Found(json!({ "user": state.people.user(&account.name) })));
    }
    if account.access == Access::Nothing {
        return Err(Refusal::no_access());
    }
    let may_write = account.access >= Access::Write;
    match (request.method, &segments[..]) {
        ("GET", ["micetro"]) => system(&account),
        ("GET", [collection, rest @ ..]) => state.read(collection, rest, &request.query),
        (_, _) if !may_write => Err(Refusal::no_access()),
        ("POST", [collection, rest @ ..]) => state.create(collection, rest, request.body),
        ("PUT", [collection, rest @ ..]) if !rest.is_empty() => state.update(collection, &rest.join("/"), request.body),
        ("DELETE", [collection, rest @ ..]) if !rest.is_empty() => state.delete(collection, &rest.join("/")),
        _ => Err(Refusal::not_found(&segments.join("/"))),
    }
}

pub(super) fn parsed(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::invalid("The body is not valid JSON."))
}

fn credentials(body: &[u8]) -> Result<(String, String), Refusal> {
    let body = parsed(body)?;
    let text = |name: &str| {
        let value = body[name].as_str().map(str::to_owned);
        value.ok_or_else(|| Refusal::invalid(&format!("The property '{name}' is missing.")))
    };
    Ok((text("loginName")?, text("password")?))
}

fn before_login(version: Option<&str>) -> Value {
    let mut info = json!({ "centralServer": "localhost", "centralServerFixed": true, "ssoEnabled": false });
    if let Some(version) = version {
        info["centralVersion"] = version.into();
        info["version"] = version.into();
    }
    info
}

fn system(account: &Account) -> Answered {
    if account.access != Access::Administer {
        return Err(Refusal::no_access());
    }
    Ok(Answer::Found(json!({ "systemInfo": { "edition": "fake", "licensedUsers": "5" } })))
}

impl State {
    fn read(&self, collection: &str, rest: &[&str], query: &Query) -> Answered {
        let (kind, rows) = self.rows(collection).ok_or_else(|| Refusal::not_found(collection))?;
        match rest {
            [] => page(kind, rows, query).map(Answer::Found),
            [
                name,
                below @ ("dnsRecords" | "dnsZones" | "ipamRecords" | "nextFreeAddress" | "groups" | "users" | "roles"),
            ] => {
                let row = find(kind, rows, name)?;
                self.below(kind, &row, below, query)
            }
            // `/ranges/ranges/6` is `/ranges/6`.
            name => Ok(Answer::Found(json!({ kind.singular: find(kind, rows, &name.join("/"))? }))),
        }
    }

    fn rows(&self, collection: &str) -> Option<(&'static Kind, Vec<Row>)> {
        Some(match collection {
            "users" => (&USERS, self.people.user_rows()),
            "roles" => (&ROLES, self.people.role_rows()),
            "groups" => (&GROUPS, self.people.group_rows()),
            _ => self.data.table(collection).map(|table| (table.kind, table.rows.clone()))?,
        })
    }

    /// What belongs to an object.
    fn below(&self, kind: &Kind, row: &Row, name: &str, query: &Query) -> Answered {
        let of_table = |collection: &str| self.rows(collection).map(|(_, rows)| rows).unwrap_or_default();
        let reference = text(row, kind.reference);
        let (kind, rows) = match (kind.collection, name) {
            ("dnsZones", "dnsRecords") => {
                let mut rows = of_table("dnsRecords");
                rows.retain(|record| text(record, "dnsZoneRef") == reference);
                (&RECORDS, rows)
            }
            ("dnsViews", "dnsZones") => {
                let (kind, mut rows) = self.rows("dnsZones").ok_or_else(|| Refusal::not_found(name))?;
                rows.retain(|zone| text(zone, "dnsViewRef") == reference);
                (kind, rows)
            }
            ("ranges", "ipamRecords") => (&ADDRESSES, within(row, of_table("ipamRecords"))),
            ("ranges", "nextFreeAddress") => {
                let free = |address: &Row| address["claimed"] == false && text(address, "state") == "Free";
                let free = within(row, of_table("ipamRecords")).into_iter().find(free);
                let address = free.map_or_else(String::new, |row| text(&row, "address").to_owned());
                return Ok(Answer::Found(json!({ "address": address })));
            }
            ("users", "groups" | "roles") | ("roles", "users" | "groups") | ("groups", "roles") => {
                let members = row[name].as_array().cloned().unwrap_or_default();
                return Ok(Answer::Found(json!({ name: members, "totalResults": members.len() })));
            }
            _ => return Err(Refusal::not_found(name)),
        };
        page(kind, rows, query).map(Answer::Found)
    }
}

fn find(kind: &Kind, mut rows: Vec<Row>, name: &str) -> Result<Row, Refusal> {
    let position = super::data::position(kind, &rows, name).ok_or_else(|| missing(kind, name))?;
    Ok(rows.swap_remove(position))
}

/// By number it is a reference, else a name.
pub(super) fn missing(kind: &Kind, name: &str) -> Refusal {
    let number = name.rsplit('/').next().unwrap_or(name);
    match number.parse::<u64>() {
        Ok(number) => Refusal::no_object(&format!("{}/{number}", kind.collection)),
        Err(_) => Refusal::not_found(name),
    }
}

/// The addresses of a range; ours are of version 4.
fn within(range: &Row, mut addresses: Vec<Row>) -> Vec<Row> {
    let number = |row: &Row, property: &str| text(row, property).parse::<std::net::Ipv4Addr>().map(u32::from).ok();
    let (from, to) = (number(range, "from"), number(range, "to"));
    addresses.retain(|row| number(row, "address").is_some_and(|address| Some(address) >= from && Some(address) <= to));
    addresses
}

//! The fake Micetro itself: what others are tested with must do what it says.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use lanyard_tests::support::http::{Page, get, request};
use lanyard_tests::support::micetro::{ADMINISTRATOR, ALICE, BOB, CAROL, FakeMicetro, Fault, Injection, Refusal, ZOE};
use serde_json::{Value, json};

const API: &str = "/mmws/api/v2";

/// Somebody who calls it.
struct Caller<'a> {
    micetro: &'a FakeMicetro,
    authorization: String,
}

fn basic((name, password): (&str, &str)) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn caller<'a>(micetro: &'a FakeMicetro, who: (&str, &str)) -> Caller<'a> {
    Caller { micetro, authorization: basic(who) }
}

impl Caller<'_> {
    async fn call(&self, method: Method, path: &str, body: &Value) -> Page {
        let headers = [("authorization", self.authorization.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let url = format!("{}{API}{path}", self.micetro.url());
        request(method, &url, &headers, body).await.expect("a whole answer")
    }

    async fn get(&self, path: &str) -> Page {
        self.call(Method::GET, path, &Value::Null).await
    }

    async fn found(&self, path: &str) -> Value {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        page.json()["result"].clone()
    }

    /// The names in a list.
    async fn names(&self, path: &str, collection: &str) -> Vec<String> {
        let list = self.found(path).await;
        let rows = list[collection].as_array().unwrap_or_else(|| panic!("{path}: {list}")).iter();
        rows.map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
    }
}

fn refusal(page: &Page) -> (u16, i64) {
    let json = page.json();
    assert!(json["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{json}");
    (page.status.as_u16(), json["error"]["code"].as_i64().expect("a number"))
}

async fn log_in(micetro: &FakeMicetro, (name, password): (&str, &str)) -> Page {
    let body = json!({ "loginName": name, "password": password }).to_string();
    request(Method::POST, &format!("{}{API}/micetro/sessions", micetro.url()), &[], body).await.expect("a whole answer")
}

async fn bearer(micetro: &FakeMicetro, who: (&str, &str)) -> String {
    let page = log_in(micetro, who).await;
    assert_eq!(page.status, 201, "{page:?}");
    format!("Bearer {}", page.json()["result"]["session"].as_str().expect("a session"))
}

#[tokio::test]
async fn a_login_gives_a_session_and_both_schemes_are_good() {
    let micetro = FakeMicetro::start();
    for authorization in [basic(ALICE), bearer(&micetro, ALICE).await, bearer(&micetro, ZOE).await, basic(ZOE)] {
        let list = Caller { micetro: &micetro, authorization }.found("/addressSpaces?limit=1").await;
        assert_eq!((&list["totalResults"], &list["addressSpaces"][0]["ref"]), (&json!(1), &json!("addressSpaces/1")));
    }
    assert_eq!((micetro.sessions_of(ALICE.0), micetro.sessions_of(BOB.0)), (1, 0));
}

#[tokio::test]
async fn who_is_not_known_is_refused_in_the_known_ways() {
    let micetro = FakeMicetro::start();
    assert_eq!(refusal(&log_in(&micetro, (ALICE.0, "wrong")).await), (401, 16394));
    assert_eq!(refusal(&log_in(&micetro, ("nobody", "x")).await), (401, 16394));
    assert_eq!(refusal(&caller(&micetro, (ALICE.0, "wrong")).get("/dnsServers").await), (401, 16394));
    for (authorization, code) in [("", 5002), ("Digest x", 5002), ("Bearer made-up", 5003), ("Basic !", 16394)] {
        let caller = Caller { micetro: &micetro, authorization: authorization.to_owned() };
        assert_eq!(refusal(&caller.get("/dnsServers").await), (401, code), "{authorization}");
    }
    let bearer = bearer(&micetro, ALICE).await;
    micetro.behaves(|behaviour| behaviour.basic = false);
    assert_eq!(refusal(&caller(&micetro, ALICE).get("/dnsServers").await), (401, 5002));
    Caller { micetro: &micetro, authorization: bearer }.found("/dnsServers").await;
    micetro.behaves(|behaviour| behaviour.bearer = false);
    assert_eq!(log_in(&micetro, ALICE).await.status, 401, "before 11.1 there is no such path, and no session");
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_at_the_cap_there_is_no_new_one() {
    let micetro = FakeMicetro::start();
    let ttl = Duration::from_mins(15);
    let almost = ttl.saturating_sub(Duration::from_micros(1));
    let alice = Caller { micetro: &micetro, authorization: bearer(&micetro, ALICE).await };
    for _ in 0..3 {
        micetro.clock.advance(almost);
        alice.found("/users/.").await;
    }
    micetro.clock.advance(ttl);
    assert_eq!(refusal(&alice.get("/users/.").await), (401, 5003));

    micetro.behaves(|behaviour| behaviour.activity_extends = false);
    let alice = Caller { micetro: &micetro, authorization: bearer(&micetro, ALICE).await };
    for _ in 0..2 {
        micetro.clock.advance(ttl / 2);
        let page = alice.get("/users/.").await;
        let is_over = micetro.sessions_of(ALICE.0) == 0;
        assert_eq!(page.status, if is_over { 401 } else { 200 });
    }

    micetro.behaves(|behaviour| behaviour.connection_cap = Some(1));
    bearer(&micetro, ALICE).await;
    let refused = log_in(&micetro, ALICE).await;
    assert_eq!(refused.json()["error"]["message"], "Too many open connections");
    micetro.end_sessions();
    bearer(&micetro, ALICE).await;
}

#[tokio::test]
async fn two_front_ends_share_sessions_and_one_may_go_away() {
    let mut micetro = FakeMicetro::start_pair();
    let authorization = bearer(&micetro, ALICE).await;
    let [first, second] = [0, 1].map(|number| format!("{}{API}/users/.", micetro.urls()[number]));
    assert_eq!(get(&second, &[("authorization", &authorization)]).await.status, 200);
    assert_eq!(micetro.seen().last().unwrap().front_end, 1);
    micetro.goes_down(0);
    assert!(request(Method::GET, &first, &[], "").await.is_err());
    assert_eq!(get(&second, &[("authorization", &authorization)]).await.status, 200);
    micetro.comes_back(0);
    assert_eq!(get(&first, &[("authorization", &authorization)]).await.status, 200);
}

#[tokio::test]
async fn the_version_is_told_to_everybody_and_the_system_to_administrators() {
    let micetro = FakeMicetro::start();
    let info = get(&format!("{}{API}/command/web_getPreLoginInfo", micetro.url()), &[]).await;
    assert_eq!(info.json()["result"]["centralVersion"], "26.1.0");
    assert_eq!(info.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(refusal(&caller(&micetro, ALICE).get("/micetro").await), (400, 1028));
    assert!(caller(&micetro, ADMINISTRATOR).found("/micetro").await["systemInfo"].is_object());
}

#[tokio::test]
async fn a_user_reads_who_they_are_and_which_roles_they_have() {
    let micetro = FakeMicetro::start();
    let names = |roles: &Value| -> Vec<String> {
        roles.as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap().to_owned()).collect()
    };
    let alice = caller(&micetro, ALICE);
    let user = alice.found("/users/.").await["user"].clone();
    assert_eq!((user["name"].as_str(), names(&user["roles"])), (Some("alice"), vec!["GW_all".to_owned()]));
    assert_eq!(names(&user["groupRoles"]), ["GW_operations", "DNS editors"]);
    assert!(user.get("password").is_none(), "{user}");
    assert_eq!(alice.found("/roles/GW_all/users").await["users"][1]["ref"], "users/2");
    micetro.give_roles(ALICE.0, &[]);
    assert_eq!(alice.found("/users/alice").await["user"]["roles"], json!([]));
    let carol = caller(&micetro, CAROL);
    assert_eq!(carol.found("/users/.").await["user"]["name"], "carol");
    assert_eq!(refusal(&carol.get("/addressSpaces?limit=1").await), (400, 1028));
}

#[tokio::test]
async fn an_object_is_found_by_number_by_reference_and_by_name() {
    let micetro = FakeMicetro::start();
    let alice = caller(&micetro, ALICE);
    for path in ["/dnsZones/1", "/dnsZones/dnsZones/1", "/dnsZones/example.com.", "/dnsZones/example%2Ecom."] {
        assert_eq!(alice.found(path).await["dnsZone"]["name"], "example.com.", "{path}");
    }
    let address = alice.found("/ipamRecords/192.0.2.31").await["ipamRecord"].clone();
    assert_eq!((&address["addrRef"], &address["claimed"]), (&json!("ipamRecords/31"), &json!(true)));
    assert_eq!(alice.found("/ranges/1/nextFreeAddress").await["address"], "192.0.2.10");
    assert_eq!(refusal(&alice.get("/dnsZones/99").await), (400, 2049));
    for path in ["/dnsZones/nowhere.", "/servers", "/dnsZones/1/nothing"] {
        assert_eq!(refusal(&alice.get(path).await), (400, 16544), "{path}");
    }
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let micetro = FakeMicetro::start();
    let alice = caller(&micetro, ALICE);
    for (filter, names) in [
        ("name=ns1.example.net.", &["ns1.example.net."][..]),
        ("name=%5ENS", &["ns1.example.net.", "ns2.example.net."]),
        ("name%3D%5Ens%20state=OK%20type!=MS%20address=192.0.2.53", &["ns1.example.net."]),
        ("customProperties=south%26type=MS", &["dc1.example.net."]),
        ("name:%5Edc1.example.net.$", &["dc1.example.net."]),
        ("name:ns2", &["ns2.example.net."]),
        ("%22north%20%26%20west%22", &["ns1.example.net."]),
        ("state!=OK", &["dc1.example.net."]),
        ("203.0.113", &["dc1.example.net."]),
        ("nothing-of-that", &[]),
    ] {
        assert_eq!(alice.names(&format!("/dnsServers?filter={filter}"), "dnsServers").await, names, "{filter}");
    }
    let sorted = alice.names("/dnsServers?sortBy=name&sortOrder=Descending&limit=2", "dnsServers").await;
    assert_eq!(sorted, ["ns2.example.net.", "ns1.example.net."]);
    let page = alice.found("/dnsServers?limit=2&offset=2").await;
    assert_eq!((page["dnsServers"].as_array().unwrap().len(), &page["totalResults"]), (1, &json!(3)));
    let page = alice.found("/dnsServers?limit=2&targetRef=dnsServers/3").await;
    assert_eq!((&page["offset"], &page["dnsServers"][0]["ref"]), (&json!(2), &json!("dnsServers/3")));
    assert_eq!(refusal(&alice.get("/dnsRecords?offset=500").await), (400, 520));
    assert_eq!(refusal(&alice.get("/ranges/1/ipamRecords?offset=500").await), (400, 265));
    assert_eq!(refusal(&alice.get("/dnsServers?limit=some").await), (400, 16));
    assert_eq!(refusal(&alice.get("/dnsServers?sortOrder=Up").await), (400, 16));
}

#[tokio::test]
async fn a_plus_in_a_query_is_a_plus() {
    let micetro = FakeMicetro::start();
    let alice = caller(&micetro, ALICE);
    let names =
        async |filter: &str| alice.names(&format!("/dnsZones/1/dnsRecords?filter={filter}"), "dnsRecords").await;
    assert_eq!(names("comment=a+b").await, ["www"]);
    assert_eq!(names("comment=%22in+and+out%22").await, [""; 0]);
    assert_eq!(names("comment=%22in%20and%20out%22").await, ["mail"]);
}

#[tokio::test]
async fn objects_are_made_changed_and_removed_by_who_may() {
    let micetro = FakeMicetro::start();
    let alice = caller(&micetro, ALICE);
    let zone = json!({ "dnsZone": { "name": "new.example.", "type": "Master", "customProperties": { "floor": 7 } } });
    assert_eq!(refusal(&caller(&micetro, BOB).call(Method::POST, "/dnsZones", &zone).await), (400, 1028));
    let made = alice.call(Method::POST, "/dnsZones", &zone).await;
    assert_eq!((made.status.as_u16(), made.json()), (201, json!({ "result": { "ref": "dnsZones/4" } })));
    assert_eq!(alice.found("/dnsZones/4").await["dnsZone"]["customProperties"]["floor"], "7");

    let records = json!({ "dnsRecords": [
        { "name": "a", "type": "A", "data": "192.0.2.1", "dnsZoneRef": "dnsZones/4" },
        { "name": "b", "type": "A", "data": "192.0.2.2", "dnsZoneRef": "dnsZones/99" },
        { "name": "c", "type": "A" },
    ] });
    let made = alice.call(Method::POST, "/dnsRecords", &records).await;
    let result = made.json()["result"].clone();
    assert_eq!(made.status, 201);
    assert_eq!(result["objRefs"], json!(["dnsRecords/15", "{#0-#0}", "{#0-#0}"]));
    let errors = result["errors"].as_array().unwrap();
    assert!(errors[0] == "" && errors[1] != "" && errors[2] != "", "{errors:?}");

    let change = json!({ "properties": { "comment": "changed" } });
    let changed = alice.call(Method::PUT, "/dnsRecords/15", &change).await;
    assert_eq!((changed.status.as_u16(), changed.body.len()), (204, 0));
    assert_eq!(alice.found("/dnsZones/new.example./dnsRecords").await["dnsRecords"][0]["comment"], "changed");
    let unknown = json!({ "properties": { "colour": "red" } });
    assert_eq!(refusal(&alice.call(Method::PUT, "/dnsRecords/15", &unknown).await), (400, 16));
    assert_eq!(alice.call(Method::DELETE, "/dnsZones/4", &Value::Null).await.status, 204);
    assert_eq!(refusal(&alice.get("/dnsRecords/15").await), (400, 2049));
    assert_eq!(refusal(&alice.call(Method::POST, "/users", &json!({ "user": {} })).await), (400, 16544));
}

#[tokio::test]
async fn xml_is_answered_to_who_accepts_it() {
    let micetro = FakeMicetro::start();
    let url = format!("{}{API}/organizations", micetro.url());
    let page = get(&url, &[("authorization", &basic(ALICE)), ("accept", "application/xml")]).await;
    assert_eq!(page.header("content-type"), Some("application/xml; charset=utf-8"));
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(text.contains("<organization>") && text.contains("<description>All there is</description>"), "{text}");
}

#[tokio::test]
async fn json_rpc_logs_in_and_out() {
    let micetro = FakeMicetro::start();
    let call = async |path: &str, method: &str, params: Value| {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string();
        request(Method::POST, &format!("{}{path}", micetro.url()), &[], body).await.unwrap()
    };
    let login = json!({ "server": "localhost", "loginName": ALICE.0, "password": ALICE.1 });
    let session = call("/mmws/json", "Login", login.clone()).await.json()["result"]["session"].clone();
    let authorization = format!("Bearer {}", session.as_str().unwrap());
    Caller { micetro: &micetro, authorization }.found("/users/.").await;
    let out = call("/mmws/api/v2/JSON", "Logout", json!({ "session": session })).await;
    assert_eq!(out.json(), json!({ "jsonrpc": "2.0", "id": 7, "result": "" }));
    let again = call("/mmws/json", "Logout", json!({ "session": session })).await;
    assert_eq!((again.status.as_u16(), &again.json()["error"]["code"]), (401, &json!(5003)));
    let wrong = call("/mmws/json", "Login", json!({ "loginName": ALICE.0, "password": "wrong" })).await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["error"]["code"]), (401, &json!(16394)));
    assert_eq!(call("/mmws/json", "RemoveObject", json!({})).await.status, 400);
}

#[tokio::test]
async fn a_fault_shows_where_and_as_often_as_it_is_told_to() {
    let micetro = FakeMicetro::start();
    let alice = caller(&micetro, ALICE);
    micetro.fails(Injection::new(Fault::Refuse(Refusal::standby())).at("/dnsServers").on("GET").times(2));
    for (path, status) in [("/users/.", 200), ("/dnsServers", 400), ("/dnsServers/1", 400), ("/dnsServers", 200)] {
        assert_eq!(alice.get(path).await.status, status, "{path}");
    }
    micetro.fails(Injection::new(Fault::Html(502)));
    assert_eq!(alice.get("/users/.").await.header("content-type"), Some("text/html"));
    micetro.recovers();
    alice.found("/users/.").await;
}

#[tokio::test]
async fn each_fault_does_what_it_is_called() {
    let micetro = FakeMicetro::start();
    let alice = caller(&micetro, ALICE);
    let whole = alice.get("/users/.").await;
    let with = async |fault: Fault| {
        micetro.fails(Injection::new(fault).times(1));
        alice.get("/users/.").await
    };
    assert_eq!(refusal(&with(Fault::Refuse(Refusal::no_central().with_status(503))).await), (503, 515));
    assert_eq!(with(Fault::ErrorWithoutError(500)).await.json().get("error"), None);
    let redirect = with(Fault::Redirect("http://127.0.0.2:1".to_owned())).await;
    assert_eq!(redirect.header("location"), Some("http://127.0.0.2:1/mmws/api/v2/users/."));
    assert_eq!(with(Fault::Status(203)).await.status, 203);
    assert_eq!(with(Fault::NoContentType).await.header("content-type"), None);
    assert!(serde_json::from_slice::<Value>(&with(Fault::BrokenJson).await.body).is_err());
    assert_eq!(with(Fault::EmptyBody).await.body.len(), 0);
    let huge = with(Fault::Huge(100_000)).await;
    assert_eq!((huge.body.len(), huge.json()), (100_000 + whole.body.len(), whole.json()));
    assert_eq!(with(Fault::Text).await.body, "pong");

    let url = format!("{}{API}/users/.", micetro.url());
    micetro.fails(Injection::new(Fault::Dropped).times(1));
    assert!(request(Method::GET, &url, &[("authorization", &alice.authorization)], "").await.is_err());
    for endless in [Fault::Silence, Fault::Endless, Fault::Trickle] {
        micetro.fails(Injection::new(endless).times(1));
        let headers = [("authorization", alice.authorization.as_str())];
        let answer = request(Method::GET, &url, &headers, "");
        assert!(tokio::time::timeout(Duration::from_millis(50), answer).await.is_err());
    }
}

#[tokio::test]
async fn what_was_asked_is_remembered_as_it_came() {
    let micetro = FakeMicetro::start();
    let alice = caller(&micetro, ALICE);
    alice.get("/dnsZones/example%2Ecom.?filter=a+b%20c").await;
    let seen = micetro.seen();
    let [seen] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((seen.method.as_str(), seen.target().as_str()), ("GET", "/dnsZones/example%2Ecom.?filter=a+b%20c"));
    assert_eq!(seen.authorization(), Some(basic(ALICE).as_str()));
    micetro.forget_seen();
    assert!(micetro.seen().is_empty());
}

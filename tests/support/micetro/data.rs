//! The objects: a table for each collection.

use serde_json::{Map, Value, json};

/// The properties of an object.
pub(super) type Row = Map<String, Value>;

/// What is known of a collection.
#[derive(Debug)]
pub(super) struct Kind {
    /// As in its path and in lists.
    pub(super) collection: &'static str,
    /// As around one object.
    pub(super) singular: &'static str,
    /// The property that holds the reference.
    pub(super) reference: &'static str,
    /// The property that names an object where no number does.
    pub(super) name: &'static str,
    /// Those that must be there to make one; nothing: not made by requests.
    pub(super) required: &'static [&'static str],
    /// The others that may be set.
    pub(super) optional: &'static [&'static str],
    /// The refusal of a page past the end.
    pub(super) past_the_end: Option<i64>,
}

const fn kind(collection: &'static str, singular: &'static str) -> Kind {
    Kind { collection, singular, reference: "ref", name: "name", required: &[], optional: &[], past_the_end: None }
}

pub(super) const USERS: Kind = kind("users", "user");
pub(super) const ROLES: Kind = kind("roles", "role");
pub(super) const GROUPS: Kind = kind("groups", "group");
pub(super) const RECORDS: Kind = Kind {
    required: &["name", "type", "data"],
    optional: &["ttl", "comment", "enabled", "aging", "dnsZoneRef", "customProperties"],
    past_the_end: Some(520),
    ..kind("dnsRecords", "dnsRecord")
};
pub(super) const ADDRESSES: Kind = Kind {
    reference: "addrRef",
    name: "address",
    optional: &["claimed", "device", "interface", "customProperties"],
    past_the_end: Some(265),
    ..kind("ipamRecords", "ipamRecord")
};

/// The tables, in the order of [`Data::default`].
static KINDS: [Kind; 10] = [
    kind("addressSpaces", "addressSpace"),
    kind("organizations", "organization"),
    Kind { optional: &["name", "address", "enabled", "customProperties"], ..kind("dnsServers", "dnsServer") },
    Kind { optional: &["name", "address", "enabled", "customProperties"], ..kind("dhcpServers", "dhcpServer") },
    kind("dnsViews", "dnsView"),
    Kind {
        required: &["name", "type"],
        optional: &["dnsViewRef", "authority", "dynamic", "enabled", "customProperties"],
        ..kind("dnsZones", "dnsZone")
    },
    RECORDS,
    Kind {
        required: &["name", "from", "to"],
        optional: &["locked", "isContainer", "customProperties"],
        ..kind("ranges", "range")
    },
    ADDRESSES,
    Kind {
        required: &["rangeRef", "dhcpServerRef"],
        optional: &["name", "description", "superscope", "enabled", "customProperties"],
        ..kind("dhcpScopes", "dhcpScope")
    },
];

/// The objects of one collection, in the order of their numbers.
pub(super) struct Table {
    pub(super) kind: &'static Kind,
    pub(super) rows: Vec<Row>,
    next_number: usize,
}

impl Table {
    fn new(kind: &'static Kind, rows: Value) -> Self {
        let mut table = Self { kind, rows: Vec::new(), next_number: 1 };
        let Value::Array(rows) = rows else { unreachable!("written as a list below") };
        for row in rows {
            let Value::Object(row) = row else { unreachable!("written as objects below") };
            table.add(row);
        }
        table
    }

    /// Adds an object and returns its reference.
    pub(super) fn add(&mut self, mut row: Row) -> String {
        let reference = format!("{}/{}", self.kind.collection, self.next_number);
        self.next_number += 1;
        row.insert(self.kind.reference.to_owned(), reference.clone().into());
        self.rows.push(row);
        reference
    }

    /// The place of an object that is named by number, by reference or by its name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        position(self.kind, &self.rows, name)
    }
}

/// `7`, `dnsZones/7` and `example.com.` all name an object.
pub(super) fn position(kind: &Kind, rows: &[Row], name: &str) -> Option<usize> {
    let number = name.rsplit_once('/').map_or(name, |(_, number)| number);
    let reference = format!("{}/{number}", kind.collection);
    rows.iter().position(|row| {
        let is = |property: &str, text: &str| {
            row.get(property).and_then(Value::as_str).is_some_and(|value| value.eq_ignore_ascii_case(text))
        };
        is(kind.reference, &reference) || is(kind.name, name)
    })
}

/// The value of a text property.
pub(super) fn text<'a>(row: &'a Row, property: &str) -> &'a str {
    row.get(property).and_then(Value::as_str).unwrap_or_default()
}

pub(super) struct Data {
    tables: Vec<Table>,
}

impl Data {
    pub(super) fn table(&self, collection: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.kind.collection == collection)
    }

    pub(super) fn table_mut(&mut self, collection: &str) -> Option<&mut Table> {
        self.tables.iter_mut().find(|table| table.kind.collection == collection)
    }
}

impl Default for Data {
    fn default() -> Self {
        let rows = [
            json!([{ "name": "default", "description": "All there is" }]),
            json!([{ "name": "default", "description": "All there is" }]),
            dns_servers(),
            dhcp_servers(),
            json!([
                { "name": "", "dnsServerRef": "dnsServers/1" },
                { "name": "inside", "dnsServerRef": "dnsServers/2" },
            ]),
            dns_zones(),
            dns_records(),
            json!([
                range("lab", "192.0.2.0", "192.0.2.255", &Value::Null, false),
                range("lab, dynamic", "192.0.2.128", "192.0.2.159", &json!("ranges/1"), true),
            ]),
            addresses(),
            json!([{ "name": "lab", "rangeRef": "ranges/2", "dhcpServerRef": "dhcpServers/1", "superscope": "",
                "description": "", "available": 30, "enabled": true }]),
        ];
        Self { tables: KINDS.iter().zip(rows).map(|(kind, rows)| Table::new(kind, rows)).collect() }
    }
}

fn dns_servers() -> Value {
    let server = |name: &str, address: &str, kind: &str, state: &str, site: &str| {
        json!({
            "name": name, "proxy": "", "address": address, "resolvedAddress": address, "port": 53, "type": kind,
            "subtype": "", "state": state, "enabled": true, "applianceRef": "", "adForest": "",
            "customProperties": { "site": site, "rack": "7" },
            "created": "2025-03-01 09:30:00", "lastModified": "2025-11-12 16:04:11",
        })
    };
    json!([
        server("ns1.example.net.", "192.0.2.53", "BIND", "OK", "north & west"),
        server("ns2.example.net.", "198.51.100.53", "BIND", "OK", "south"),
        server("dc1.example.net.", "203.0.113.53", "MS", "Unreachable", "south"),
    ])
}

fn dhcp_servers() -> Value {
    let server = |name: &str, address: &str, kind: &str, enabled: bool| {
        json!({
            "name": name, "address": address, "resolvedAddress": address, "proxy": "", "type": kind, "subtype": "",
            "haMode": "", "state": "OK", "enabled": enabled, "dhcpv6": false, "security": "", "useHTTPS": false,
            "applianceRef": "", "customProperties": {},
        })
    };
    json!([
        server("dhcp1.example.net.", "192.0.2.67", "Kea", true),
        server("dhcp2.example.net.", "198.51.100.67", "ISC", false)
    ])
}

fn dns_zones() -> Value {
    let zone = |name: &str, view: u8, dynamic: bool| {
        json!({
            "name": name, "type": "Master", "dynamic": dynamic, "adIntegrated": false,
            "dnsViewRef": format!("dnsViews/{view}"), "dnsViewRefs": [format!("dnsViews/{view}")],
            "authority": "ns1.example.net.", "dnssecSigned": false, "displayName": name, "enabled": true,
            "customProperties": { "owner": "network team" },
            "created": "2025-03-01 09:31:00", "lastModified": "2025-10-02 08:00:00",
        })
    };
    json!([zone("example.com.", 1, false), zone("example.org.", 1, true), zone("2.0.192.in-addr.arpa.", 2, false)])
}

fn dns_records() -> Value {
    let record = |zone: u8, name: &str, kind: &str, data: &str, comment: &str| {
        json!({
            "name": name, "type": kind, "ttl": "3600", "data": data, "comment": comment, "enabled": true, "aging": 0,
            "dnsZoneRef": format!("dnsZones/{zone}"), "customProperties": {},
        })
    };
    let mut records = vec![
        record(1, "", "SOA", "ns1.example.net.\thostmaster.example.com.\t7\t3600\t600\t604800\t300", ""),
        record(1, "", "NS", "ns1.example.net.", ""),
        record(1, "mail", "MX", "10\tmx.example.com.", "in and out"),
        record(1, "www", "CNAME", "web-01.example.com.", "a+b"),
        record(2, "", "SOA", "ns1.example.net.\thostmaster.example.org.\t1\t3600\t600\t604800\t300", ""),
    ];
    let web = (1..=9).map(|number| record(1, &format!("web-{number:02}"), "A", &format!("192.0.2.{number}"), ""));
    records.extend(web);
    records.into()
}

fn range(name: &str, from: &str, to: &str, parent: &Value, is_leaf: bool) -> Value {
    json!({
        "name": name, "from": from, "to": to, "parentRef": parent, "childRanges": [], "isLeaf": is_leaf,
        "dhcpScopes": [], "subnet": !is_leaf, "locked": false, "inheritAccess": true, "isContainer": false,
        "utilizationPercentage": 7, "customProperties": { "vlan": "120" },
    })
}

fn addresses() -> Value {
    let addresses = (1..=40).map(|number| {
        let hosts = if number <= 9 { json!([{ "name": format!("web-{number:02}.example.com.") }]) } else { json!([]) };
        json!({
            "address": format!("192.0.2.{number}"), "claimed": number == 31, "dnsHosts": hosts, "dhcpReservations": [],
            "dhcpLeases": [], "discoveryType": "None", "lastSeenDate": "", "lastDiscoveryDate": "",
            "lastKnownClientIdentifier": "", "device": "", "interface": "", "ptrStatus": "Unknown",
            "state": if number <= 9 { "Assigned" } else { "Free" }, "customProperties": {},
        })
    });
    addresses.collect()
}

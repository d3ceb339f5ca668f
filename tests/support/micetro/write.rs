//! Objects made, changed and removed.

use serde_json::{Map, Value, json};

use super::State;
use super::api::{missing, parsed};
use super::data::{Kind, RECORDS, Row, Table};
use super::reply::{Answer, Answered, Refusal};

/// What a reference to nothing looks like in the answer to a batch.
const NOTHING: &str = "{#0-#0}";

impl State {
    /// `POST /dnsZones`, `POST /dnsZones/1/dnsRecords`, `POST /dnsRecords`.
    pub(super) fn create(&mut self, collection: &str, rest: &[&str], body: &[u8]) -> Answered {
        let (collection, zone) = match (collection, rest) {
            (collection, []) => (collection, None),
            ("dnsZones", [zone, "dnsRecords"]) => (RECORDS.collection, Some(self.reference("dnsZones", zone)?)),
            (_, rest) => return Err(Refusal::not_found(&rest.join("/"))),
        };
        let kind = self.writable(collection)?.kind;
        let mut body = parsed(body)?;
        let prepare = |mut row: Value| {
            if let Some(zone) = &zone {
                row["dnsZoneRef"] = zone.as_str().into();
            }
            row
        };
        if kind.collection == RECORDS.collection
            && let Value::Array(records) = body[kind.collection].take()
        {
            return Ok(self.create_records(records.into_iter().map(prepare)));
        }
        let row = body[kind.singular].take();
        if !row.is_object() {
            return Err(Refusal::invalid(&format!("The property '{}' is missing.", kind.singular)));
        }
        let reference = self.create_one(kind, prepare(row))?;
        Ok(Answer::Created(json!({ "ref": reference })))
    }

    /// Each by itself: what can be made is made, and the answer says what could not.
    fn create_records(&mut self, records: impl Iterator<Item = Value>) -> Answer {
        let (mut references, mut errors) = (Vec::new(), Vec::new());
        for record in records {
            match self.create_one(&RECORDS, record) {
                Ok(reference) => {
                    references.push(reference);
                    errors.push(String::new());
                }
                Err(refusal) => {
                    references.push(NOTHING.to_owned());
                    errors.push(refusal.message);
                }
            }
        }
        Answer::Created(json!({ "objRefs": references, "errors": errors }))
    }

    fn create_one(&mut self, kind: &Kind, row: Value) -> Result<String, Refusal> {
        let Value::Object(row) = row else { return Err(Refusal::invalid("An object is expected.")) };
        let row = checked(kind, row)?;
        if let Some(property) = kind.required.iter().find(|property| !row.contains_key(**property)) {
            return Err(Refusal::invalid(&format!("The property '{property}' is missing.")));
        }
        if kind.collection == RECORDS.collection {
            self.reference("dnsZones", row.get("dnsZoneRef").and_then(Value::as_str).unwrap_or_default())?;
        }
        Ok(self.writable(kind.collection)?.add(row))
    }

    pub(super) fn update(&mut self, collection: &str, name: &str, body: &[u8]) -> Answered {
        let table = self.writable(collection)?;
        let position = table.position(name).ok_or_else(|| missing(table.kind, name))?;
        let Value::Object(properties) = parsed(body)?["properties"].take() else {
            return Err(Refusal::invalid("The property 'properties' is missing."));
        };
        let properties = checked(table.kind, properties)?;
        table.rows[position].extend(properties);
        Ok(Answer::Done)
    }

    pub(super) fn delete(&mut self, collection: &str, name: &str) -> Answered {
        let reference = self.reference(collection, name)?;
        let table = self.writable(collection)?;
        let position = table.position(name).ok_or_else(|| missing(table.kind, name))?;
        table.rows.remove(position);
        if collection == "dnsZones"
            && let Some(records) = self.data.table_mut(RECORDS.collection)
        {
            records.rows.retain(|record| record["dnsZoneRef"] != reference.as_str());
        }
        Ok(Answer::Done)
    }

    fn reference(&self, collection: &str, name: &str) -> Result<String, Refusal> {
        let table = self.data.table(collection).ok_or_else(|| Refusal::not_found(collection))?;
        let position = table.position(name).ok_or_else(|| missing(table.kind, name))?;
        Ok(super::data::text(&table.rows[position], table.kind.reference).to_owned())
    }

    fn writable(&mut self, collection: &str) -> Result<&mut Table, Refusal> {
        let writable = |table: &&mut Table| !(table.kind.required.is_empty() && table.kind.optional.is_empty());
        self.data.table_mut(collection).filter(writable).ok_or_else(|| Refusal::not_found(collection))
    }
}

/// The properties, all of them known. Custom ones are texts, whatever they were sent as.
fn checked(kind: &Kind, mut row: Map<String, Value>) -> Result<Row, Refusal> {
    let unknown =
        row.keys().find(|key| !kind.required.contains(&key.as_str()) && !kind.optional.contains(&key.as_str()));
    if let Some(key) = unknown {
        return Err(Refusal::invalid(&format!("The property '{key}' is not known.")));
    }
    if let Some(Value::Object(custom)) = row.get_mut("customProperties") {
        for value in custom.values_mut().filter(|value| !value.is_string()) {
            *value = value.to_string().into();
        }
    }
    Ok(row)
}

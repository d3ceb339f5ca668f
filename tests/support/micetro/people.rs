//! Users, roles and groups.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::data::Row;
use super::{ADMINISTRATOR, ALICE, BOB, CAROL, ZOE};

/// What a user may do with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Nothing,
    Read,
    Write,
    Administer,
}

/// A user.
#[derive(Clone, Debug)]
pub struct Account {
    pub name: String,
    pub password: String,
    pub full_name: String,
    pub access: Access,
    /// Names of roles.
    pub roles: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
}

/// Everybody, and what there is to be.
pub(super) struct People {
    accounts: Vec<Account>,
}

/// The groups and the roles that they give.
static GROUPS: [(&str, &[&str]); 2] = [("operations", &["GW_operations", "DNS editors"]), ("visitors", &[])];
static ROLES: [&str; 6] = ["Administrators", "GW_admin", "GW_all", "GW_operations", "DNS editors", "Readers"];

impl Default for People {
    fn default() -> Self {
        let accounts = [
            (ADMINISTRATOR, "The administrator", Access::Administer, &["Administrators", "GW_admin", "GW_all"][..]),
            (ALICE, "Alice Arbor", Access::Write, &["GW_all"]),
            (BOB, "Bob Birch", Access::Read, &["Readers"]),
            (CAROL, "Carol Cedar", Access::Nothing, &["GW_all"]),
            (ZOE, "Zoë Zelkova", Access::Read, &["GW_all"]),
        ];
        let account = |((name, password), full_name, access, roles): ((&str, &str), &str, Access, &[&str])| Account {
            name: name.to_owned(),
            password: password.to_owned(),
            full_name: full_name.to_owned(),
            access,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            groups: if name == ALICE.0 { vec!["operations".to_owned()] } else { Vec::new() },
        };
        Self { accounts: accounts.map(account).into() }
    }
}

impl People {
    pub(super) fn add(&mut self, account: Account) {
        self.accounts.retain(|other| other.name != account.name);
        self.accounts.push(account);
    }

    pub(super) fn account(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == name)
    }

    pub(super) fn account_mut(&mut self, name: &str) -> Option<&mut Account> {
        self.accounts.iter_mut().find(|account| account.name == name)
    }

    /// Whose name and password these are.
    pub(super) fn check(&self, name: &str, password: &str) -> Option<&Account> {
        self.account(name).filter(|account| account.password == password)
    }

    /// The same of `base64(name:password)`.
    pub(super) fn check_basic(&self, encoded: &str) -> Option<&Account> {
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (name, password) = decoded.split_once(':')?;
        self.check(name, password)
    }

    pub(super) fn user(&self, name: &str) -> Option<Value> {
        let number = self.accounts.iter().position(|account| account.name == name)?;
        Some(self.user_row(number).into())
    }

    pub(super) fn user_rows(&self) -> Vec<Row> {
        (0..self.accounts.len()).map(|number| self.user_row(number)).collect()
    }

    fn user_row(&self, number: usize) -> Row {
        let account = &self.accounts[number];
        let of_groups = account.groups.iter().flat_map(|group| roles_of_group(group));
        row(json!({
            "ref": format!("users/{}", number + 1),
            "name": account.name,
            "fullName": account.full_name,
            "description": "",
            "email": "",
            "externalID": "",
            "lastLogin": "",
            "authenticationType": "Internal",
            "groups": account.groups.iter().map(|group| link("groups", "Groups", &group_names(), group)).collect::<Vec<_>>(),
            "roles": account.roles.iter().map(|role| role_link(role)).collect::<Vec<_>>(),
            "groupRoles": of_groups.map(role_link).collect::<Vec<_>>(),
        }))
    }

    pub(super) fn role_rows(&self) -> Vec<Row> {
        let names = self.accounts.iter().map(|account| account.name.as_str()).collect::<Vec<_>>();
        let row_of = |(number, role): (usize, &&str)| {
            let users = self.accounts.iter().filter(|account| account.roles.iter().any(|name| name == role));
            let groups = GROUPS.iter().filter(|(_, roles)| roles.contains(role));
            row(json!({
                "ref": format!("roles/{}", number + 1),
                "name": role,
                "type": "General",
                "description": "",
                "builtIn": number == 0,
                "users": users.map(|user| link("users", "Users", &names, &user.name)).collect::<Vec<_>>(),
                "groups": groups.map(|(group, _)| link("groups", "Groups", &group_names(), group)).collect::<Vec<_>>(),
                "access": [],
            }))
        };
        ROLES.iter().enumerate().map(row_of).collect()
    }

    pub(super) fn group_rows(&self) -> Vec<Row> {
        let names = self.accounts.iter().map(|account| account.name.as_str()).collect::<Vec<_>>();
        let row_of = |(number, (group, roles)): (usize, &(&str, &[&str]))| {
            let members = self.accounts.iter().filter(|account| account.groups.iter().any(|name| name == group));
            row(json!({
                "ref": format!("groups/{}", number + 1),
                "name": group,
                "description": "",
                "adIntegrated": false,
                "builtIn": false,
                "externalID": "",
                "groupMembers": members.map(|user| link("users", "Users", &names, &user.name)).collect::<Vec<_>>(),
                "roles": roles.iter().map(|role| role_link(role)).collect::<Vec<_>>(),
            }))
        };
        GROUPS.iter().enumerate().map(row_of).collect()
    }
}

fn roles_of_group(group: &str) -> &'static [&'static str] {
    GROUPS.iter().find(|(name, _)| *name == group).map_or(&[], |(_, roles)| roles)
}

fn group_names() -> Vec<&'static str> {
    GROUPS.iter().map(|(name, _)| *name).collect()
}

/// A role that a test invented has no number of its own.
fn role_link(role: &str) -> Value {
    link("roles", "Roles", &ROLES, role)
}

fn link(collection: &str, object_type: &str, names: &[&str], name: &str) -> Value {
    let number = names.iter().position(|other| *other == name).map_or(0, |number| number + 1);
    json!({ "ref": format!("{collection}/{number}"), "objType": object_type, "name": name })
}

fn row(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        _ => unreachable!("written as an object above"),
    }
}

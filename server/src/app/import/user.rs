//! Imports users, without the fields that only Zato's own key can decrypt.

use std::collections::{HashMap, HashSet};

use super::{CHUNK, ImportOptions, Line, RowKind, Step, creation_time, is_true, reason};
use crate::app::App;
use crate::app::user::{UserChange, new_row};
use crate::clock::Time;
use crate::error::Result;
use crate::model::id::UserId;
use crate::model::user::ApprovalStatus;
use crate::store::{UserRow, ZatoUser};

/// Prefixes of values that Zato encrypted.
const ENCRYPTED: [&str; 2] = ["gAAA", "zato.secf."];

/// A user that links may refer to.
pub(super) struct ImportedUser {
    pub(super) user_id: UserId,
    pub(super) username: String,
    /// A super-user here whose role was not imported from Zato.
    pub(super) is_foreign_super_user: bool,
}

/// The plan for users.
pub(super) struct Users {
    pub(super) steps: Vec<Step<UserRow>>,
    /// By their ID in Zato.
    imported: HashMap<String, ImportedUser>,
    refused: HashSet<String>,
}

impl Users {
    pub(super) async fn plan(app: &App, users: &[ZatoUser], options: &ImportOptions, now: Time) -> Result<Self> {
        let steps = Vec::with_capacity(users.len());
        let mut planned = Self { steps, imported: HashMap::new(), refused: HashSet::new() };
        let mut names = HashMap::new();
        for users in users.chunks(CHUNK) {
            let mut read = Vec::with_capacity(users.len());
            for user in users {
                read.push((user, translate(user, options, now)?));
            }
            let keys: Vec<_> =
                read.iter().filter_map(|(_, step)| Some(step.row.as_ref()?.username_key.clone())).collect();
            let existing = app.parts.store.users_by_names(&keys).await?;
            let existing: HashMap<_, _> = existing.into_iter().map(|row| (row.username_key.clone(), row)).collect();
            for (user, step) in read {
                planned.add(user, step, &existing, &mut names, options);
            }
        }
        Ok(planned)
    }

    fn add(
        &mut self,
        user: &ZatoUser,
        Step { line, row }: Step<UserRow>,
        existing: &HashMap<String, UserRow>,
        names: &mut HashMap<String, String>,
        options: &ImportOptions,
    ) {
        let Some(row) = row else { return self.refuse(user, line) };
        if self.imported.contains_key(&user.user_id) {
            return self.refuse(user, line.refused("another user has the same user_id in Zato"));
        }
        if let Some(first) = names.get(&row.username_key) {
            let reason = format!("its username is that of {first}: upper and lower case are the same name here");
            return self.refuse(user, line.refused(reason));
        }
        names.insert(row.username_key.clone(), format!("{} ({})", row.username, user.user_id));
        let (step, imported) = if let Some(existing) = existing.get(&row.username_key) {
            let keeps_role = options.keep_super_users && is_true(user.is_super_user.as_ref());
            let user_id = existing.user_id;
            let imported = ImportedUser {
                user_id,
                username: existing.username.clone(),
                is_foreign_super_user: existing.is_super_user && !keeps_role,
            };
            (Step::skip(line.already_exists(Some(user_id.to_string()))), imported)
        } else {
            let user_id = row.user_id;
            let imported = ImportedUser { user_id, username: row.username.clone(), is_foreign_super_user: false };
            (Step { line, row: Some(row) }, imported)
        };
        self.imported.insert(user.user_id.clone(), imported);
        self.steps.push(step);
    }

    fn refuse(&mut self, user: &ZatoUser, line: Line) {
        self.refused.insert(user.user_id.clone());
        self.steps.push(Step::skip(line));
    }

    /// Usernames by their ID in Lanyard.
    pub(super) fn names(&self) -> HashMap<UserId, &str> {
        self.imported.values().map(|user| (user.user_id, user.username.as_str())).collect()
    }

    /// The user of an ID in Zato, or why there is none.
    pub(super) fn imported(&self, zato_user_id: &str) -> std::result::Result<&ImportedUser, String> {
        self.imported.get(zato_user_id).ok_or_else(|| {
            if self.refused.contains(zato_user_id) {
                format!("user {zato_user_id} was refused")
            } else {
                format!("there is no user {zato_user_id}")
            }
        })
    }
}

/// The user, or the reason for refusing them.
fn translate(user: &ZatoUser, options: &ImportOptions, now: Time) -> Result<Step<UserRow>> {
    let source = if user.user_id.is_empty() { user.id.to_string() } else { user.user_id.clone() };
    let mut line = Line::new(RowKind::User, &source, &user.username);
    if user.user_id.is_empty() {
        return Ok(Step::skip(line.refused("it has no user_id")));
    }
    let email = email(user, &mut line);
    let is_super_user = is_super_user(user, options, &mut line);
    let status = approval_status(user, &mut line);
    let created_at = creation_time(user.sign_up_time.as_ref(), now).unwrap_or_else(|| {
        line.changed("when they signed up is unknown or in the future: it is now");
        now
    });
    if is_true(user.is_totp_enabled.as_ref()) {
        line.changed("the second factor does not come along: it has to be enrolled anew");
    }
    let changes = [
        UserChange::Username(user.username.clone()),
        UserChange::DisplayName(display_name(user)),
        UserChange::Email(email),
        UserChange::IsSuperUser(is_super_user),
    ];
    // The ID contains the time, and users are listed by ID.
    match new_row(&changes, status, created_at) {
        Ok(mut row) => {
            row.is_locked = is_true(user.is_locked.as_ref());
            row.updated_at = now;
            line.id = Some(row.user_id.to_string());
            Ok(Step { line, row: Some(row) })
        }
        Err(error) => Ok(Step::skip(line.refused(reason(error)?))),
    }
}

fn display_name(user: &ZatoUser) -> String {
    let parts = [&user.first_name, &user.middle_name, &user.last_name];
    let parts = parts.into_iter().flatten().map(|part| part.trim()).filter(|part| !part.is_empty());
    match user.display_name.as_deref().map(str::trim) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => parts.collect::<Vec<_>>().join(" "),
    }
}

fn email(user: &ZatoUser, line: &mut Line) -> String {
    let email = user.email.clone().unwrap_or_default();
    if ENCRYPTED.iter().any(|mark| email.starts_with(mark)) {
        line.changed("the email is encrypted with Zato's own key: it is left empty");
        return String::new();
    }
    email
}

fn is_super_user(user: &ZatoUser, options: &ImportOptions, line: &mut Line) -> bool {
    let is_super_user = is_true(user.is_super_user.as_ref());
    if is_super_user && !options.keep_super_users {
        line.changed("was a super-user, is a regular user");
    }
    is_super_user && options.keep_super_users
}

fn approval_status(user: &ZatoUser, line: &mut Line) -> ApprovalStatus {
    let is_signed_up = user.sign_up_status.as_deref().is_none_or(|status| status == "final");
    match user.approval_status.as_deref() {
        Some("approved") if is_signed_up => ApprovalStatus::Approved,
        Some("approved") => {
            line.changed("was approved but did not finish signing up: is not approved");
            ApprovalStatus::Pending
        }
        Some("before_decision") => ApprovalStatus::Pending,
        Some("rejected") => ApprovalStatus::Rejected,
        _ => {
            line.changed("its approval is unknown: is not approved");
            ApprovalStatus::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RowOutcome;
    use super::*;

    const NOW: Time = Time::from_micros(1_767_225_600_000_000);

    fn bob() -> ZatoUser {
        let text = |text: &str| Some(text.to_owned());
        ZatoUser {
            user_id: "zusr1".to_owned(),
            username: "bob".to_owned(),
            approval_status: text("approved"),
            sign_up_status: text("final"),
            sign_up_time: text("2024-05-06 07:08:09.123456"),
            ..ZatoUser::default()
        }
    }

    fn row(user: &ZatoUser) -> (RowOutcome, UserRow) {
        let step = translate(user, &ImportOptions::default(), NOW).unwrap();
        (step.line.outcome, step.row.unwrap())
    }

    #[test]
    fn a_name_is_made_of_its_parts_where_there_is_no_other() {
        let mut user = ZatoUser { first_name: Some("Bob".into()), last_name: Some(" Stone ".into()), ..bob() };
        assert_eq!(row(&user).1.display_name, "Bob Stone");
        user.display_name = Some("The Stone".into());
        assert_eq!(row(&user).1.display_name, "The Stone");
        assert_eq!(row(&bob()).1.display_name, "");
    }

    #[test]
    fn nobody_is_let_in_who_was_not_let_in_before() {
        for (approval, sign_up, outcome, status) in [
            ("approved", "final", RowOutcome::Imported, ApprovalStatus::Approved),
            ("approved", "before_confirmation", RowOutcome::Changed, ApprovalStatus::Pending),
            ("before_decision", "final", RowOutcome::Imported, ApprovalStatus::Pending),
            ("rejected", "before_confirmation", RowOutcome::Imported, ApprovalStatus::Rejected),
            ("who knows", "final", RowOutcome::Changed, ApprovalStatus::Pending),
        ] {
            let user =
                ZatoUser { approval_status: Some(approval.into()), sign_up_status: Some(sign_up.into()), ..bob() };
            let (was, row) = row(&user);
            assert_eq!((was, row.approval_status), (outcome, status), "{approval}, {sign_up}");
        }
    }

    #[test]
    fn the_identifier_says_when_they_signed_up() {
        let (_, row) = row(&bob());
        assert_eq!(row.created_at.to_string(), "2024-05-06T07:08:09.123456Z");
        let early = UserId::new(row.created_at + std::time::Duration::from_secs(1));
        assert!(row.user_id < early && row.updated_at == NOW);
    }
}

//! `UserService`.

use lanyard_proto::v1;
use lanyard_proto::v1::user_service_server::UserService;
use tonic::Request;

use super::convert;
use super::handler::{Handler, Reply};
use crate::app::user::{ListUsers, User, UserChange, UserKey};
use crate::error::{Error, Result};
use crate::model::user::ApprovalStatus;

#[tonic::async_trait]
impl UserService for Handler {
    async fn create_user(&self, request: Request<v1::CreateUserRequest>) -> Reply<v1::CreateUserResponse> {
        self.run(request, |app, context, mut message| async move {
            let asked = message.user.take().ok_or_else(|| Error::invalid("user", "is missing"))?;
            let status = convert::optional_enum("approval_status", message.approval_status, approval_status)?;
            let status = status.unwrap_or(ApprovalStatus::Approved);
            if status == ApprovalStatus::Rejected {
                return Err(Error::invalid("approval_status", "must be APPROVED or PENDING"));
            }
            let password = convert::secret(&mut message.password);
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let created = app.create_user(&acting, all_changes(asked)?, password, status).await?;
            Ok(v1::CreateUserResponse { user: Some(user(created)) })
        })
        .await
    }

    async fn get_user(&self, request: Request<v1::GetUserRequest>) -> Reply<v1::GetUserResponse> {
        self.run(request, |app, context, message| async move {
            let key = match message.key {
                Some(v1::get_user_request::Key::UserId(id)) => UserKey::Id(convert::id("user_id", &id)?),
                Some(v1::get_user_request::Key::Username(name)) => UserKey::Name(name),
                None => return Err(Error::invalid("key", "is missing: send `user_id` or `username`")),
            };
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let found = app.get_user(&acting, key).await?;
            Ok(v1::GetUserResponse { user: Some(user(found)) })
        })
        .await
    }

    async fn get_current_user(&self, request: Request<v1::GetCurrentUserRequest>) -> Reply<v1::GetCurrentUserResponse> {
        self.run(request, |app, context, message| async move {
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let found = app.current_user(&acting).await?;
            Ok(v1::GetCurrentUserResponse { user: Some(user(found)) })
        })
        .await
    }

    async fn list_users(&self, request: Request<v1::ListUsersRequest>) -> Reply<v1::ListUsersResponse> {
        self.run(request, |app, context, message| async move {
            let page = convert::page(message.page_size, &message.page_token)?;
            let list = ListUsers {
                search: convert::text("search", &message.search)?,
                approval_status: convert::optional_enum("approval_status", message.approval_status, approval_status)?,
                is_locked: message.is_locked,
                is_super_user: message.is_super_user,
            };
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let page = app.list_users(&acting, list, page).await?;
            Ok(v1::ListUsersResponse {
                users: page.items.into_iter().map(user).collect(),
                next_page_token: page.next_page_token,
            })
        })
        .await
    }

    async fn update_user(&self, request: Request<v1::UpdateUserRequest>) -> Reply<v1::UpdateUserResponse> {
        self.run(request, |app, context, message| async move {
            let asked = message.user.ok_or_else(|| Error::invalid("user", "is missing"))?;
            let mask = message.update_mask.unwrap_or_default();
            if mask.paths.is_empty() {
                return Err(Error::invalid("update_mask", "is empty: name the fields to change"));
            }
            let changes = mask.paths.iter().map(|path| change(path, &asked)).collect::<Result<Vec<_>>>()?;
            let target = convert::optional_id("user.user_id", &asked.user_id)?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let updated = app.update_user(&acting, target, changes, asked.etag).await?;
            Ok(v1::UpdateUserResponse { user: Some(user(updated)) })
        })
        .await
    }

    async fn delete_user(&self, request: Request<v1::DeleteUserRequest>) -> Reply<v1::DeleteUserResponse> {
        self.run(request, |app, context, message| async move {
            let target = convert::id("user_id", &message.user_id)?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let revoked_count = app.delete_user(&acting, target).await?;
            Ok(v1::DeleteUserResponse { revoked_count })
        })
        .await
    }

    async fn lock_user(&self, request: Request<v1::LockUserRequest>) -> Reply<v1::LockUserResponse> {
        self.run(request, |app, context, message| async move {
            let target = convert::id("user_id", &message.user_id)?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let (locked, revoked_count) = app.lock_user(&acting, target).await?;
            Ok(v1::LockUserResponse { user: Some(user(locked)), revoked_count })
        })
        .await
    }

    async fn unlock_user(&self, request: Request<v1::UnlockUserRequest>) -> Reply<v1::UnlockUserResponse> {
        self.run(request, |app, context, message| async move {
            let target = convert::id("user_id", &message.user_id)?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let unlocked = app.unlock_user(&acting, target).await?;
            Ok(v1::UnlockUserResponse { user: Some(user(unlocked)) })
        })
        .await
    }

    async fn approve_user(&self, request: Request<v1::ApproveUserRequest>) -> Reply<v1::ApproveUserResponse> {
        self.run(request, |app, context, message| async move {
            let target = convert::id("user_id", &message.user_id)?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let approved = app.approve_user(&acting, target).await?;
            Ok(v1::ApproveUserResponse { user: Some(user(approved)) })
        })
        .await
    }

    async fn reject_user(&self, request: Request<v1::RejectUserRequest>) -> Reply<v1::RejectUserResponse> {
        self.run(request, |app, context, message| async move {
            let target = convert::id("user_id", &message.user_id)?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let (rejected, revoked_count) = app.reject_user(&acting, target).await?;
            Ok(v1::RejectUserResponse { user: Some(user(rejected)), revoked_count })
        })
        .await
    }

    async fn change_password(&self, request: Request<v1::ChangePasswordRequest>) -> Reply<v1::ChangePasswordResponse> {
        self.run(request, |app, context, mut message| async move {
            let (old, new) = (convert::secret(&mut message.old_password), convert::secret(&mut message.new_password));
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let revoked_count = app.change_password(&acting, old, new).await?;
            Ok(v1::ChangePasswordResponse { revoked_count })
        })
        .await
    }

    async fn set_password(&self, request: Request<v1::SetPasswordRequest>) -> Reply<v1::SetPasswordResponse> {
        self.run(request, |app, context, mut message| async move {
            let target = convert::id("user_id", &message.user_id)?;
            let new = convert::secret(&mut message.new_password);
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let revoked_count = app.set_password(&acting, target, new, message.must_change).await?;
            Ok(v1::SetPasswordResponse { revoked_count })
        })
        .await
    }

    async fn enroll_totp(&self, request: Request<v1::EnrollTotpRequest>) -> Reply<v1::EnrollTotpResponse> {
        self.run(request, |app, context, mut message| async move {
            let password = convert::secret(&mut message.password);
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let (secret, uri) = app.enroll_totp(&acting, password).await?;
            Ok(v1::EnrollTotpResponse { secret: secret.to_string(), otpauth_uri: uri.to_string() })
        })
        .await
    }

    async fn confirm_totp(&self, request: Request<v1::ConfirmTotpRequest>) -> Reply<v1::ConfirmTotpResponse> {
        self.run(request, |app, context, mut message| async move {
            let code = convert::secret(&mut message.totp_code);
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let revoked_count = app.confirm_totp(&acting, code).await?;
            Ok(v1::ConfirmTotpResponse { revoked_count })
        })
        .await
    }

    async fn disable_totp(&self, request: Request<v1::DisableTotpRequest>) -> Reply<v1::DisableTotpResponse> {
        self.run(request, |app, context, mut message| async move {
            let target = convert::optional_id("user_id", &message.user_id)?;
            let password = convert::secret(&mut message.password);
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let revoked_count = app.disable_totp(&acting, target, password).await?;
            Ok(v1::DisableTotpResponse { revoked_count })
        })
        .await
    }
}

/// The change of the field that a mask path names.
fn change(path: &str, user: &v1::User) -> Result<UserChange> {
    Ok(match path {
        "username" => UserChange::Username(user.username.clone()),
        "display_name" => UserChange::DisplayName(user.display_name.clone()),
        "email" => UserChange::Email(user.email.clone()),
        "is_super_user" => UserChange::IsSuperUser(user.is_super_user),
        "password_must_change" => UserChange::PasswordMustChange(user.password_must_change),
        "password_expire_time" => UserChange::PasswordExpiresAt(convert::optional_time(
            "user.password_expire_time",
            user.password_expire_time,
        )?),
        "allowed_networks" => UserChange::AllowedNetworks(user.allowed_networks.clone()),
        _ => return Err(Error::invalid("update_mask", "names a field that is unknown or cannot be changed this way")),
    })
}

/// All fields that `CreateUser` accepts.
fn all_changes(user: v1::User) -> Result<Vec<UserChange>> {
    Ok(vec![
        UserChange::Username(user.username),
        UserChange::DisplayName(user.display_name),
        UserChange::Email(user.email),
        UserChange::IsSuperUser(user.is_super_user),
        UserChange::PasswordMustChange(user.password_must_change),
        UserChange::PasswordExpiresAt(convert::optional_time("user.password_expire_time", user.password_expire_time)?),
        UserChange::AllowedNetworks(user.allowed_networks),
    ])
}

fn approval_status(status: v1::ApprovalStatus) -> Option<ApprovalStatus> {
    match status {
        v1::ApprovalStatus::Unspecified => None,
        v1::ApprovalStatus::Pending => Some(ApprovalStatus::Pending),
        v1::ApprovalStatus::Approved => Some(ApprovalStatus::Approved),
        v1::ApprovalStatus::Rejected => Some(ApprovalStatus::Rejected),
    }
}

fn user(user: User) -> v1::User {
    v1::User {
        user_id: user.user_id.to_string(),
        username: user.username,
        display_name: user.display_name,
        email: user.email,
        is_super_user: user.is_super_user,
        is_locked: user.is_locked,
        // The values of this enum equal those of the contract.
        approval_status: user.approval_status as i32,
        is_totp_enabled: user.is_totp_enabled,
        has_password: user.has_password,
        password_must_change: user.password_must_change,
        password_expire_time: user.password_expires_at.map(convert::timestamp),
        allowed_networks: user.allowed_networks,
        creation_time: Some(convert::timestamp(user.created_at)),
        update_time: Some(convert::timestamp(user.updated_at)),
        etag: user.etag,
    }
}

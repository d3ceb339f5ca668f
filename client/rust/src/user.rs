//! Users: the people known to the SSO.

use secrecy::{ExposeSecret as _, SecretString};

use crate::client::Subject;
use crate::error::Error;
use crate::page::Pages;
use crate::v1::get_user_request::Key;
use crate::v1::{
    ApproveUserRequest, ChangePasswordRequest, ConfirmTotpRequest, CreateUserRequest, DeleteUserRequest,
    DisableTotpRequest, EnrollTotpRequest, EnrollTotpResponse, GetCurrentUserRequest, GetUserRequest, ListUsersRequest,
    LockUserRequest, RejectUserRequest, SetPasswordRequest, UnlockUserRequest, UpdateUserRequest, User,
};

/// A user after a change that ends sessions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UserChange {
    /// The user.
    pub user: User,
    /// How many live sessions ended.
    pub revoked_count: u64,
}

impl Subject {
    /// Adds a user. Super-users only.
    pub async fn create_user(&self, request: CreateUserRequest) -> Result<User, Error> {
        self.call_for(request, "user", |answer| answer.user).await
    }

    /// A user by ID. Super-users only; see [`Self::current_user`].
    pub async fn get_user(&self, user_id: &str) -> Result<User, Error> {
        self.get_user_by_key(Key::UserId(user_id.to_owned())).await
    }

    /// A user by name. Super-users only.
    pub async fn get_user_by_name(&self, username: &str) -> Result<User, Error> {
        self.get_user_by_key(Key::Username(username.to_owned())).await
    }

    async fn get_user_by_key(&self, key: Key) -> Result<User, Error> {
        let request = GetUserRequest { key: Some(key), ..GetUserRequest::default() };
        self.call_for(request, "user", |answer| answer.user).await
    }

    /// The acting user.
    pub async fn current_user(&self) -> Result<User, Error> {
        self.call_for(GetCurrentUserRequest::default(), "user", |answer| answer.user).await
    }

    /// Users in the order of their creation. Super-users only.
    pub fn list_users(&self, request: ListUsersRequest) -> Pages<ListUsersRequest> {
        Pages::new(self.clone(), request)
    }

    /// Changes the fields that the mask of the request names.
    pub async fn update_user(&self, request: UpdateUserRequest) -> Result<User, Error> {
        self.call_for(request, "user", |answer| answer.user).await
    }

    /// Removes a user, and returns how many live sessions ended. Super-users only.
    pub async fn delete_user(&self, user_id: &str) -> Result<u64, Error> {
        let request = DeleteUserRequest { user_id: user_id.to_owned(), ..DeleteUserRequest::default() };
        Ok(self.call(request).await?.revoked_count)
    }

    /// Keeps a user out and ends their sessions. Super-users only.
    pub async fn lock_user(&self, user_id: &str) -> Result<UserChange, Error> {
        let request = LockUserRequest { user_id: user_id.to_owned(), ..LockUserRequest::default() };
        self.call_for(request, "user", |answer| {
            Some(UserChange { user: answer.user?, revoked_count: answer.revoked_count })
        })
        .await
    }

    /// Lets a locked user log in again. Super-users only.
    pub async fn unlock_user(&self, user_id: &str) -> Result<User, Error> {
        let request = UnlockUserRequest { user_id: user_id.to_owned(), ..UnlockUserRequest::default() };
        self.call_for(request, "user", |answer| answer.user).await
    }

    /// Lets a user in who was waiting or rejected. Super-users only.
    pub async fn approve_user(&self, user_id: &str) -> Result<User, Error> {
        let request = ApproveUserRequest { user_id: user_id.to_owned(), ..ApproveUserRequest::default() };
        self.call_for(request, "user", |answer| answer.user).await
    }

    /// Keeps a user out for good and ends their sessions. Super-users only.
    pub async fn reject_user(&self, user_id: &str) -> Result<UserChange, Error> {
        let request = RejectUserRequest { user_id: user_id.to_owned(), ..RejectUserRequest::default() };
        self.call_for(request, "user", |answer| {
            Some(UserChange { user: answer.user?, revoked_count: answer.revoked_count })
        })
        .await
    }

    /// Replaces the own password, ends all other own sessions and returns how many.
    pub async fn change_password(&self, old: &SecretString, new: &SecretString) -> Result<u64, Error> {
        let request = ChangePasswordRequest {
            old_password: old.expose_secret().to_owned(),
            new_password: new.expose_secret().to_owned(),
            ..ChangePasswordRequest::default()
        };
        Ok(self.call(request).await?.revoked_count)
    }

    /// Gives a user a new password, ends their sessions and returns how many; `must_change`: they must choose
    /// another one at the next login. Super-users only.
    pub async fn set_password(&self, user_id: &str, new: &SecretString, must_change: bool) -> Result<u64, Error> {
        let request = SetPasswordRequest {
            user_id: user_id.to_owned(),
            new_password: new.expose_secret().to_owned(),
            must_change,
            ..SetPasswordRequest::default()
        };
        Ok(self.call(request).await?.revoked_count)
    }

    /// Makes a new TOTP secret for the acting user and shows it, once. It counts after [`Self::confirm_totp`].
    pub async fn enroll_totp(&self, password: &SecretString) -> Result<EnrollTotpResponse, Error> {
        let password = password.expose_secret().to_owned();
        self.call(EnrollTotpRequest { password, ..EnrollTotpRequest::default() }).await
    }

    /// Turns the second factor on with a code, ends all other own sessions and returns how many.
    pub async fn confirm_totp(&self, code: &SecretString) -> Result<u64, Error> {
        let totp_code = code.expose_secret().to_owned();
        Ok(self.call(ConfirmTotpRequest { totp_code, ..ConfirmTotpRequest::default() }).await?.revoked_count)
    }

    /// Turns the own second factor off, ends all other own sessions and returns how many.
    pub async fn disable_totp(&self, password: &SecretString) -> Result<u64, Error> {
        let password = password.expose_secret().to_owned();
        Ok(self.call(DisableTotpRequest { password, ..DisableTotpRequest::default() }).await?.revoked_count)
    }

    /// Turns another's second factor off, ends their sessions and returns how many. Super-users only.
    pub async fn disable_totp_of(&self, user_id: &str) -> Result<u64, Error> {
        let request = DisableTotpRequest { user_id: user_id.to_owned(), ..DisableTotpRequest::default() };
        Ok(self.call(request).await?.revoked_count)
    }
}

//! `lanyard user`.
use super::exit::Failure;
use lanyard_client::Subject;

/// Who is meant: an ID as it is, a name looked up (which needs a super-user).
pub(crate) async fn user_id(subject: &Subject, user: &str) -> Result<String, Failure> {
    if user.starts_with("usr_") {
        return Ok(user.to_owned());
    }
    Ok(subject.get_user_by_name(user).await?.user_id)
}

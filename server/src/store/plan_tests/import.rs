//! Look-ups of an import.

use super::{Access, Fixture};
use crate::model::session::AuthType;

pub(super) async fn all(fixture: &Fixture) {
    let store = &fixture.store;
    let names = |suffix: &str| (0..3).map(|number| format!("user{number}{suffix}")).collect::<Vec<_>>();
    assert_eq!(store.users_by_names(&names("")).await.unwrap().len(), 3);
    fixture.explain("users by their names", Access::Search).await;
    assert_eq!(store.definitions_of(AuthType::BasicAuth, "", &names("")).await.unwrap().len(), 3);
    fixture.explain("definitions by their principals", Access::Search).await;
    assert_eq!(store.existing_definition_names(&names(" 3")).await.unwrap().len(), 3);
    fixture.explain("definitions by their names", Access::Search).await;
    assert!(store.highest_auth_id().await.unwrap() >= 2 * i64::try_from(fixture.users.len()).unwrap());
    fixture.explain("the highest number of a definition", Access::Scan).await;
}

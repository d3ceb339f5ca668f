//! Look-ups of an import.

use super::{Ground, Way};
use crate::model::session::AuthType;

pub(super) async fn all(ground: &Ground) {
    let store = &ground.store;
    let names = |suffix: &str| (0..3).map(|number| format!("user{number}{suffix}")).collect::<Vec<_>>();
    assert_eq!(store.users_by_names(&names("")).await.unwrap().len(), 3);
    ground.explain("users by their names", Way::Found).await;
    assert_eq!(store.definitions_of(AuthType::BasicAuth, "", &names("")).await.unwrap().len(), 3);
    ground.explain("definitions by their principals", Way::Found).await;
    assert_eq!(store.taken_definition_names(&names(" 3")).await.unwrap().len(), 3);
    ground.explain("definitions by their names", Way::Found).await;
    assert!(store.highest_auth_id().await.unwrap() >= 2 * i64::try_from(ground.users.len()).unwrap());
    ground.explain("the highest number of a definition", Way::Walked).await;
}

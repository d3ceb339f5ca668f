//! How the types of `model` are stored in columns. The numbers and bytes in the database are a contract with older and
//! newer versions.

use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, DbErr, QueryResult, TryFromU64, TryGetError, TryGetable, Value};
use uuid::Uuid;

use super::change::ChangeKind;
use crate::clock::{Micros, Time};
use crate::config::AddressBinding;
use crate::crypto::TokenHash;
use crate::model::definition::MaterialSource;
use crate::model::id::Id;
use crate::model::session::{AuthType, RevokeReason};
use crate::model::user::ApprovalStatus;

/// Stores `$type` in a column of type `$stored`. `$load` returns `None` for what it cannot read, which fails the query.
macro_rules! column {
    ($type:ty $(where $kind:ident)?, $stored:ty, $store:expr, $load:expr) => {
        impl$(<$kind>)? From<$type> for Value {
            fn from(value: $type) -> Self {
                let store: fn($type) -> $stored = $store;
                store(value).into()
            }
        }

        impl$(<$kind>)? TryGetable for $type {
            fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
                let load: fn($stored) -> Option<$type> = $load;
                let stored = <$stored>::try_get_by(row, index)?;
                load(stored).ok_or_else(|| DbErr::Type(concat!("an unreadable ", stringify!($type)).to_owned()).into())
            }
        }

        impl$(<$kind>)? ValueType for $type {
            fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
                let load: fn($stored) -> Option<$type> = $load;
                load(<$stored as ValueType>::try_from(value)?).ok_or(ValueTypeErr)
            }

            fn type_name() -> String {
                stringify!($type).to_owned()
            }

            fn array_type() -> ArrayType {
                <$stored as ValueType>::array_type()
            }

            fn column_type() -> ColumnType {
                <$stored as ValueType>::column_type()
            }
        }

        impl$(<$kind>)? Nullable for $type {
            fn null() -> Value {
                <$stored as Nullable>::null()
            }
        }

        /// Required for primary keys; no database generates these.
        impl$(<$kind>)? TryFromU64 for $type {
            fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                Err(DbErr::ConvertFromU64(stringify!($type)))
            }
        }
    };
}

column!(Id<K> where K, Uuid, Id::uuid, |uuid| Some(Id::from_uuid(uuid)));
column!(Time, i64, Time::micros, |micros| Some(Time::from_micros(micros)));
column!(Micros, i64, Micros::count, |micros| Some(Micros::new(micros)));
column!(TokenHash, Vec<u8>, |hash| hash.0.to_vec(), |bytes| bytes.try_into().map(TokenHash).ok());
column!(AuthType, i16, |auth_type| auth_type as i16, |number| Some(AuthType::from_number(number)));
column!(RevokeReason, i16, |reason| reason as i16, |number| Some(RevokeReason::from_number(number)));
column!(AddressBinding, i16, |binding| binding as i16, |number| Some(AddressBinding::from_number(number)));
column!(ApprovalStatus, i16, |status| status as i16, |number| Some(ApprovalStatus::from_number(number)));
column!(MaterialSource, i16, MaterialSource::number, |number| Some(MaterialSource::from_number(number)));
column!(ChangeKind, i16, |kind| kind as i16, |number| Some(ChangeKind::from_number(number)));

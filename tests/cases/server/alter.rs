//! What the front does to a call, and how an answer is altered.

use std::time::Duration;

use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use crate::contract::{Contract, FUTURE_MESSAGE, FUTURE_NUMBER, FUTURE_TEXT};

/// What a correlation ID asks for: `fault:KIND:N:ANYTHING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Unavailable(u32),
    Cut(u32),
    Delay(Duration),
    UnknownField,
    UnknownEnum(i32),
    UnknownVerdict,
}

/// A correlation ID that asks for something that the front cannot do: a case is written wrongly.
pub(crate) struct NoSuchFault;

impl Fault {
    pub(crate) fn parse(correlation_id: &str) -> Result<Option<Self>, NoSuchFault> {
        let Some(asked) = correlation_id.strip_prefix("fault:") else { return Ok(None) };
        let (kind, rest) = asked.split_once(':').ok_or(NoSuchFault)?;
        let number: u16 = rest.split(':').next().and_then(|number| number.parse().ok()).ok_or(NoSuchFault)?;
        Ok(Some(match kind {
            "unavailable" => Self::Unavailable(number.into()),
            "cut" => Self::Cut(number.into()),
            "delay" => Self::Delay(Duration::from_millis(number.into())),
            "unknown_field" => Self::UnknownField,
            "unknown_enum" => Self::UnknownEnum(number.into()),
            "unknown_verdict" => Self::UnknownVerdict,
            _ => return Err(NoSuchFault),
        }))
    }

    /// The answer of a method, altered; none if there is nothing to alter.
    pub(crate) fn alter(self, contract: &Contract, path: &str, answer: &[u8]) -> Option<Vec<u8>> {
        let mut message = match self {
            Self::UnknownEnum(_) => DynamicMessage::decode(contract.answer(path)?, answer).ok()?,
            Self::UnknownField | Self::UnknownVerdict => {
                DynamicMessage::decode(contract.future_answer(path)?, answer).ok()?
            }
            Self::Unavailable(_) | Self::Cut(_) | Self::Delay(_) => return None,
        };
        match self {
            Self::UnknownEnum(number) => set_enums(&mut message, number),
            Self::UnknownVerdict => {
                for verdict in ["session", "inactive"] {
                    message.clear_field_by_name(verdict);
                }
                add_future(&mut message);
            }
            _ => each_message(&mut message, &add_future),
        }
        Some(message.encode_to_vec())
    }
}

fn add_future(message: &mut DynamicMessage) {
    let mut inner = DynamicMessage::new(message.descriptor());
    inner.set_field_by_number(FUTURE_TEXT, Value::String("within".to_owned()));
    message.set_field_by_number(FUTURE_NUMBER, Value::U64(7));
    message.set_field_by_number(FUTURE_TEXT, Value::String("from a later version".to_owned()));
    message.set_field_by_number(FUTURE_MESSAGE, Value::Message(inner));
}

/// The message and all in it, but for those that are Google's.
fn each_message(message: &mut DynamicMessage, change: &dyn Fn(&mut DynamicMessage)) {
    if message.descriptor().package_name() != "lanyard.v1" {
        return;
    }
    for (_, value) in message.fields_mut() {
        match value {
            Value::Message(inner) => each_message(inner, change),
            Value::List(values) => {
                values.iter_mut().filter_map(Value::as_message_mut).for_each(|inner| each_message(inner, change));
            }
            _ => {}
        }
    }
    change(message);
}

fn set_enums(message: &mut DynamicMessage, number: i32) {
    each_message(message, &|message| {
        for (_, value) in message.fields_mut() {
            let first = match value {
                Value::List(values) => values.first_mut(),
                one => Some(one),
            };
            if let Some(Value::EnumNumber(known)) = first {
                *known = number;
            }
        }
    });
}

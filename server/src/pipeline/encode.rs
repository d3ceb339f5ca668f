//! Writes a gRPC message field by field, without building it first: for the hot answers, whose texts need no copies.
//!
//! As proto3 asks for, fields with their default value are left out.

use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::request_body::PREFIX;
use crate::clock::Time;
use crate::model::id::{Id, Kind};

/// A message that grows.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// `size`: about how many bytes it will have.
    pub(crate) fn new(size: usize) -> Self {
        let mut buffer = Vec::with_capacity(PREFIX + size);
        buffer.extend_from_slice(&[0; PREFIX]);
        Self(buffer)
    }

    /// The message with its prefix: not compressed, and its length.
    pub(crate) fn finish(self) -> Bytes {
        let mut buffer = self.0;
        let length = u32::try_from(buffer.len() - PREFIX).expect("an answer from memory has less than 4 GiB");
        buffer[1..PREFIX].copy_from_slice(&length.to_be_bytes());
        buffer.into()
    }

    pub(crate) fn number(&mut self, tag: u32, number: i64) {
        if number != 0 {
            encode_key(tag, WireType::Varint, &mut self.0);
            // Negative ones take ten bytes: that is the encoding of int32 and int64.
            encode_varint(number.cast_unsigned(), &mut self.0);
        }
    }

    pub(crate) fn flag(&mut self, tag: u32, flag: bool) {
        self.number(tag, i64::from(flag));
    }

    pub(crate) fn text(&mut self, tag: u32, text: &str) {
        if !text.is_empty() {
            encode_key(tag, WireType::LengthDelimited, &mut self.0);
            encode_varint(text.len() as u64, &mut self.0);
            self.0.extend_from_slice(text.as_bytes());
        }
    }

    pub(crate) fn id<K: Kind>(&mut self, tag: u32, id: Id<K>) {
        self.text(tag, id.write(&mut Id::<K>::buffer()));
    }

    /// `google.protobuf.Timestamp`
    pub(crate) fn time(&mut self, tag: u32, time: Time) {
        let (seconds, nanos) = time.to_unix();
        self.seconds_and_nanos(tag, seconds, nanos);
    }

    /// `google.protobuf.Duration`
    pub(crate) fn duration(&mut self, tag: u32, duration: std::time::Duration) {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        self.seconds_and_nanos(tag, seconds, duration.subsec_nanos());
    }

    fn seconds_and_nanos(&mut self, tag: u32, seconds: i64, nanos: u32) {
        self.message(tag, |message| {
            message.number(1, seconds);
            message.number(2, i64::from(nanos));
        });
    }

    /// A repeated enum with one value.
    pub(crate) fn one_of_many(&mut self, tag: u32, value: i32) {
        encode_key(tag, WireType::LengthDelimited, &mut self.0);
        self.prefixed(|message| encode_varint(i64::from(value).cast_unsigned(), &mut message.0));
    }

    /// A message within this one.
    pub(crate) fn message(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        encode_key(tag, WireType::LengthDelimited, &mut self.0);
        self.prefixed(write);
    }

    /// Puts the length before what is written. One byte is enough for nearly all; for more, what was written moves.
    fn prefixed(&mut self, write: impl FnOnce(&mut Self)) {
        const CONTINUES: u8 = 0x80;
        let start = self.0.len();
        self.0.push(0);
        write(self);
        let mut length = self.0.len() - start - 1;
        let mut at = start;
        while length >= usize::from(CONTINUES) {
            let low = u8::try_from(length % usize::from(CONTINUES)).expect("less than 128");
            self.0[at] = CONTINUES | low;
            length /= usize::from(CONTINUES);
            at += 1;
            self.0.insert(at, 0);
        }
        self.0[at] = u8::try_from(length).expect("less than 128");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use prost_types::{Duration, Timestamp};

    use super::*;

    /// A message whose fields are of the kinds that are written here.
    #[derive(Clone, PartialEq, Message)]
    struct Example {
        #[prost(int64, tag = "1")]
        number: i64,
        #[prost(bool, tag = "2")]
        flag: bool,
        #[prost(string, tag = "3")]
        text: String,
        #[prost(message, optional, tag = "4")]
        time: Option<Timestamp>,
        #[prost(message, optional, tag = "5")]
        duration: Option<Duration>,
        #[prost(int32, repeated, tag = "16")]
        many: Vec<i32>,
        #[prost(message, repeated, tag = "2000")]
        inner: Vec<Example>,
    }

    fn write(example: &Example, writer: &mut Writer) {
        writer.number(1, example.number);
        writer.flag(2, example.flag);
        writer.text(3, &example.text);
        if let Some(time) = &example.time {
            let time = Time::from_unix(time.seconds, time.nanos).expect("in range");
            writer.time(4, time);
        }
        if let Some(duration) = &example.duration {
            writer.duration(5, (*duration).try_into().expect("not negative"));
        }
        for value in &example.many {
            writer.one_of_many(16, *value);
        }
        for inner in &example.inner {
            writer.message(2000, |writer| write(inner, writer));
        }
    }

    fn flat() -> impl Strategy<Value = Example> {
        let text = prop_oneof![Just(String::new()), ".{0,40}", "[a-z]{120,140}", "[a-z]{16370,16400}"];
        // Times have microseconds.
        let time = (-60_000_000_000..250_000_000_000_i64, 0..1_000_000);
        let time = proptest::option::of(time.prop_map(|(seconds, micros)| Timestamp { seconds, nanos: micros * 1000 }));
        let duration = (0..1_000_000_i64, 0..1_000_000_000);
        let duration = proptest::option::of(duration.prop_map(|(seconds, nanos)| Duration { seconds, nanos }));
        (any::<i64>(), any::<bool>(), text, time, duration, proptest::option::of(any::<i32>())).prop_map(
            |(number, flag, text, time, duration, many)| {
                let many = many.into_iter().collect();
                Example { number, flag, text, time, duration, many, inner: Vec::new() }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_prost_writes(example in flat(), inner in proptest::collection::vec(flat(), 0..3)) {
            let example = Example { inner, ..example };
            let mut writer = Writer::new(0);
            write(&example, &mut writer);
            let written = writer.finish();
            let expected = example.encode_to_vec();
            prop_assert_eq!(&written[PREFIX..], &expected[..]);
            prop_assert_eq!(written[0], 0);
            prop_assert_eq!(&written[1..PREFIX], &u32::try_from(expected.len()).unwrap().to_be_bytes());
        }
    }
}

//! The contract as descriptors: as it is, and as a version of it may be that nobody has written yet.

use prost::Message;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// What the future adds to each message: a number, a text and a message.
pub(crate) const FUTURE_NUMBER: u32 = 50_001;
pub(crate) const FUTURE_TEXT: u32 = 50_002;
pub(crate) const FUTURE_MESSAGE: u32 = 50_003;

pub(crate) struct Contract {
    present: DescriptorPool,
    future: DescriptorPool,
}

impl Contract {
    pub(crate) fn new() -> Self {
        let mut present = pool(lanyard_proto::FILE_DESCRIPTOR_SET);
        for more in [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_types::pb::FILE_DESCRIPTOR_SET,
        ] {
            add_new(&mut present, more);
        }
        let mut files = FileDescriptorSet::decode(lanyard_proto::FILE_DESCRIPTOR_SET).expect("descriptors");
        for file in files.file.iter_mut().filter(|file| file.package() == "lanyard.v1") {
            file.message_type.iter_mut().for_each(add_future);
        }
        let future = DescriptorPool::from_file_descriptor_set(files).expect("a possible contract");
        Self { present, future }
    }

    /// As a `FileDescriptorSet`.
    pub(crate) fn descriptors(&self) -> Vec<u8> {
        self.present.encode_to_vec()
    }

    /// What the method of a path answers with, as it is.
    pub(crate) fn answer(&self, path: &str) -> Option<MessageDescriptor> {
        answer(&self.present, path)
    }

    /// What the method of a path will answer with one day.
    pub(crate) fn future_answer(&self, path: &str) -> Option<MessageDescriptor> {
        answer(&self.future, path)
    }
}

fn pool(set: &[u8]) -> DescriptorPool {
    DescriptorPool::decode(set).expect("descriptors")
}

/// Sets share what they import.
fn add_new(pool: &mut DescriptorPool, set: &[u8]) {
    let files = FileDescriptorSet::decode(set).expect("descriptors").file;
    let new: Vec<_> = files.into_iter().filter(|file| pool.get_file_by_name(file.name()).is_none()).collect();
    pool.add_file_descriptor_protos(new).expect("descriptors");
}

fn add_future(message: &mut DescriptorProto) {
    let field = |number: u32, kind: Type| FieldDescriptorProto {
        name: Some(format!("future_{number}")),
        number: i32::try_from(number).ok(),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    };
    let own_type = Some(format!(".lanyard.v1.{}", message.name()));
    message.field.extend([
        field(FUTURE_NUMBER, Type::Uint64),
        field(FUTURE_TEXT, Type::String),
        FieldDescriptorProto { type_name: own_type, ..field(FUTURE_MESSAGE, Type::Message) },
    ]);
}

fn answer(pool: &DescriptorPool, path: &str) -> Option<MessageDescriptor> {
    let (service, method) = path.trim_start_matches('/').split_once('/')?;
    pool.get_service_by_name(service)?.methods().find(|known| known.name() == method).map(|known| known.output())
}

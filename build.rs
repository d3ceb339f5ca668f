//! Turns `proto/**/*.proto` into Rust without a `protoc`, and writes a redacting `Debug` for each message that
//! has a field marked `debug_redact`: prost's own prints such fields.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use protox::Compiler;
use protox::prost_reflect::{FieldDescriptor, MessageDescriptor};

const ROOT: &str = "proto";

#[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = Compiler::new([ROOT])?;
    compiler.include_imports(true).include_source_info(true).open_files(proto_files(Path::new(ROOT))?)?;
    let pool = compiler.descriptor_pool();
    let secretive: Vec<MessageDescriptor> =
        pool.all_messages().filter(|message| message.fields().any(|field| is_secret(&field))).collect();

    fs::write(out.join("debug.rs"), debug_impls(&secretive)?)?;
    // These bytes keep every option; the prost types that the generator takes have lost the newer ones.
    fs::write(out.join("lanyard_v1.binpb"), compiler.encode_file_descriptor_set())?;
    let mut generator =
        tonic_prost_build::configure().skip_debug(secretive.iter().map(|message| format!(".{}", message.full_name())));
    // Skipping the message skips its oneofs too; they hold no secret themselves (checked in debug_fields).
    for oneof in secretive.iter().flat_map(MessageDescriptor::oneofs).filter(|oneof| !oneof.is_synthetic()) {
        generator = generator.type_attribute(format!(".{}", oneof.full_name()), "#[derive(Debug)]");
    }
    generator.compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Every `.proto` below `dir`, sorted so that builds are reproducible.
fn proto_files(dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(proto_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_secret(field: &FieldDescriptor) -> bool {
    let options = field.options();
    options.get_field_by_name("debug_redact").and_then(|value| value.as_bool()).unwrap_or(false)
}

fn debug_impls(messages: &[MessageDescriptor]) -> Result<String, Box<dyn Error>> {
    let mut code = String::new();
    for message in messages {
        let name = message.name();
        writeln!(code, "impl ::core::fmt::Debug for {name} {{")?;
        writeln!(code, "    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{")?;
        write!(code, "        f.debug_struct({name:?})")?;
        for line in debug_fields(message)? {
            write!(code, "\n            {line}")?;
        }
        writeln!(code, "\n            .finish()\n    }}\n}}")?;
    }
    Ok(code)
}

/// One `.field(..)` for each field, and one for each oneof.
fn debug_fields(message: &MessageDescriptor) -> Result<Vec<String>, Box<dyn Error>> {
    let mut lines = Vec::new();
    let mut oneofs_seen = Vec::new();
    for field in message.fields() {
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        if let Some(oneof) = oneof {
            if is_secret(&field) {
                return Err(format!("{}: put a secret of a oneof into a message of its own", field.full_name()).into());
            }
            if !oneofs_seen.contains(&oneof) {
                lines.push(format!(".field({0:?}, &self.{0})", oneof.name()));
                oneofs_seen.push(oneof);
            }
        } else if is_secret(&field) {
            lines.push(format!(".field({0:?}, &crate::redact(&self.{0}))", field.name()));
        } else {
            lines.push(format!(".field({0:?}, &self.{0})", field.name()));
        }
    }
    Ok(lines)
}

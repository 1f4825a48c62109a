//! Compiles `proto/` to Rust code and to a descriptor set for reflection, without protoc.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use prost::Message as _;

/// The import root of the protos.
const ROOT: &str = "proto";

/// The proto of a service that Longshore calls and does not serve. Reflection and the names in metrics leave it out.
const CALLED: &str = "longshore/v1/credential_provider_service.proto";

/// The proto of the service that only the admin listener serves.
const ADMIN: &str = "longshore/v1/admin_service.proto";

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo watches all files in the directory. tonic-prost-build does not emit this line.
    println!("cargo:rerun-if-changed={ROOT}");

    let files = proto_files(&Path::new(ROOT).join("longshore/v1"))?;
    let descriptors = protox::compile(files, [ROOT])?;

    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let mut served = descriptors.clone();
    served.file.retain(|file| file.name() != CALLED);
    fs::write(out_dir.join("longshore.v1.admin.bin"), served.encode_to_vec())?;
    served.file.retain(|file| file.name() != ADMIN);
    fs::write(out_dir.join("longshore.v1.bin"), served.encode_to_vec())?;

    // Generates `Bytes` for `bytes` fields, so that payloads are shared instead of copied.
    tonic_prost_build::configure()
        .bytes(".")
        // They contain secrets: `src/pb/mod.rs` implements it.
        .skip_debug([
            "longshore.v1.S3Credential",
            "longshore.v1.SignedUrl",
            "longshore.v1.FormField",
            "longshore.v1.SignedPart",
        ])
        .codec_path("crate::pb::codec::ProstCodec")
        .compile_fds(descriptors)?;
    Ok(())
}

/// Lists the protos in a folder. They are sorted so that every build produces the same descriptor set.
fn proto_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    Ok(files)
}

//! Compiles `proto/` to Rust code and to a descriptor set for reflection, without protoc.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use prost::Message as _;

/// The import root of the protos.
const ROOT: &str = "proto";

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo watches all files in the directory. tonic-prost-build does not emit this line.
    println!("cargo:rerun-if-changed={ROOT}");

    let files = proto_files(&Path::new(ROOT).join("longshore/v1"))?;
    let descriptors = protox::compile(files, [ROOT])?;

    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out_dir.join("longshore.v1.bin"), descriptors.encode_to_vec())?;

    // Generates `Bytes` for `bytes` fields, so that payloads are shared instead of copied.
    tonic_prost_build::configure()
        .bytes(".")
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

//! Compiles `proto/` into Rust and into a descriptor set for reflection, without protoc.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use prost::Message as _;

/// What the protos import each other from.
const ROOT: &str = "proto";

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo looks at a folder's files too. tonic-prost-build does not emit this.
    println!("cargo:rerun-if-changed={ROOT}");

    let files = proto_files(&Path::new(ROOT).join("longshore/v1"))?;
    let descriptors = protox::compile(files, [ROOT])?;

    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out_dir.join("longshore.v1.bin"), descriptors.encode_to_vec())?;

    // `bytes` fields become `Bytes`, so that payloads are shared and not copied.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}

/// The protos of a folder, sorted, so that every build makes the same descriptor set.
fn proto_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    Ok(files)
}

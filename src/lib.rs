//! Longshore: a gRPC storage microservice in front of a pool of per-tenant S3 stores.
//!
//! A call passes through the modules in one direction: gRPC frame → [`api`] → [`auth`] → [`tenants`] → [`store`]
//! (decides which S3 requests to send) → [`s3`] (signs one request) → [`transport`] (sends it, with retries) → S3.
//! The bytes of an object return the same way. A module imports only modules further down this path, which
//! `tests/layering` verifies.

pub mod api;
pub mod auth;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod embedded;
pub mod pb;
pub mod s3;
pub mod server;
mod settings;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod tenants;
pub mod transport;

/// The version in `Cargo.toml`, which `--version` prints and the `User-Agent` header contains.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

//! Longshore: a gRPC storage microservice over a pool of per-tenant S3 stores.
//!
//! A call flows one way: gRPC frame → [`api`] → [`auth`] → [`tenants`] → [`store`] (which requests) →
//! [`s3`] (one request, signed) → [`transport`] (attempts) → S3, and an object's bytes flow back the
//! same way. Rooms import downwards only; `tests/house` holds them to it.

pub mod api;
pub mod auth;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod embedded;
pub mod pb;
pub mod s3;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tenants;
pub mod transport;

/// The version in `Cargo.toml`, as `--version` and the `User-Agent` header give it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

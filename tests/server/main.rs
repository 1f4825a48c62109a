//! The server as callers, probes and the kubelet see it: over sockets, with independent clients.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::pedantic,
    reason = "a failing test panics, its tasks end with its runtime, and readability matters more than speed"
)]

mod calls;
mod connections;
mod http2;
mod limits;
mod support;

use std::time::Duration;

use longshore::{
    pb::{HeadRequest, PutRequest, object_service_client::ObjectServiceClient},
    server::Server,
    tenants::TenantSettings,
};
use support::{Running, channel, get, settings, unknown_method};
use tonic::{Code, Request};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

fn whole_server() -> HealthCheckRequest {
    HealthCheckRequest { service: String::new() }
}

fn status(response: &HealthCheckResponse) -> ServingStatus {
    response.status()
}

#[tokio::test]
async fn the_error_for_an_address_in_use_is_one_sentence() {
    let running = Running::start(settings()).await;
    let mut same = settings();
    same.listen_addr = running.grpc;
    let error = Server::bind(same).await.unwrap_err().to_string();
    assert_eq!(error, format!("cannot listen on {}: address already in use", running.grpc));
    running.stop().await;
}

#[tokio::test]
async fn health_is_the_same_on_both_listeners() {
    let running = Running::start(settings()).await;
    for address in [running.grpc, running.health] {
        let mut health = HealthClient::new(channel(address).await);
        for service in ["", "longshore.v1.ObjectService", "longshore.v1.StoreService"] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let response = health.check(request).await.unwrap().into_inner();
            assert_eq!(status(&response), ServingStatus::Serving, "{service:?} on {address}");
        }
        let unknown = HealthCheckRequest { service: "other".to_owned() };
        assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
    }
    running.stop().await;
}

#[tokio::test]
async fn health_watches_see_the_shutdown_and_do_not_delay_it() {
    let mut settings = settings();
    settings.shutdown_grace = Duration::from_secs(3600);
    let running = Running::start(settings).await;
    let mut watches = Vec::new();
    for address in [running.grpc, running.health] {
        let mut health = HealthClient::new(channel(address).await);
        let mut watch = health.watch(whole_server()).await.unwrap().into_inner();
        assert_eq!(status(&watch.message().await.unwrap().unwrap()), ServingStatus::Serving);
        watches.push((health, watch));
    }
    let stopped = running.stop();
    let watched = async {
        for (_, watch) in &mut watches {
            assert_eq!(status(&watch.message().await.unwrap().unwrap()), ServingStatus::NotServing);
        }
        let (_, watch) = &mut watches[0];
        watch.message().await.unwrap()
    };
    // Both must end, although the caller keeps the watches open.
    let ((), last) = tokio::join!(stopped, watched);
    assert_eq!(last, None);
}

#[tokio::test]
async fn rejected_tenants_are_reported_by_readyz_and_metrics() {
    let mut settings = settings();
    settings.rejected_tenants = vec!["acme".to_owned()];
    let running = Running::start(settings).await;
    let ready = get(running.health, "/readyz").await;
    assert!(ready.ends_with("\r\n\r\nok\n1 of 1 tenants was rejected: see the log\n"), "{ready}");
    let metrics = get(running.health, "/metrics").await;
    for (state, count) in [("loaded", 0), ("rejected", 1)] {
        let line = metrics.lines().find(|line| {
            line.starts_with("longshore_tenants{") && line.contains(&format!(r#"state="{state}""#))
        });
        assert!(line.is_some_and(|line| line.ends_with(&format!(" {count}"))), "{line:?}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_draining_server_is_alive_but_not_ready() {
    let mut settings = settings();
    settings.shutdown_delay = Duration::from_secs(3600);
    let mut running = Running::start(settings).await;
    assert!(get(running.health, "/readyz").await.starts_with("HTTP/1.1 200 "));
    let mut health = HealthClient::new(channel(running.grpc).await);
    let mut watch = health.watch(whole_server()).await.unwrap().into_inner();
    watch.message().await.unwrap();

    running.begin_shutdown();
    assert_eq!(status(&watch.message().await.unwrap().unwrap()), ServingStatus::NotServing);
    assert!(get(running.health, "/readyz").await.starts_with("HTTP/1.1 503 "));
    assert!(get(running.health, "/livez").await.starts_with("HTTP/1.1 200 "));
    // Calls are still accepted: not every load balancer has noticed.
    let response = health.check(whole_server()).await.unwrap().into_inner();
    assert_eq!(status(&response), ServingStatus::NotServing);
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_shutdown() {
    let mut settings = settings();
    settings.shutdown_grace = Duration::from_secs(3600);
    let running = Running::start(settings).await;
    let mut health = HealthClient::new(channel(running.grpc).await);
    health.check(whole_server()).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn request_ids_are_returned_with_responses_and_errors() {
    let running = Running::start(settings()).await;
    let mut health = HealthClient::new(channel(running.grpc).await);
    let mut request = Request::new(whole_server());
    request.metadata_mut().insert("x-request-id", "mine-1".parse().unwrap());
    let response = health.check(request).await.unwrap();
    assert_eq!(response.metadata().get("x-request-id").unwrap(), "mine-1");

    let mut objects = ObjectServiceClient::new(channel(running.grpc).await);
    let mut request = Request::new(HeadRequest::default());
    request.metadata_mut().insert("x-request-id", "mine-2".parse().unwrap());
    let error = objects.head(request).await.unwrap_err();
    assert_eq!(error.metadata().get("x-request-id").unwrap(), "mine-2");
    running.stop().await;
}

#[tokio::test]
async fn an_unknown_method_gets_error_details_and_no_metric_label() {
    let running = Running::start(settings()).await;
    for path in ["/longshore.v1.ObjectService/Fly", "/other.v1.Service/Get"] {
        let error = unknown_method(running.grpc, path).await;
        assert_eq!(error.code(), Code::Unimplemented, "{path}");
        assert!(!error.details().is_empty(), "{path}");
    }
    let metrics = get(running.health, "/metrics").await;
    assert!(metrics.contains(r#"rpc_method="unknown""#) && !metrics.contains("Fly"), "{metrics}");
    running.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_rejected_with_details() {
    let mut settings = settings();
    settings.max_message_bytes = 1024;
    settings.tenants = vec![TenantSettings::new("acme", Default::default()).into()];
    let running = Running::start(settings).await;
    let mut objects = ObjectServiceClient::new(channel(running.grpc).await);
    let request = PutRequest { key: "large".to_owned(), data: vec![0; 2048].into(), ..PutRequest::default() };
    let error = objects.put(request).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(!error.details().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn reflection_lists_our_services_and_health_unless_it_is_off() {
    let ask = || {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request })
    };
    let running = Running::start(settings()).await;
    let mut client = ServerReflectionClient::new(channel(running.grpc).await);
    let mut answers = client.server_reflection_info(ask()).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["longshore.v1.ObjectService", "longshore.v1.StoreService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(!names.contains(&"longshore.v1.CredentialProviderService"), "it is called, not served");
    running.stop().await;

    let mut without = settings();
    without.reflection = false;
    let running = Running::start(without).await;
    let mut client = ServerReflectionClient::new(channel(running.grpc).await);
    let error = client.server_reflection_info(ask()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
    running.stop().await;
}

#[tokio::test]
async fn callers_can_verify_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, authority) = support::with_tls(settings(), folder.path());
    let running = Running::start(settings).await;
    let channel = support::tls_channel(running.grpc, &authority).await.unwrap();
    let response = HealthClient::new(channel).check(whole_server()).await.unwrap().into_inner();
    assert_eq!(status(&response), ServingStatus::Serving);

    let (_, another) = support::certificate();
    assert!(support::tls_channel(running.grpc, &another).await.is_err());
    running.stop().await;
}

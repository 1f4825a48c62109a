# Override either base image with these arguments, or with --build-context and the name of the image or the stage.
# The builder's Debian must not be newer than the runtime's: the binary links dynamically to the runtime image's glibc.
ARG BUILD_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
# The cache mounts speed up later builds. They are not part of the image, so the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && \
    install -D target/release/longshore /out/longshore

# The base image provides glibc, libgcc and CA certificates. It has no shell, so this stage cannot use RUN.
FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="longshore" \
      org.opencontainers.image.description="A gRPC storage microservice: a pool of per-tenant S3 stores behind one API" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/longshore /usr/local/bin/longshore
# Listen on all interfaces: the binary's defaults are loopback addresses, which cannot be reached from outside a container.
ENV LONGSHORE_LISTEN_ADDR=0.0.0.0:50051 \
    LONGSHORE_HEALTH_ADDR=0.0.0.0:9090
EXPOSE 50051 9090
# A numeric user, because Kubernetes cannot verify runAsNonRoot for a user name.
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/longshore"]
CMD ["serve"]

# Both bases can be replaced: by these arguments, or by --build-context with the image's name or the stage's.
# The builder's Debian must not be newer than the runtime's: the binary takes the C library from there.
ARG BUILD_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
# The caches keep a second build short; what is in them does not reach the image, hence the copy.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && \
    install -D target/release/longshore /out/longshore

# The base brings glibc, libgcc and CA certificates. No RUN from here on: it has no shell.
FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="longshore" \
      org.opencontainers.image.description="A gRPC storage microservice: a pool of per-tenant S3 stores behind one API" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/longshore /usr/local/bin/longshore
# Every interface, since a container's loopback reaches nobody; the binary's own defaults are loopback.
ENV LONGSHORE_LISTEN_ADDR=0.0.0.0:50051 \
    LONGSHORE_HEALTH_ADDR=0.0.0.0:9090
EXPOSE 50051 9090
# By number: Kubernetes' runAsNonRoot cannot judge a name.
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/longshore"]
CMD ["serve"]

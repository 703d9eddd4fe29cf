# The sidecar as a static binary in an otherwise empty image.
#
#   docker build -t sidestream .
#   docker run --rm sidestream demo --count 10

FROM rust:1-alpine AS build
# ring, which TLS to Redis needs, is partly C.
RUN apk add --no-cache build-base ca-certificates
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src ./src
COPY openapi ./openapi
# On Alpine the target is musl, and musl is linked statically.
RUN cargo build --release --locked --bin sidestream \
    && mkdir -p /image/etc/ssl/certs \
    && cp target/release/sidestream /image/sidestream \
    && ln -s sidestream /image/daprd \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/

FROM scratch
# /daprd is the same program: a compose file or a pod that starts ./daprd or /daprd needs no other change than the image.
COPY --from=build /image/ /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
# HTTP API, metrics.
EXPOSE 3500 9090
ENTRYPOINT ["/sidestream"]

# One static binary in an otherwise empty image: no shell, no package manager, no libraries to patch.
# scripts/check-container carries these instructions out without Docker, so keep RUN lines to paths relative to WORKDIR.

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /build
ENV RUSTFLAGS="-C target-feature=+crt-static"

# The dependencies first, against empty sources: this layer lasts until Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir -p src tests/it benches \
    && for f in src/main.rs tests/it/main.rs benches/store.rs benches/reply.rs benches/http.rs benches/limits.rs benches/log.rs; do echo 'fn main() {}' > "$f"; done \
    && echo '' > src/lib.rs \
    && cargo build --release --locked --target "$(rustc -vV | sed -n 's/^host: //p')"

# Then the service. `touch`, because cargo compares times and the copied files can be older than the empty ones.
COPY . .
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --target "$(rustc -vV | sed -n 's/^host: //p')" \
    && mkdir -p image/data/logs \
    && cp "target/$(rustc -vV | sed -n 's/^host: //p')/release/engagement" image/engagement

FROM scratch
LABEL org.opencontainers.image.title="Engagement" \
      org.opencontainers.image.licenses="MIT"
# Whom to believe behind https: providers, collectors of traces, a database with sslmode=verify-full. Debian keeps the list.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# The binary belongs to root: the service can run it but not replace it.
COPY --from=build /build/image/engagement /engagement
# A volume starts as a copy of this directory, and so belongs to the service's user.
COPY --from=build --chown=65532:65532 /build/image/data /data
# The database is engagement.db in the working directory, as it is without any setting: one that is set here would
# contradict a URL in a file.
ENV ENGAGEMENT_LISTEN=0.0.0.0:8000 \
    ENGAGEMENT_LOG_FILE=/data/logs/engagement.log
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/engagement", "health"]
ENTRYPOINT ["/engagement"]
CMD ["serve"]

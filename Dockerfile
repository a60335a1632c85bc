# Build:  docker build -t viveka-sync .
# Run:    docker run --stop-timeout 70 -e JWT_SECRET="$(openssl rand -hex 32)" -v viveka:/data -p 127.0.0.1:10000:10000 viveka-sync
#         (the embedded engine, its file in /data; with MONGO_URL set it is MongoDB)
# Else:   docker run --rm -v viveka:/data viveka-sync check      any other command of the program

# Both stages are of one release of Debian: the program is linked with its libc.
FROM rust:1.95-slim-bookworm AS builder
WORKDIR /build
COPY . .
RUN cargo build --release --locked --package viveka-sync --bin viveka-sync \
    && target/release/viveka-sync man --directory man \
    && target/release/viveka-sync completions bash > viveka-sync.bash

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin viveka \
    && install -d -o viveka -g viveka -m 0700 /data
COPY --from=builder /build/target/release/viveka-sync /usr/local/bin/viveka-sync
COPY --from=builder /build/man/ /usr/local/share/man/man1/
COPY --from=builder /build/viveka-sync.bash /usr/local/share/bash-completion/completions/viveka-sync

# By number, so that an orchestrator can see that it is not root.
USER 10001
# All addresses of the container, so JWT_SECRET is needed.
ENV HOST=0.0.0.0 PORT=10000 DATA_DIR=/data
VOLUME /data
EXPOSE 10000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["viveka-sync", "health"]
ENTRYPOINT ["viveka-sync"]

# Build:  docker build -t viveka-sync .
# Run:    docker run -e JWT_SECRET="$(openssl rand -hex 32)" -v viveka:/data -p 127.0.0.1:10000:10000 viveka-sync
#         (the embedded engine, its file in /data; with MONGO_URL set it is MongoDB)

FROM rust:1-bookworm AS builder
WORKDIR /build
COPY . .
RUN cargo build --release --locked -p viveka-sync

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin viveka \
    && install -d -o viveka -g viveka -m 0700 /data
COPY --from=builder /build/target/release/viveka-sync /usr/local/bin/viveka-sync

USER viveka
ENV HOST=0.0.0.0 PORT=10000 DATA_DIR=/data
VOLUME /data
EXPOSE 10000

# Asks /api/health with what the image has: bash opens the socket, so no curl is needed.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$PORT && printf 'GET /api/health HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *' 200 '* ]]"]

ENTRYPOINT ["viveka-sync"]

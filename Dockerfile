# The gateway's image; with --target demo-callee, that of the example's callee.
FROM golang:1.26 AS build
ARG VERSION=devel
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -tags codec.notfastpath -trimpath -ldflags="-s -w -X main.version=${VERSION}" -o /out/ ./cmd/gateway ./examples/demo-callee

FROM scratch AS demo-callee
COPY --from=build /out/demo-callee /demo-callee
USER 65532:65532
ENTRYPOINT ["/demo-callee"]

FROM scratch AS gateway
# Certificates, to dial wss:// and https:// with.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/gateway /gateway
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s CMD ["/gateway", "healthcheck"]
ENTRYPOINT ["/gateway"]

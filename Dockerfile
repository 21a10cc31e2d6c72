# One file for every program of the module: TARGET is the package to build.
FROM golang:1.26 AS build
ARG TARGET=./cmd/gateway
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /program "$TARGET"

FROM scratch
# Certificates, for programs that dial wss://.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /program /program
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/program"]

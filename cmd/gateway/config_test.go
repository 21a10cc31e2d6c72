package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
)

func TestNothingNeedsToBeConfigured(t *testing.T) {
	got, err := loadConfig([]string{"HOME=/root", "PATH=/bin"})
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		Listen: []string{"127.0.0.1:8080"}, UnixMode: 0o600, MaxConnections: 50000, IdleTimeout: 2 * time.Minute,
		Transports:  transports{"websocket", "rawsocket", "longpoll"},
		Serializers: serializers{wampcore.JSON, wampcore.MessagePack, wampcore.CBOR},
		Realm:       "realm1", LogLevel: logLevel(zerolog.InfoLevel),
		MaxBody: 1 << 20, MaxMessage: 16 << 20, HelloTimeout: 10 * time.Second, PingInterval: 30 * time.Second,
		QueueMessages: 8192, QueueBytes: 64 << 20, CallTimeout: 30 * time.Second, CallTimeoutMax: 10 * time.Minute,
		HistoryEvents: 65536, HistoryBytes: 64 << 20, HistoryAge: time.Hour,
		StreamQueueEvents: 1024, StreamQueueBytes: 1 << 20, Heartbeat: 15 * time.Second, ShutdownTimeout: 10 * time.Second,
		DrainWindow: 10 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEverySettingIsReadFromItsVariable(t *testing.T) {
	got, err := loadConfig([]string{
		"WAMPGATE_LISTEN=0.0.0.0:80, unix:/run/s", "WAMPGATE_LISTEN_TLS=:443", "WAMPGATE_TLS_CERT=c", "WAMPGATE_TLS_KEY=k",
		"WAMPGATE_TLS_CLIENT_AUTH=optional", "WAMPGATE_TLS_CLIENT_CA=ca", "WAMPGATE_UNIX_MODE=660",
		"WAMPGATE_TRANSPORTS=longpoll", "WAMPGATE_SERIALIZERS=cbor, json", "WAMPGATE_COMPRESSION=true", "WAMPGATE_H2C=true",
		"WAMPGATE_MAX_CONNECTIONS=5", "WAMPGATE_MAX_CONNECTIONS_PER_ADDRESS=2", "WAMPGATE_IDLE_TIMEOUT=9s",
		"WAMPGATE_ALLOW_ANONYMOUS_REMOTE=true", "WAMPGATE_OPS_ADDR=:9090",
		"WAMPGATE_REALM=com.example.main", "WAMPGATE_STRICT=1", "WAMPGATE_LOG_LEVEL=OFF", "WAMPGATE_CONFIG=",
		"WAMPGATE_HOSTS=a.example, *.b.example,", "WAMPGATE_ORIGINS=https://a.example",
		"WAMPGATE_MAX_BODY=2KiB", "WAMPGATE_MAX_MESSAGE=1GiB", "WAMPGATE_HELLO_TIMEOUT=1s", "WAMPGATE_PING_INTERVAL=0s",
		"WAMPGATE_QUEUE_MESSAGES=1", "WAMPGATE_QUEUE_BYTES=7", "WAMPGATE_CALL_TIMEOUT=2s",
		"WAMPGATE_CALL_TIMEOUT_MAX=3s", "WAMPGATE_STREAM_QUEUE_EVENTS=2", "WAMPGATE_STREAM_QUEUE_BYTES=3MiB",
		"WAMPGATE_OPERATORS=admin,ops", "WAMPGATE_DISCLOSURE=never", "WAMPGATE_TRUST_LEVELS=anonymous=0, backend=5",
		"WAMPGATE_HISTORY_EVENTS=9", "WAMPGATE_HISTORY_BYTES=1KiB", "WAMPGATE_HISTORY_AGE=0s",
		"WAMPGATE_UPSTREAM_URL=wss://router.example/ws", "WAMPGATE_UPSTREAM_CA=uca", "WAMPGATE_UPSTREAM_CERT=uc",
		"WAMPGATE_UPSTREAM_KEY=uk", "WAMPGATE_UPSTREAM_AUTH=scram", "WAMPGATE_UPSTREAM_AUTHID=ui", "WAMPGATE_UPSTREAM_SECRET_FILE=us",
		"WAMPGATE_HEARTBEAT=4s", "WAMPGATE_SHUTDOWN_TIMEOUT=5s",
		"WAMPGATE_ACCESS_LOG=true", "WAMPGATE_PROFILING=true", "WAMPGATE_METRICS_PROCEDURES=com.a, com.b",
		"WAMPGATE_METRICS_TOPICS=com.c", "WAMPGATE_DRAIN_WINDOW=6s",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		Listen: []string{"0.0.0.0:80", "unix:/run/s"}, ListenTLS: []string{":443"}, TLSCert: "c", TLSKey: "k",
		TLSClientAuth: clientAuthOptional, TLSClientCA: "ca", UnixMode: 0o660, Transports: transports{"longpoll"},
		Serializers: serializers{wampcore.CBOR, wampcore.JSON}, Compression: true, H2C: true, MaxConnections: 5, MaxConnectionsPerAddress: 2,
		IdleTimeout:          9 * time.Second,
		AllowAnonymousRemote: true, OpsAddr: ":9090", Realm: "com.example.main", Strict: true,
		LogLevel: logLevel(zerolog.Disabled), Hosts: []string{"a.example", "*.b.example"}, Origins: []string{"https://a.example"},
		MaxBody: 2 << 10, MaxMessage: 1 << 30, HelloTimeout: time.Second,
		QueueMessages: 1, QueueBytes: 7, CallTimeout: 2 * time.Second, CallTimeoutMax: 3 * time.Second,
		UpstreamURL: "wss://router.example/ws", UpstreamCA: "uca", UpstreamCert: "uc", UpstreamKey: "uk",
		UpstreamAuth: "scram", UpstreamAuthID: "ui", UpstreamSecretFile: "us",
		Operators: []string{"admin", "ops"}, Disclosure: disclosure(router.DiscloseNever),
		TrustLevels: trustLevels{"anonymous": 0, "backend": 5}, HistoryEvents: 9, HistoryBytes: 1 << 10,
		StreamQueueEvents: 2, StreamQueueBytes: 3 << 20, Heartbeat: 4 * time.Second, ShutdownTimeout: 5 * time.Second,
		AccessLog: true, Profiling: true, MetricsProcedures: []string{"com.a", "com.b"}, MetricsTopics: []string{"com.c"},
		DrainWindow: 6 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestMistakeIsNamedWithItsVariable(t *testing.T) {
	for _, c := range []struct{ variable, says string }{
		{"WAMPGATE_LISTEN=8080", `WAMPGATE_LISTEN: "8080" is no address; want host:port`},
		{"WAMPGATE_LISTEN=127.0.0.1:99999", `WAMPGATE_LISTEN: "99999" is no port`},
		{"WAMPGATE_LISTEN=127.0.0.1:", `WAMPGATE_LISTEN: "" is no port`},
		{"WAMPGATE_LISTEN=:8080", "set WAMPGATE_ALLOW_ANONYMOUS_REMOTE=true"},
		{"WAMPGATE_LISTEN=0.0.0.0:8080", "set WAMPGATE_ALLOW_ANONYMOUS_REMOTE=true"},
		{"WAMPGATE_LISTEN=gateway.example:8080", "set WAMPGATE_ALLOW_ANONYMOUS_REMOTE=true"},
		{"WAMPGATE_LISTEN=127.0.0.1:80,x", `WAMPGATE_LISTEN: "x" is no address`},
		{"WAMPGATE_LISTEN=unix:s", `WAMPGATE_LISTEN: "unix:s" is no address; want an absolute path`},
		{"WAMPGATE_LISTEN_TLS=127.0.0.1:443", "WAMPGATE_LISTEN_TLS: set WAMPGATE_TLS_CERT and WAMPGATE_TLS_KEY"},
		{"WAMPGATE_TLS_CERT=c", "WAMPGATE_TLS_CERT: set WAMPGATE_LISTEN_TLS"},
		{"WAMPGATE_TLS_CLIENT_AUTH=always", `WAMPGATE_TLS_CLIENT_AUTH: "always" is no such choice; want none, optional or required`},
		{"WAMPGATE_TLS_CLIENT_AUTH=required", "WAMPGATE_TLS_CLIENT_CA: it goes with"},
		{"WAMPGATE_TLS_CLIENT_CA=ca", "WAMPGATE_TLS_CLIENT_CA: it goes with"},
		{"WAMPGATE_UNIX_MODE=999", `WAMPGATE_UNIX_MODE: "999" is no file mode`},
		{"WAMPGATE_TRANSPORTS=carrier-pigeon", `WAMPGATE_TRANSPORTS: "carrier-pigeon" is no transport`},
		{"WAMPGATE_SERIALIZERS=ubjson", `WAMPGATE_SERIALIZERS: "ubjson" is no serializer`},
		{"WAMPGATE_MAX_CONNECTIONS=0", `WAMPGATE_MAX_CONNECTIONS: "0" is no count`},
		{"WAMPGATE_UPSTREAM_URL=http://router", "WAMPGATE_UPSTREAM_URL: want an address such as wss://"},
		{"WAMPGATE_UPSTREAM_URL=tcp:", "WAMPGATE_UPSTREAM_URL: want an address"},
		{"WAMPGATE_UPSTREAM_CA=ca", "WAMPGATE_UPSTREAM_URL: set it, too"},
		{"WAMPGATE_UPSTREAM_AUTH=ticket", "WAMPGATE_UPSTREAM_URL: set it, too"},
		{"WAMPGATE_UPSTREAM_KEY=k", "WAMPGATE_UPSTREAM_CERT: it goes with WAMPGATE_UPSTREAM_KEY"},
		{"WAMPGATE_OPS_ADDR=x", `WAMPGATE_OPS_ADDR: "x" is no address`},
		{"WAMPGATE_REALM=a..b", `WAMPGATE_REALM: "a..b" is no URI`},
		{"WAMPGATE_PROFILING=true", "WAMPGATE_PROFILING: set WAMPGATE_OPS_ADDR, too"},
		{"WAMPGATE_STRICT=maybe", "WAMPGATE_STRICT: want true or false"},
		{"WAMPGATE_LOG_LEVEL=loud", `WAMPGATE_LOG_LEVEL: "loud" is no level`},
		{"WAMPGATE_CONFIG=/nowhere.yaml", "WAMPGATE_CONFIG: open /nowhere.yaml"},
		{"WAMPGATE_DISCLOSURE=maybe", `WAMPGATE_DISCLOSURE: "maybe" is no disclosure`},
		{"WAMPGATE_TRUST_LEVELS=backend", `WAMPGATE_TRUST_LEVELS: "backend" is no trust level`},
		{"WAMPGATE_TRUST_LEVELS=a=-1", `WAMPGATE_TRUST_LEVELS: "a=-1" is no trust level`},
		{"WAMPGATE_HOSTS=https://x", `WAMPGATE_HOSTS: "https://x" is no host name`},
		{"WAMPGATE_HOSTS=wampgate.*.svc", `WAMPGATE_HOSTS: "wampgate.*.svc" has a * where it stands for nothing; it is for the beginning`},
		{"WAMPGATE_HOSTS=*example.com", `WAMPGATE_HOSTS: "*example.com" has a * where it stands for nothing`},
		{"WAMPGATE_ORIGINS=app.example.com", `WAMPGATE_ORIGINS: "app.example.com" is no origin`},
		{"WAMPGATE_MAX_BODY=0", `WAMPGATE_MAX_BODY: "0" is no size`},
		{"WAMPGATE_MAX_BODY=2GiB", `WAMPGATE_MAX_BODY: "2GiB" is no size`},
		{"WAMPGATE_MAX_BODY=1MB", `WAMPGATE_MAX_BODY: "1MB" is no size`},
		{"WAMPGATE_QUEUE_MESSAGES=-1", `WAMPGATE_QUEUE_MESSAGES: "-1" is no count`},
		{"WAMPGATE_HELLO_TIMEOUT=10", `WAMPGATE_HELLO_TIMEOUT: "10" is no duration`},
		{"WAMPGATE_HELLO_TIMEOUT=-1s", `WAMPGATE_HELLO_TIMEOUT: "-1s" is no duration`},
		{"WAMPGATE_SHUTDOWN_TIMEOUT=0s", "WAMPGATE_SHUTDOWN_TIMEOUT: want more than 0"},
		{"WAMPGATE_CALL_TIMEOUT=11m", "WAMPGATE_CALL_TIMEOUT: 11m0s is longer than WAMPGATE_CALL_TIMEOUT_MAX"},
		{"WAMPGATE_LISTN=127.0.0.1:1", "WAMPGATE_LISTN: there is no such setting; did you mean WAMPGATE_LISTEN?"},
		{"WAMPGATE_log_level=debug", "did you mean WAMPGATE_LOG_LEVEL?"},
	} {
		t.Run(c.variable, func(t *testing.T) {
			_, err := loadConfig([]string{c.variable})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q in it", err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("one mistake, more than one line: %v", err)
			}
		})
	}
}

func TestLoopbackNeedsNoPermission(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "127.1.2.3:1", "localhost:8080", "[::1]:8080", "[::ffff:127.0.0.1]:8080", "unix:/run/s"} {
		if _, err := loadConfig([]string{"WAMPGATE_LISTEN=" + listen}); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

func TestRequiredClientCertificatesNeedNoPermission(t *testing.T) {
	tls := []string{
		"WAMPGATE_LISTEN_TLS=:443", "WAMPGATE_TLS_CERT=c", "WAMPGATE_TLS_KEY=k", "WAMPGATE_TLS_CLIENT_CA=ca",
		"WAMPGATE_TLS_CLIENT_AUTH=required",
	}
	if _, err := loadConfig(tls); err != nil {
		t.Error(err)
	}
	tls[len(tls)-1] = "WAMPGATE_TLS_CLIENT_AUTH=optional"
	if _, err := loadConfig(tls); err == nil {
		t.Error("everybody is let in by other machines")
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	_, err := loadConfig([]string{"WAMPGATE_STRICT=x", "WAMPGATE_MAX_BODY=x", "WAMPGATE_CALL_TIMEOUT=x", "WAMPGATE_REALMS=x"})
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 4 {
		t.Errorf("got %d lines, want one for each of four mistakes:\n%v", len(lines), err)
	}
	_, err = loadConfig([]string{"WAMPGATE_LISTEN=x", "WAMPGATE_HOSTS=a/b", "WAMPGATE_HEARTBEAT=0s"})
	if err == nil || len(strings.Split(err.Error(), "\n")) != 3 {
		t.Errorf("want a line for each of three mistakes, got:\n%v", err)
	}
}

func TestKubernetesServiceVariablesAreNoMistake(t *testing.T) {
	_, err := loadConfig([]string{
		"WAMPGATE_SERVICE_HOST=10.0.0.1", "WAMPGATE_SERVICE_PORT=8080", "WAMPGATE_SERVICE_PORT_HTTP=8080",
		"WAMPGATE_PORT=tcp://10.0.0.1:8080", "WAMPGATE_PORT_8080_TCP=tcp://10.0.0.1:8080",
		"WAMPGATE_PORT_8080_TCP_PROTO=tcp", "WAMPGATE_PORT_8080_TCP_PORT=8080", "WAMPGATE_PORT_8080_TCP_ADDR=10.0.0.1",
		"WAMPGATE_OPS_SERVICE_HOST=10.0.0.2", "WAMPGATE_OPS_PORT=tcp://10.0.0.2:9090",
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := loadConfig([]string{"WAMPGATE_PORT=8080"}); err == nil {
		t.Error("WAMPGATE_PORT=8080 is taken for a service's address")
	}
}

func TestReadmeTablesEverySetting(t *testing.T) {
	var want strings.Builder
	want.WriteString("| Variable | Default | Meaning |\n|---|---|---|\n")
	for _, s := range settings() {
		if s.help == "" {
			t.Errorf("%s has no meaning", s.name)
		}
		byDefault := "unset"
		if s.byDefault != "" {
			byDefault = "`" + s.byDefault + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", s.name, byDefault, s.help)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), want.String()) {
		t.Errorf("README.md does not have this table of settings:\n%s", want.String())
	}
}

func TestHelpTellsEverySettingWithItsDefault(t *testing.T) {
	var out strings.Builder
	printHelp(&out)
	for _, s := range settings() {
		if !strings.Contains(out.String(), s.name+" ") || !strings.Contains(out.String(), s.help) || !strings.Contains(out.String(), s.byDefault) {
			t.Errorf("help does not tell of %s", s.name)
		}
	}
}

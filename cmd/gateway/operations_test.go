package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// testGateway returns one that is made, but does not listen.
func testGateway(t *testing.T, log zerolog.Logger, environ ...string) *gateway {
	t.Helper()
	cfg, err := loadConfig(environ)
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGateway(cfg, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		zerolog.SetGlobalLevel(zerolog.TraceLevel)
	})
	return g
}

func askFrom(h http.Handler, peer, host, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr, r.Host = peer, host
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func TestWhatChangesTheGatewayIsForThisMachineAlone(t *testing.T) {
	g := testGateway(t, zerolog.Nop(), "WAMPGATE_OPS_ADDR=:9090", "WAMPGATE_PROFILING=true")
	ops := g.operations()
	for _, c := range []struct {
		peer, host, path string
		status           int
	}{
		{"127.0.0.1:1", "localhost:9090", "/loglevel", 200},
		{"[::1]:1", "[::1]:9090", "/loglevel", 200},
		{"@", "localhost", "/loglevel", 200},
		{"10.0.0.1:1", "localhost:9090", "/loglevel", 403},
		{"127.0.0.1:1", "evil.example", "/loglevel", 403},
		{"10.0.0.1:1", "10.0.0.2:9090", "/debug/pprof/", 403},
		{"127.0.0.1:1", "127.0.0.1:9090", "/debug/pprof/heap", 200},
		{"10.0.0.1:1", "10.0.0.2:9090", "/metrics", 200},
		{"10.0.0.1:1", "10.0.0.2:9090", "/livez", 200},
		{"10.0.0.1:1", "10.0.0.2:9090", "/v1/sessions", 404},
	} {
		if rec := askFrom(ops, c.peer, c.host, http.MethodGet, c.path, ""); rec.Code != c.status {
			t.Errorf("%s from %s for %s: got %d, want %d", c.path, c.peer, c.host, rec.Code, c.status)
		}
	}
}

func TestHooksDoNotReachWhatIsForOperators(t *testing.T) {
	g := testGateway(t, zerolog.Nop(), "WAMPGATE_OPS_ADDR=127.0.0.1:0", "WAMPGATE_LISTEN=127.0.0.1:0")
	answers := make(chan int, 1)
	ops := g.operations()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		ops.ServeHTTP(rec, r)
		answers <- rec.Code
		w.WriteHeader(rec.Code)
	}))
	defer srv.Close()
	ann := bridge.Principal{Realm: "realm1"}
	if _, err := g.hooks.Put(t.Context(), ann, "h", bridge.HookSpec{Topic: "com.t", URL: srv.URL + "/drain"}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.bridge.Publish(t.Context(), ann, "com.t", bridge.PublishRequest{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case code := <-answers:
		if code != http.StatusForbidden || g.life.phase() == draining {
			t.Errorf("got %d", code)
		}
	case <-ctx.Done():
		t.Error("the hook asks nothing")
	}
}

func TestProfilesAreServedOnlyWhereTheyAreAskedFor(t *testing.T) {
	g := testGateway(t, zerolog.Nop(), "WAMPGATE_OPS_ADDR=:9090")
	if rec := askFrom(g.operations(), "127.0.0.1:1", "localhost", http.MethodGet, "/debug/pprof/", ""); rec.Code != http.StatusNotFound {
		t.Errorf("got %d, want 404", rec.Code)
	}
}

func TestLogLevelChangesWhileTheGatewayRuns(t *testing.T) {
	var out bytes.Buffer
	log := zerolog.New(&out)
	g := testGateway(t, log, "WAMPGATE_OPS_ADDR=:9090", "WAMPGATE_LOG_LEVEL=warn")
	ops := g.operations()
	put := func(name string) *httptest.ResponseRecorder {
		return askFrom(ops, "127.0.0.1:1", "localhost", http.MethodPut, "/loglevel", name)
	}
	log.Info().Msg("before")
	if rec := put("debug\n"); rec.Code != http.StatusOK || rec.Body.String() != "debug\n" {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	log.Debug().Msg("after")
	if s := out.String(); strings.Contains(s, "before") || !strings.Contains(s, "after") || !strings.Contains(s, `"to":"debug","message":"log level changed"`) {
		t.Errorf("got %s", s)
	}
	if rec := put("loud"); rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "want trace, debug") {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	if rec := put(strings.Repeat("x", 1<<20)); rec.Code != http.StatusBadRequest {
		t.Errorf("got %d", rec.Code)
	}
	for _, want := range []string{"trace", "warn", "debug", "trace"} {
		g.levels.next()
		if got := levelName(zerolog.GlobalLevel()); got != want {
			t.Errorf("a signal: got %s, want %s", got, want)
		}
	}
	put("error")
	g.levels.next()
	if got := levelName(zerolog.GlobalLevel()); got != "warn" {
		t.Errorf("a signal at a level that is not of the cycle: got %s, want warn", got)
	}
}

func TestHealthcheckReachesTheGatewayWhereverItListens(t *testing.T) {
	dir := t.TempDir()
	for _, address := range []string{"127.0.0.1:0", ":0", "[::]:0", "unix:" + filepath.Join(dir, "s")} {
		l, err := transport.Listen(t.Context(), address, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "localhost" || r.URL.Path == "/startupz" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = w.Write([]byte(r.URL.Path))
		})}
		go func() { _ = srv.Serve(l) }()
		t.Cleanup(func() { _ = srv.Close() })
		if strings.HasSuffix(address, ":0") {
			address = strings.TrimSuffix(address, "0") + l.Addr().String()[strings.LastIndexByte(l.Addr().String(), ':')+1:]
		}
		environ := []string{"WAMPGATE_OPS_ADDR=" + address}
		if status, out, errs := says(t, environ, "", "healthcheck"); status != 0 || out != "/readyz" {
			t.Errorf("%s: got %d %s%s", address, status, out, errs)
		}
		if status, _, errs := says(t, environ, "", "healthcheck", "startupz"); status != 1 || !strings.Contains(errs, "503") {
			t.Errorf("%s: got %d %s, want 1 and 503", address, status, errs)
		}
	}
	for _, c := range []struct{ variable, probe, want string }{
		{"WAMPGATE_OPS_ADDR=unix:" + filepath.Join(dir, "gone"), "livez", "no such file"},
		{"WAMPGATE_LISTEN=127.0.0.1:0", "livez", "port 0"},
		{"WAMPGATE_LISTN=", "livez", "did you mean"},
		{"WAMPGATE_OPS_ADDR=", "metrics", "usage: gateway healthcheck"},
	} {
		if status, _, errs := says(t, []string{c.variable}, "", "healthcheck", c.probe); status != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%s %s: got %d %s", c.variable, c.probe, status, errs)
		}
	}
}

func TestHealthcheckAndDrainReachAGatewayWhoseNewConfigurationIsBroken(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.URL.Path)) }))
	defer srv.Close()
	ops := "WAMPGATE_OPS_ADDR=" + strings.TrimPrefix(srv.URL, "http://")
	broken := written(t, "settings: {drain_window: 1m}\nrealms: {realm1: {rolls: {}}}\n")
	for _, environ := range [][]string{
		{ops, "WAMPGATE_CONFIG=" + broken},
		{ops, "WAMPGATE_CONFIG=" + filepath.Join(t.TempDir(), "gone")},
		{ops, "WAMPGATE_CONFIG=" + written(t, "realms: {realm1: {}, realm2: {}}\nlisteners: []\nsettings: {realm: realm3}\n")},
		{"WAMPGATE_CONFIG=" + written(t, "settings: {ops_addr: '"+strings.TrimPrefix(srv.URL, "http://")+"'}\nrealms: {realm1: {rolls: {}}}\n")},
	} {
		for _, asked := range []string{"healthcheck", "drain"} {
			if status, out, errs := says(t, environ, "", asked); status != 0 || out == "" {
				t.Errorf("%s with %v: got %d %s", asked, environ, status, errs)
			}
		}
	}
	listens := "settings: {listen: '" + strings.TrimPrefix(srv.URL, "http://") + "'}\nrealms: {realm1: {rolls: {}}}\n"
	if status, out, errs := says(t, []string{"WAMPGATE_CONFIG=" + written(t, listens)}, "", "healthcheck"); status != 0 || out == "" {
		t.Errorf("the file's listener: got %d %s", status, errs)
	}
	unreadable := "WAMPGATE_CONFIG=" + written(t, "{")
	if status, _, errs := says(t, []string{unreadable}, "", "healthcheck"); status != 1 || !strings.Contains(errs, "wampgate.yaml") {
		t.Errorf("where nothing says where it listens: got %d %s", status, errs)
	}
	if status, _, errs := says(t, []string{ops, "WAMPGATE_LISTN=", unreadable}, "", "healthcheck"); status != 1 || !strings.Contains(errs, "did you mean") {
		t.Errorf("a gateway that could not have been started: got %d %s", status, errs)
	}
}

func TestGatewayThatCannotTakeConnectionsSaysSo(t *testing.T) {
	var out bytes.Buffer
	w := logWriter{zerolog.New(&out).Level(zerolog.InfoLevel)}
	for _, text := range []string{"http: TLS handshake error from 10.0.0.1:1: EOF\n", "http: Accept error: accept4: too many open files; retrying in 5ms\n"} {
		_, _ = w.Write([]byte(text))
	}
	if got := out.String(); strings.Contains(got, "handshake") || !strings.Contains(got, `"level":"error","error":"http: Accept error: accept4: too many open files`) {
		t.Errorf("got %s", got)
	}
}

package httpapi_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/httpapi"
)

func crossOrigin(t *testing.T, f *face, method, path, origin string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, "http://localhost"+path, nil)
	req.Header.Set("Origin", origin)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	f.handler.ServeHTTP(rec, req)
	return rec
}

const app = "https://app.example.com"

func TestPagesOfNamedOriginsMaySendAndRead(t *testing.T) {
	f := newFace(t, known, func(cfg *httpapi.Config) { cfg.Origins = []string{app} })
	rec := crossOrigin(t, f, http.MethodOptions, "/v1/call/p", app,
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-encoding,content-type,if-none-match,wamp-timeout-ms")
	h := rec.Header()
	if rec.Code != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != app || h.Get("Access-Control-Allow-Methods") != "POST" ||
		h.Get("Access-Control-Allow-Headers") != "authorization,content-encoding,content-type,if-none-match,wamp-timeout-ms" || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight: got %d %v", rec.Code, h)
	}
	rec = crossOrigin(t, f, http.MethodPost, "/v1/call/p", app, as("joe")...)
	h = rec.Header()
	exposed := strings.ToLower(h.Get("Access-Control-Expose-Headers"))
	if rec.Code != http.StatusNotFound || h.Get("Access-Control-Allow-Origin") != app || !strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin") {
		t.Errorf("got %d %v", rec.Code, h)
	}
	for _, name := range []string{"wamp-error", "wamp-cursor", "x-request-id", "retry-after", "etag"} {
		if !strings.Contains(exposed, name) {
			t.Errorf("%s is not exposed by %q", name, exposed)
		}
	}
	if rec := crossOrigin(t, f, http.MethodGet, "/v1/sessions", app, as("mallory")...); rec.Header().Get("Access-Control-Allow-Origin") != app {
		t.Error("a page cannot read why it was refused")
	}
}

func TestPagesOfOtherOriginsMayNeither(t *testing.T) {
	f := newFace(t, func(cfg *httpapi.Config) { cfg.Origins = []string{app} })
	for _, origin := range []string{"https://evil.example", "http://app.example.com", app + ".evil.example", "https://app.example.com:444", "null"} {
		rec := crossOrigin(t, f, http.MethodOptions, "/v1/call/p", origin, "Access-Control-Request-Method", "POST")
		if rec.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: preflight says %v", origin, rec.Header())
		}
		if rec := crossOrigin(t, f, http.MethodPost, "/v1/publish/com.t", origin); rec.Code != http.StatusForbidden {
			t.Errorf("%s may publish: %d", origin, rec.Code)
		}
		if rec := crossOrigin(t, f, http.MethodGet, "/v1/sessions", origin); rec.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s may read", origin)
		}
	}
	if f.handler.Stats().Refused["origin"] == 0 {
		t.Error("nothing is counted")
	}
}

func TestCORSIsOffUntilOriginsAreNamed(t *testing.T) {
	f := newFace(t)
	rec := crossOrigin(t, f, http.MethodOptions, "/v1/call/p", app, "Access-Control-Request-Method", "POST")
	if rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("got %d %v", rec.Code, rec.Header())
	}
}

func TestCredentialsOfBrowsersAreForNamedOriginsAlone(t *testing.T) {
	f := newFace(t, func(cfg *httpapi.Config) { cfg.Origins, cfg.Credentials = []string{app}, true })
	if rec := crossOrigin(t, f, http.MethodGet, "/v1/sessions", app); rec.Header().Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("got %v", rec.Header())
	}
	if rec := crossOrigin(t, f, http.MethodGet, "/v1/sessions", "https://evil.example"); rec.Header().Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("got %v", rec.Header())
	}
	for _, cfg := range []httpapi.Config{{Credentials: true}, {Origins: []string{"*"}}, {Origins: []string{"https://*.example.com"}}, {Origins: []string{"app.example.com"}}} {
		if _, err := httpapi.New(cfg); err == nil {
			t.Errorf("%v is accepted", cfg.Origins)
		}
	}
}

func TestPagesOfOtherOriginsDoNotRegister(t *testing.T) {
	f := newFace(t, func(cfg *httpapi.Config) { cfg.Origins = []string{app} })
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what is let in ends at once
	for _, c := range []struct {
		name, value string
		want        int
	}{
		{"Origin", "https://evil.example", http.StatusForbidden},
		{"Sec-Fetch-Site", "cross-site", http.StatusForbidden},
		{"Sec-Fetch-Site", "same-origin", 0},
		{"Origin", app, 0},
		{"Accept", "text/event-stream", 0},
	} {
		req := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/v1/register/com.p", nil)
		req.Header.Set(c.name, c.value)
		rec := httptest.NewRecorder()
		f.handler.ServeHTTP(rec, req)
		if (rec.Code == http.StatusForbidden) != (c.want == http.StatusForbidden) {
			t.Errorf("%s: %s: got %d %s", c.name, c.value, rec.Code, rec.Body)
		}
	}
}

func TestRefusalOfAnOriginNamesTheSettingThatWouldLetItIn(t *testing.T) {
	var log bytes.Buffer
	f := newFace(t, func(cfg *httpapi.Config) {
		cfg.Origins, cfg.Log = []string{app}, zerolog.New(&log).Level(zerolog.InfoLevel)
		cfg.WebSocket = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	})
	const evil = "https://evil.example"
	for _, c := range []struct {
		method, path, origin string
		want                 int
	}{
		{http.MethodGet, "/ws", evil, http.StatusForbidden},
		{http.MethodGet, "/ws", "null", http.StatusForbidden},
		{http.MethodGet, "/ws", "http://localhost:1", http.StatusForbidden},
		{http.MethodGet, "/ws", "http://%", http.StatusForbidden},
		{http.MethodPost, "/v1/publish/com.t", evil, http.StatusForbidden},
		{http.MethodGet, "/v1/register/com.t", evil, http.StatusForbidden},
		{http.MethodGet, "/ws", app, http.StatusTeapot},
		{http.MethodGet, "/ws", strings.ToUpper(app), http.StatusTeapot},
		{http.MethodGet, "/ws", "http://localhost", http.StatusTeapot},
		{http.MethodGet, "/ws", "", http.StatusTeapot}, // no browser
	} {
		log.Reset()
		before := f.handler.Stats().Refused["origin"]
		rec := crossOrigin(t, f, c.method, c.path, c.origin)
		refused := c.want == http.StatusForbidden
		counted := f.handler.Stats().Refused["origin"] != before
		if rec.Code != c.want || counted != refused {
			t.Errorf("%s %s of %s: got %d, counted: %t, want %d", c.method, c.path, c.origin, rec.Code, counted, c.want)
		}
		for where, said := range map[string]string{"answer": rec.Body.String(), "log": log.String()} {
			if told := strings.Contains(said, "WAMPGATE_ORIGINS") && strings.Contains(said, c.origin); told != refused {
				t.Errorf("%s %s of %s: the %s is %s", c.method, c.path, c.origin, where, said)
			}
		}
	}
	log.Reset()
	for range 100 {
		crossOrigin(t, f, http.MethodGet, "/ws", evil+strings.Repeat("x", 10_000))
	}
	if log.Len() > 20_000 {
		t.Errorf("the log has %d bytes of it", log.Len())
	}
}

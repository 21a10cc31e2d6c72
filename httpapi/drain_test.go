package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
)

func TestDrainRefusesWhatIsNewButTheOwnMachines(t *testing.T) {
	var draining atomic.Bool
	f := newFace(t, func(cfg *httpapi.Config) {
		cfg.Draining = draining.Load
		cfg.Inbound = map[string]httpapi.Inbound{"x": {Provider: "gitlab", Secrets: []string{"s"}, Topic: "t", Principal: bridge.Principal{Realm: "realm1"}}}
		cfg.Crossbar = map[string]httpapi.Crossbar{"/crossbar": {Kind: httpapi.CrossbarPublisher, Principal: bridge.Principal{Realm: "realm1"}}}
		cfg.Routes = []httpapi.Route{{Method: "GET", Path: "/orders", Procedure: "com.orders", Realm: "realm1"}}
	})
	ask := func(method, path, peer string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.Host, r.RemoteAddr = "localhost", peer
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		rec := httptest.NewRecorder()
		f.handler.ServeHTTP(rec, r)
		return rec
	}
	if rec := ask("POST", "/v1/publish/t", "10.0.0.1:1"); rec.Code != http.StatusOK {
		t.Fatalf("got %d %s", rec.Code, rec.Body)
	}
	draining.Store(true)
	for _, c := range []struct {
		method, path, peer string
		header             []string
		want               int
	}{
		{"POST", "/v1/publish/t", "10.0.0.1:1", nil, 503},
		{"POST", "/v1/publish/t", "127.0.0.1:1", nil, 200},
		{"POST", "/v1/publish/t", "[::1]:1", nil, 200},
		{"POST", "/v1/publish/t", "@", nil, 200},
		{"POST", "/v1/publish/t", "127.0.0.1:1", []string{"X-Forwarded-For", "10.0.0.1"}, 503},
		{"POST", "/v1/publish/t", "127.0.0.1:1", []string{"Via", "1.1 proxy"}, 503},
		{"POST", "/v1/realms/realm2/call/p", "10.0.0.1:1", nil, 503},
		{"POST", "/v1/realms/realm2/call/p", "127.0.0.1:1", nil, 404},
		{"GET", "/v1/subscribe/t", "127.0.0.1:1", nil, 503},
		{"GET", "/v1/realms/realm2/subscribe?topic=t", "127.0.0.1:1", nil, 503},
		{"GET", "/ws", "10.0.0.1:1", nil, 503},
		{"GET", "/ws", "127.0.0.1:1", nil, 404}, // the handler of these tests
		{"POST", "/longpoll/open", "10.0.0.1:1", nil, 503},
		{"POST", "/longpoll/x/send", "10.0.0.1:1", nil, 404},
		{"POST", "/v1/inbound/x", "10.0.0.1:1", []string{"X-Gitlab-Token", "s"}, 503},
		{"POST", "/crossbar", "10.0.0.1:1", nil, 503},
		{"POST", "/crossbar", "127.0.0.1:1", nil, 400},
		{"GET", "/orders", "10.0.0.1:1", nil, 503},
		{"GET", "/livez", "10.0.0.1:1", nil, 200},
		{"GET", "/openapi.yaml", "10.0.0.1:1", nil, 200},
	} {
		rec := ask(c.method, c.path, c.peer, c.header...)
		if rec.Code != c.want {
			t.Errorf("%s %s from %s %v: got %d %s, want %d", c.method, c.path, c.peer, c.header, rec.Code, rec.Body, c.want)
		}
		if h := rec.Header(); c.want == 503 && (h.Get("Connection") != "close" || h.Get("Retry-After") == "" || h.Get("Wamp-Error") != "wamp.close.system_shutdown") {
			t.Errorf("%s %s: headers %v", c.method, c.path, h)
		}
	}
	if n := f.handler.Stats().Refused["draining"]; n != 11 {
		t.Errorf("%d refusals were counted, want 11", n)
	}
}

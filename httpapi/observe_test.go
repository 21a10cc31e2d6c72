package httpapi_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
)

// observer remembers the answers.
type observer struct{ answers []httpapi.Answer }

type begun struct{}

func (o *observer) Begin(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), begun{}, true))
}

func (o *observer) End(r *http.Request, answer httpapi.Answer) {
	if r.Context().Value(begun{}) != true {
		panic("another request than the one that began")
	}
	answer.Took = 0
	o.answers = append(o.answers, answer)
}

// down is a bridge without a router.
func down(t *testing.T) *bridge.Bridge {
	t.Helper()
	b := bridge.New(bridge.Config{Dial: func(context.Context, bridge.Principal) (wampcore.Transport, error) { return nil, wampcore.ErrClosed }})
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

func TestObserverIsToldOfEveryRequestAndItsRoute(t *testing.T) {
	var seen observer
	h, err := httpapi.New(httpapi.Config{Bridge: down(t), Realm: "realm1", Observer: &seen})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, host, route string
		status                    int
	}{
		{"GET", "/livez", "localhost", "/livez", 200},
		{"GET", "/livez", "evil.example", "", 421},
		{"GET", "/nowhere", "localhost", "", 404},
		{"POST", "/v1/call/a..b?as=x", "localhost", "/v1/call/{procedure}", 400},
		{"POST", "/v1/realms/r/publish/%20", "localhost", "/v1/realms/{realm}/publish/{topic}", 400},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		r.Host = c.host
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		got := seen.answers[len(seen.answers)-1]
		if want := (httpapi.Answer{Route: c.route, Status: c.status, Bytes: int64(rec.Body.Len())}); got != want {
			t.Errorf("%s %s: got %+v, want %+v", c.method, c.path, got, want)
		}
	}
}

func TestAccessLogHasNoSecrets(t *testing.T) {
	for on, want := range map[bool]int{true: 1, false: 0} {
		var out bytes.Buffer
		h, err := httpapi.New(httpapi.Config{
			Bridge: down(t), Realm: "realm1", Log: zerolog.New(&out).Level(zerolog.InfoLevel), AccessLog: on,
		})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/v1/call/com.example.p?token=hunter2", strings.NewReader(`{"args":["hunter2"]}`))
		r.Host = "localhost"
		r.Header.Set("Authorization", "Bearer hunter2")
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got := strings.Count(out.String(), `"message":"request"`); got != want {
			t.Errorf("access log %t: got %d lines, want %d:\n%s", on, got, want, out.String())
		}
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("a secret is in the log: %s", out.String())
		}
	}
}

package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// names is a method that believes what a Bearer token says, if it is in the list.
type names map[string]httpapi.Grant

func (n names) Authenticate(r *http.Request) (*httpapi.Grant, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch g, known := n[token]; {
	case !ok:
		return nil, nil //nolint:nilnil // none of this kind
	case token == "undecided":
		return nil, errors.New("a secret reason")
	case !known:
		return nil, &httpapi.CredentialsError{Detail: "nobody has this name"}
	default:
		return &g, nil
	}
}

func (names) Scheme() string { return "Bearer" }

func as(name string) []string { return []string{"Authorization", "Bearer " + name} }

func folks() names {
	return names{
		"joe":  {AuthID: "joe", AuthRole: "user", Method: "test"},
		"ann":  {AuthID: "ann", AuthRole: "user", Method: "test", Realms: []wampcore.URI{"realm2"}},
		"root": {AuthID: "root", AuthRole: "admin", Method: "test", Realms: []wampcore.URI{httpapi.EveryRealm}},
	}
}

func known(cfg *httpapi.Config) { cfg.Auth.Methods = []httpapi.Method{folks()} }

func strict(cfg *httpapi.Config) {
	known(cfg)
	cfg.Auth.NoAnonymous = func(*http.Request) bool { return true }
}

func TestCalleeSeesThePrincipalOfTheRequest(t *testing.T) {
	f := newFace(t, known)
	f.register(t, "who", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		return wampcore.NewPayload(wampcore.JSON, []any{inv.Details.Caller, inv.Details.CallerAuthID, inv.Details.CallerAuthRole}, nil)
	})
	var caller string
	for range 2 {
		rec := f.do(t, http.MethodPost, "/v1/call/who", `{"options":{"disclose_me":true}}`, as("joe")...)
		if rec.Code != http.StatusOK || !strings.HasSuffix(rec.Body.String(), `,"joe","user"]}`) {
			t.Fatalf("got %d %s", rec.Code, rec.Body)
		}
		if caller != "" && caller != rec.Body.String() {
			t.Errorf("another session called: %s, %s", caller, rec.Body)
		}
		caller = rec.Body.String()
	}
	id := strings.TrimPrefix(strings.Split(caller, ",")[0], `{"args":[`)
	rec := f.do(t, http.MethodGet, "/v1/sessions/"+id, "")
	for _, want := range []string{`"authid":"joe"`, `"authrole":"user"`, `"authmethod":"test"`} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("wamp.session.get says %s, without %s", rec.Body, want)
		}
	}
}

func TestRealmsOfCredentials(t *testing.T) {
	f := newFace(t, known)
	for _, c := range []struct {
		name, path string
		want       int
	}{
		{"joe", "/v1/sessions", 200},
		{"joe", "/v1/realms/realm1/sessions", 200},
		{"joe", "/v1/realms/realm2/sessions", 403},
		{"joe", "/v1/realms/nowhere/sessions", 403}, // as if there were one
		{"ann", "/v1/sessions", 403},
		{"ann", "/v1/realms/realm2/sessions", 200},
		{"root", "/v1/realms/realm2/sessions", 200},
		{"root", "/v1/realms/nowhere/sessions", 404},
		{"root", "/v1/realms/no%20where/sessions", 400},
	} {
		if rec := f.do(t, http.MethodGet, c.path, "", as(c.name)...); rec.Code != c.want {
			t.Errorf("%s at %s: got %d %s, want %d", c.name, c.path, rec.Code, rec.Body, c.want)
		}
	}
	if n := f.handler.Stats().Refused["realm"]; n != 3 {
		t.Errorf("%d refusals are counted, want 3", n)
	}
}

func TestWrongCredentialsAreNeverAnonymous(t *testing.T) {
	f := newFace(t, known)
	for _, header := range [][]string{
		as("mallory"), {"Authorization", "Digest x"}, {"Authorization", ""}, {"X-Api-Key", "a.b"}, {"Authorization", "Bearer"},
	} {
		rec := f.do(t, http.MethodGet, "/v1/sessions", "", header...)
		if rec.Code != http.StatusUnauthorized || !strings.HasPrefix(rec.Header().Get("Www-Authenticate"), "Bearer realm=") {
			t.Errorf("%q: got %d %v", header, rec.Code, rec.Header())
		}
		if strings.Contains(rec.Body.String(), "mallory") {
			t.Errorf("the answer repeats the credentials: %s", rec.Body)
		}
	}
	rec := f.do(t, http.MethodGet, "/v1/sessions", "", as("mallory")...)
	if got := rec.Header().Get("Www-Authenticate"); !strings.Contains(got, `error="invalid_token"`) {
		t.Errorf("got %s", got)
	}
	if rec := f.do(t, http.MethodGet, "/v1/sessions", "", "Authorization", "Bearer joe", "X-Api-Key", "k"); rec.Code != http.StatusBadRequest {
		t.Errorf("two kinds of credentials: got %d, want 400", rec.Code)
	}
	rec = f.do(t, http.MethodGet, "/v1/sessions", "", as("undecided")...)
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" || strings.Contains(rec.Body.String(), "secret") {
		t.Errorf("got %d %v %s", rec.Code, rec.Header(), rec.Body)
	}
}

func TestRequestsWithoutCredentials(t *testing.T) {
	if rec := newFace(t, known).do(t, http.MethodGet, "/v1/sessions", ""); rec.Code != http.StatusOK {
		t.Errorf("got %d where anonymous is allowed", rec.Code)
	}
	f := newFace(t, strict)
	rec := f.do(t, http.MethodGet, "/v1/sessions", "")
	if got := rec.Header().Get("Www-Authenticate"); rec.Code != http.StatusUnauthorized || got != `Bearer realm="wampgate"` {
		t.Errorf("got %d, %s", rec.Code, got)
	}
	for _, path := range []string{"/livez", "/openapi.yaml"} {
		if rec := f.do(t, http.MethodGet, path, ""); rec.Code != http.StatusOK {
			t.Errorf("%s: got %d", path, rec.Code)
		}
	}
	if n := f.handler.Stats().Refused["anonymous"]; n != 1 {
		t.Errorf("%d refusals are counted, want 1", n)
	}
}

func TestCredentialsThatDoNotCountAreSaidTo(t *testing.T) {
	f := newFaceOver(t, router.RealmConfig{Name: "realm1", Roles: map[string]router.Role{"anonymous": {}}})
	const said = "credentials of requests do not count"
	rec := f.do(t, http.MethodPost, "/v1/call/p", "", as("joe")...)
	if rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), "may not call p; "+said) {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	if rec := f.do(t, http.MethodPost, "/v1/call/p", ""); rec.Code != http.StatusForbidden || strings.Contains(rec.Body.String(), said) {
		t.Errorf("without credentials got %d %s", rec.Code, rec.Body)
	}
}

func TestWhatAnonymousMayNotIsAskedForCredentials(t *testing.T) {
	f := newFace(t, known)
	f.register(t, "p", func(context.Context, *client.Invocation) (wampcore.Payload, error) {
		return wampcore.Payload{}, &wampcore.Error{URI: wampcore.ErrNotAuthorized}
	})
	rec := f.do(t, http.MethodPost, "/v1/call/p", "")
	if rec.Code != http.StatusUnauthorized || rec.Header().Get("Www-Authenticate") == "" {
		t.Errorf("anonymous got %d %v, want 401", rec.Code, rec.Header())
	}
	if !strings.Contains(rec.Body.String(), `"detail":"say who you are: send an Authorization header of the scheme Bearer"`) {
		t.Errorf("anonymous is not told what to do: %s", rec.Body)
	}
	if rec := f.do(t, http.MethodPost, "/v1/call/p", "", as("joe")...); rec.Code != http.StatusForbidden {
		t.Errorf("joe got %d, want 403", rec.Code)
	}
}

// lasting are names whose credentials expire soon after they were shown.
type lasting struct {
	names

	time time.Duration
}

func (l lasting) Authenticate(r *http.Request) (*httpapi.Grant, error) {
	g, err := l.names.Authenticate(r)
	if g != nil {
		g.Expires = time.Now().Add(l.time)
	}
	return g, err
}

func TestCredentialsThatExpireBeforeTheStreamBeginsAreRefused(t *testing.T) {
	f := newFace(t, func(cfg *httpapi.Config) { cfg.Auth.Methods = []httpapi.Method{lasting{folks(), time.Nanosecond}} })
	rec := f.do(t, http.MethodGet, "/v1/subscribe/com.t", "", "Authorization", "Bearer joe")
	if rec.Code != http.StatusUnauthorized || rec.Header().Get("WWW-Authenticate") == "" || !strings.Contains(rec.Body.String(), "have expired") {
		t.Errorf("got %d %v %s", rec.Code, rec.Header(), rec.Body)
	}
}

func TestWhatIsNoURIIsRefusedBeforeItIsCalled(t *testing.T) {
	f := newFace(t)
	for _, path := range []string{
		"a..b", "a%2E%2Eb", ".a", "a%00b", "%00", "a%0Ab", "a%20b", "a%C2%A0b", "a%E2%80%83b", "a%23b", "a%FFb", "%C3%28", "a%7Fb", "a%C2%85b",
	} {
		for _, route := range []string{"POST /v1/call/", "POST /v1/publish/", "GET /v1/subscribe/", "GET /v1/retained/", "GET /v1/history/"} {
			method, prefix, _ := strings.Cut(route, " ")
			rec := f.do(t, method, prefix+path, "")
			if rec.Code != http.StatusBadRequest || rec.Header().Get("Wamp-Error") != "wamp.error.invalid_uri" {
				t.Errorf("%s: got %d %s", route+path, rec.Code, rec.Body)
			}
		}
	}
	if rec := f.do(t, http.MethodGet, "/v1/subscribe?prefix=a..b", ""); rec.Code != http.StatusBadRequest {
		t.Errorf("got %d, want 400", rec.Code)
	}
	if n := f.handler.Stats().Refused["uri"]; n == 0 {
		t.Error(fmt.Sprint("refusals are not counted: ", n))
	}
}

func BenchmarkIdentify(b *testing.B) {
	f := newFace(b, known)
	header := http.Header{"Authorization": {"Bearer joe"}}
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "http://localhost/v1/sessions/x", nil)
		req.Header = header
		rec := httptest.NewRecorder()
		if f.handler.ServeHTTP(rec, req); rec.Code != http.StatusBadRequest {
			b.Fatal(rec.Code)
		}
	}
}

package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// byName lets everybody in by the name that is given.
type byName struct{}

func (byName) Authenticate(r *http.Request) (*httpapi.Grant, error) {
	if name := r.Header.Get("X-Name"); name != "" {
		return &httpapi.Grant{AuthID: name, AuthRole: "user", Method: "test"}, nil
	}
	return nil, nil //nolint:nilnil // it has none
}

func (byName) Scheme() string { return "" }

// newHookFace is a face with hooks.
func newHookFace(t *testing.T, change ...func(*bridge.HooksConfig)) *face {
	t.Helper()
	var f *face
	egress, err := bridge.NewEgress(bridge.EgressConfig{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	cfg := bridge.HooksConfig{
		Dial: func(_ context.Context, p bridge.Principal) (wampcore.Transport, error) {
			if p.AuthRole == "" {
				return f.router.Dial(), nil
			}
			return f.router.DialAs(router.Identity{AuthID: p.AuthID, AuthRole: p.AuthRole}), nil
		},
		Egress: egress, PerPrincipal: 2, Made: 3,
	}
	for _, f := range change {
		f(&cfg)
	}
	hooks := bridge.NewHooks(cfg)
	f = newFace(t, func(c *httpapi.Config) { c.Hooks, c.Auth = hooks, httpapi.Auth{Methods: []httpapi.Method{byName{}}} })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := hooks.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestHooksAreMadeShownReplacedAndDeleted(t *testing.T) {
	f := newHookFace(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
	defer srv.Close()
	spec := fmt.Sprintf(`{"procedure":"com.echo","url":"%s/x?token=hunter2","headers":{"Authorization":"hunter2"},"secrets":["whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="]}`, srv.URL)
	for _, want := range []int{http.StatusCreated, http.StatusOK} {
		if rec := f.do(t, http.MethodPut, "/v1/hooks/echo", spec); rec.Code != want || strings.Contains(rec.Body.String(), "hunter2") {
			t.Fatalf("got %d %s, want %d", rec.Code, rec.Body, want)
		}
		rec := f.do(t, http.MethodPost, "/v1/call/com.echo", `{"args":[9007199254740993]}`)
		if rec.Code != http.StatusOK || rec.Body.String() != `{"args":[9007199254740993]}` {
			t.Errorf("got %d %s", rec.Code, rec.Body)
		}
	}
	var shown bridge.HookStatus
	f.get(t, "/v1/realms/realm1/hooks/echo", &shown)
	if shown.State != bridge.HookReady || shown.URL != srv.URL+"/x" || shown.Counts.Answered != 1 || shown.Procedure != "com.echo" {
		t.Errorf("got %+v", shown)
	}
	var all struct{ Hooks []bridge.HookStatus }
	if f.get(t, "/v1/hooks", &all); len(all.Hooks) != 1 || all.Hooks[0].Name != "echo" {
		t.Errorf("got %+v", all)
	}
	if rec := f.do(t, http.MethodDelete, "/v1/hooks/echo", ""); rec.Code != http.StatusNoContent {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	for path, method := range map[string]string{"/v1/hooks/echo": http.MethodDelete, "/v1/call/com.echo": http.MethodPost} {
		if rec := f.do(t, method, path, ""); rec.Code != http.StatusNotFound {
			t.Errorf("%s: got %d %s", path, rec.Code, rec.Body)
		}
	}
}

func TestHookOfAnotherPrincipalIsNotThere(t *testing.T) {
	f := newHookFace(t)
	put := func(name, who, procedure string) int {
		return f.do(t, http.MethodPut, "/v1/hooks/"+name, `{"procedure":"`+procedure+`","url":"http://127.0.0.1:1"}`, "X-Name", who).Code
	}
	if got := put("h", "ann", "com.a"); got != http.StatusCreated {
		t.Fatal(got)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if rec := f.do(t, method, "/v1/hooks/h", "", "X-Name", "bob"); rec.Code != http.StatusNotFound {
			t.Errorf("%s: got %d %s", method, rec.Code, rec.Body)
		}
	}
	for _, c := range []struct {
		name, who, procedure string
		want                 int
	}{
		{"h", "bob", "com.a", 409},  // the procedure is ann's
		{"h", "bob", "com.b", 201},  // the name is everybody's own
		{"h", "bob", "com.a", 409},  // a hook that cannot be replaced
		{"i", "bob", "com.c", 201},  // ...
		{"j", "bob", "com.d", 409},  // 2 of one principal
		{"i", "ann", "com.e", 409},  // 3 in all
		{"h", "ann", "com.a2", 200}, // to replace one is no more
	} {
		if got := put(c.name, c.who, c.procedure); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
	var shown bridge.HookStatus // is there as it was
	rec := f.do(t, http.MethodGet, "/v1/hooks/h", "", "X-Name", "bob")
	if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `"procedure":"com.b"`) {
		t.Errorf("got %d %s %v", rec.Code, rec.Body, shown)
	}
}

func TestHooksEndWithTheirMaker(t *testing.T) {
	key := func(id, role string) httpapi.APIKey {
		return httpapi.APIKey{ID: id, Hash: httpapi.HashAPIKey(id + ".secret"), AuthRole: role}
	}
	methods := func(keys ...httpapi.APIKey) httpapi.Auth {
		m, err := httpapi.NewAPIKeys(keys...)
		if err != nil {
			t.Fatal(err)
		}
		return httpapi.Auth{Methods: []httpapi.Method{m}}
	}
	f := newHookFace(t)
	f.handler.Reconfigure(methods(key("ann", "user"), key("bob", "user"), key("sue", "user")), httpapi.Limits{})
	put := func(who string) int {
		return f.do(t, http.MethodPut, "/v1/hooks/h", `{"procedure":"com.`+who+`","url":"http://127.0.0.1:1"}`, "X-Api-Key", who+".secret").Code
	}
	for _, who := range []string{"ann", "bob", "sue"} {
		if got := put(who); got != http.StatusCreated {
			t.Fatal(got)
		}
	}
	f.handler.Reconfigure(methods(key("ann", "user"), key("sue", "other")), httpapi.Limits{}) // bob is gone, sue is somebody else
	session := f.join(t)
	for procedure, want := range map[string]bool{"com.ann": true, "com.bob": false, "com.sue": false} {
		id, err := client.Call[*wampcore.ID](t.Context(), session, "wamp.registration.lookup", procedure)
		if err != nil || (id != nil) != want {
			t.Errorf("%s: got %v, %v", procedure, id, err)
		}
	}
	if got := put("sue"); got != http.StatusCreated { // there is room for her again
		t.Errorf("got %d", got)
	}
}

func TestMethodsKnowWhomTheyLetIn(t *testing.T) {
	realm := []wampcore.URI{"realm1"}
	keys, err1 := httpapi.NewAPIKeys(httpapi.APIKey{ID: "k", Hash: httpapi.HashAPIKey("k.s"), AuthID: "joe", AuthRole: "user", Realms: realm})
	basic, err2 := httpapi.NewBasic(httpapi.BasicUser{Name: "joe", Password: "secret", AuthRole: "user", Realms: realm})
	sidecar, err3 := httpapi.NewSidecar("a-token-of-the-sidecar", "joe", "user", realm...)
	certificates, err4 := httpapi.NewCertificates(httpapi.CertificateRule{DNS: "joe", AuthRole: "user", Realms: realm})
	cfg := httpapi.JWTConfig{
		Issuer: issuerURL, Audiences: []string{audience}, AuthRoleClaim: "role", AuthRoles: map[string]string{"u": "user"}, Keys: jwks(t, pairs()...),
		Realms: realm,
	}
	token, err5 := httpapi.NewJWT(cfg)
	cfg.RealmClaim = "realm"
	anywhere, err6 := httpapi.NewJWT(cfg)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		t.Fatal(err)
	}
	for i, m := range []struct {
		httpapi.Recognizer

		method, provider string
		anyRealm         bool
	}{
		{keys, "apikey", "", false},
		{basic, "basic", "", false},
		{sidecar, "sidecar", "", false},
		{certificates, "tls", "a CA", false},
		{token, "jwt", issuerURL, false},
		{anywhere, "jwt", issuerURL, true},
	} {
		joe := bridge.Principal{Realm: "realm1", AuthID: "joe", AuthRole: "user", Method: m.method, Provider: m.provider}
		other, elsewhere, promoted := joe, joe, joe
		other.Method, elsewhere.Realm, promoted.AuthRole = "other", "realm2", "admin"
		if !m.Recognizes(joe, "realm2") || m.Recognizes(other, "realm2") || m.Recognizes(promoted, "realm2") || m.Recognizes(elsewhere, "realm2") != m.anyRealm {
			t.Errorf("%d, %s: it does not know whom it lets in", i, m.method)
		}
	}
}

func TestHooksThatMayNotBeAreRefusedWithTheReason(t *testing.T) {
	f := newHookFace(t)
	const local = `"url":"http://127.0.0.1:1"`
	for body, want := range map[string]string{
		``: "object", `[]`: "object", `{`: "JSON", `{` + local + `}`: "neither a procedure", `{"procedure":"p","topic":"t",` + local + `}`: "two hooks",
		`{"procedure":"p","procedure":"q",` + local + `}`: "twice", `{"procedure":"p","x":1,` + local + `}`: `unknown field`,
		`{"procedure":"a b",` + local + `}`: "no URI", `{"topic":"t","match":"x",` + local + `}`: "match",
		`{"procedure":"p","url":"http://example.com"}`: "WAMPGATE_HOOK_HOSTS", `{"procedure":"p","url":"http://169.254.169.254/"}`: "may not reach",
		`{"procedure":"p","url":"http://u:p@localhost"}`: "password", `{"procedure":"p","health":"http://example.com/",` + local + `}`: "health",
		`{"procedure":"p","format":"wamp",` + local + `}`: "not for a hook of a procedure", `{"topic":"t","idempotent":true,` + local + `}`: "not for a hook of a topic",
		`{"topic":"t","format":"xml",` + local + `}`: "format", `{"topic":"t.","match":"prefix","dead_letter":"t.dead",` + local + `}`: "own dead letters",
		`{"topic":"a..c","match":"wildcard","dead_letter":"a.b.c",` + local + `}`: "own dead letters",
		`{"procedure":"p","secrets":["hunter2"],` + local + `}`:                   "secret", `{"procedure":"p","headers":{"wamp-procedure":"x"},` + local + `}`: "gateway's to set",
		`{"procedure":"p","headers":{"X":"a\r\nEvil: 1"},` + local + `}`: "cannot be a header's", `{"procedure":"p","headers":{"X Y":"a"},` + local + `}`: "cannot be a header's",
		`{"procedure":"p","concurrency":5000,` + local + `}`: "concurrency", `{"procedure":"p","timeout":"1h",` + local + `}`: "timeout",
		`{"procedure":"p","timeout":5,` + local + `}`: "Duration", `{"procedure":"wamp.x",` + local + `}`: "",
	} {
		rec := f.do(t, http.MethodPut, "/v1/hooks/h", body)
		if rec.Code != http.StatusBadRequest && want != "" || rec.Code < 400 || !strings.Contains(rec.Body.String(), want) || strings.Contains(rec.Body.String(), "hunter2") {
			t.Errorf("%s: got %d %s, want %q", body, rec.Code, rec.Body, want)
		}
	}
	for path, want := range map[string]int{"/v1/hooks/a%20b": 400, "/v1/hooks/" + strings.Repeat("a", 65): 400, "/v1/realms/nowhere/hooks/h": 404} {
		if rec := f.do(t, http.MethodPut, path, `{"procedure":"p",`+local+`}`); rec.Code != want {
			t.Errorf("%s: got %d %s, want %d", path, rec.Code, rec.Body, want)
		}
	}
	if rec := f.do(t, http.MethodPut, "/v1/hooks/h", "x", "Content-Type", "text/plain"); rec.Code != http.StatusUnsupportedMediaType {
		t.Errorf("got %d", rec.Code)
	}
	if rec := f.do(t, http.MethodPost, "/v1/hooks/h", ""); rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "GET, HEAD, PUT, DELETE" {
		t.Errorf("got %d %v", rec.Code, rec.Header())
	}
	anonymous := newHookFace(t, func(c *bridge.HooksConfig) { c.NoAnonymous = true })
	if rec := anonymous.do(t, http.MethodPut, "/v1/hooks/h", `{"procedure":"p",`+local+`}`); rec.Code != http.StatusForbidden {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

package httpapi_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// witness allows what it is asked about, and remembers it.
type witness struct{ asked []wampcore.URI }

func (w *witness) Authorize(_ context.Context, q *router.Question) (router.Decision, error) {
	w.asked = append(w.asked, q.URI)
	return router.Decision{Allow: true}, nil
}

// FuzzURIThatIsAuthorizedIsTheOneThatIsCalled sends paths of all kinds to a realm with a procedure for every URI. What the rules of the realm
// are asked about, what the callee is called for, and what stands in the path, decoded once, is one string; or nothing is called.
func FuzzURIThatIsAuthorizedIsTheOneThatIsCalled(f *testing.F) {
	for _, path := range []string{
		"com.example.add", "com%2Eexample%2Eadd", "com.example%2Fadd", "com%252Fexample", "..", "%2e%2e", "a/../b", "a//b", "a%2F..%2Fb",
		"a%00b", "a%20b", "a%C2%A0b", "a%E2%80%83b", "a%FFb", "%C0%AE%C0%AE", "a+b", "a;b", "a?b", "a%3Fb", "a%23b", "\u00fc.\u4e16", "%ZZ", "a%", "a*b", "{x}", "A.b",
	} {
		f.Add(path)
	}
	rules := &witness{}
	r, err := router.New(router.Config{Realms: []router.RealmConfig{{Name: "realm1", Roles: map[string]router.Role{
		"callee": {Permissions: []router.Permission{{Match: wampcore.MatchPrefix, Allow: router.AllActions}}}, "anonymous": {Authorizer: rules},
	}}}})
	if err != nil {
		f.Fatal(err)
	}
	b := bridge.New(bridge.Config{Dial: func(context.Context, bridge.Principal) (wampcore.Transport, error) { return r.Dial(), nil }})
	face, err := httpapi.New(httpapi.Config{Bridge: b, Realm: "realm1", Limits: httpapi.Limits{Default: httpapi.Limit{Rate: -1}}})
	if err != nil {
		f.Fatal(err)
	}
	callee, err := client.Join(f.Context(), r.DialAs(router.Identity{AuthRole: "callee"}), client.Config{Realm: "realm1"})
	if err != nil {
		f.Fatal(err)
	}
	var called []wampcore.URI
	_, err = callee.Register(f.Context(), "", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		called = append(called, inv.Details.Procedure)
		return wampcore.Payload{}, nil
	}, wampcore.RegisterOptions{Match: wampcore.MatchPrefix})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, _, _ = b.Close(ctx), callee.Close(ctx), r.Shutdown(ctx)
	})
	f.Fuzz(func(t *testing.T, path string) {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader("POST /v1/call/" + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")))
		if err != nil || strings.ContainsAny(path, "\r\n ") || strings.Contains(path, "://") {
			return // net/http refuses it, or it is another request
		}
		req.RemoteAddr = "127.0.0.1:1"
		rules.asked, called = nil, nil
		rec := httptest.NewRecorder()
		face.ServeHTTP(rec, req.WithContext(t.Context()))
		raw, _, _ := strings.Cut(path, "?")
		want, err := url.PathUnescape(raw)
		if wampcore.URI(want).Reserved() {
			return // the router answers itself
		}
		for _, uri := range called {
			if err != nil || string(uri) != want || len(rules.asked) != 1 || rules.asked[0] != uri || !uri.Valid(false) || strings.Contains(raw, "/") {
				t.Errorf("%q: %q was called, %q was authorized, the path says %q (%v)", path, uri, rules.asked, want, err)
			}
		}
		if len(called) != len(rules.asked) || (rec.Code == http.StatusOK) != (len(called) == 1) {
			t.Errorf("%q: %d, called %q, authorized %q", path, rec.Code, called, rules.asked)
		}
	})
}

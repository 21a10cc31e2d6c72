package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// served returns the handler of a gateway that has no listeners.
func served(tb testing.TB, g *gateway) *httpapi.Handler {
	tb.Helper()
	handler, err := httpapi.New(g.api())
	if err != nil {
		tb.Fatal(err)
	}
	g.face.Store(handler)
	return handler
}

// guests counts the sessions of a role.
func guests(tb testing.TB, g *gateway, role string) int {
	tb.Helper()
	s, err := client.Join(tb.Context(), g.router.DialAs(router.Identity{AuthRole: "user"}), client.Config{Realm: "realm1"})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = s.Close(context.Background()) }()
	n, err := client.Call[int](tb.Context(), s, "wamp.session.count", []string{role})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func TestNothingIsLeftOfAPrincipalThatAReloadTakesAwayWhateverItDoesMeanwhile(t *testing.T) {
	principal := func(name, role string) string {
		return fmt.Sprintf("{role: %s, api_keys: {%s: {hash: %s}}}", role, name, httpapi.HashAPIKey(name+".secret"))
	}
	both := `
realms:
  realm1:
    authentication: {ticket: }
    principals:
      ann: ` + principal("ann", "user") + `
      bob: ` + principal("bob", "guest") + `
    roles:
      user: {permissions: [{uri: "", match: prefix, allow: [call, register, subscribe]}]}
      guest: {permissions: [{uri: "", match: prefix, allow: [call, register, subscribe]}]}
hooks:
  fixed: {procedure: com.fixed, url: "http://127.0.0.1:1", role: user}
`
	alone := strings.Replace(both, "      bob: "+principal("bob", "guest")+"\n", "", 1)
	less := strings.Replace(both, "user: {permissions: [{uri: \"\", match: prefix, allow: [call, register", "user: {permissions: [{uri: \"\", match: prefix, allow: [call", 1)
	g, file, log := running(t, both)
	handler := served(t, g)
	stop := make(chan struct{})
	var load sync.WaitGroup
	for _, who := range []string{"ann", "bob"} {
		for _, what := range []string{"PUT /v1/hooks/h", "PUT /v1/hooks/fixed", "DELETE /v1/hooks/h", "GET /v1/register/com.stream", "GET /v1/subscribe/com.t", "POST /v1/ticket"} {
			load.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						demand(t, handler, who, what)
					}
				}
			})
		}
	}
	for i := range 30 {
		rewrite(t, file, []string{alone, both, less}[i%3])
		g.reload()
	}
	rewrite(t, file, alone)
	g.reload()
	if hooks := g.hooks.List(bridge.Principal{Realm: "realm1", AuthID: "bob", AuthRole: "guest", Method: "apikey"}); len(hooks) > 0 {
		t.Errorf("of bob there is %+v", hooks)
	}
	close(stop)
	load.Wait()
	for deadline := time.Now().Add(30 * time.Second); guests(t, g, "guest") > 0; { // some seconds for streams of invocations to come back
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions of bob are left", guests(t, g, "guest"))
		}
	}
	s, err := client.Join(t.Context(), g.router.DialAs(router.Identity{AuthRole: "user"}), client.Config{Realm: "realm1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(context.Background()) }()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if id, err := client.Call[*wampcore.ID](t.Context(), s, "wamp.registration.lookup", "com.fixed"); err == nil && id != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the hook of the configuration has not come back")
		}
	}
	if strings.Contains(log.String(), "panic") {
		t.Errorf("got %s", log)
	}
}

// demand does what a principal wants, for a moment.
func demand(tb testing.TB, handler http.Handler, who, what string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 50*time.Millisecond)
	defer cancel()
	method, path, _ := strings.Cut(what, " ")
	body := ""
	if method == http.MethodPut {
		ctx = tb.Context()
		body = `{"procedure":"com.` + who + `","url":"http://127.0.0.1:1"}`
	}
	req := httptest.NewRequestWithContext(ctx, method, "http://localhost"+path, strings.NewReader(body))
	req.Header.Set("X-Api-Key", who+".secret")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "*/*")
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, req)
	if rec.Code == http.StatusInternalServerError {
		tb.Errorf("%s %s: got %s", who, what, rec.Body)
	}
}

package router_test

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

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/client"
)

// endpoint is an Endpoint that answers, and what it was last sent.
func endpoint(tb testing.TB, answer func(w http.ResponseWriter, body string)) router.Endpoint {
	tb.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Key") != "k" {
			tb.Errorf("got %s %v", r.Method, r.Header)
		}
		answer(w, string(body))
	}))
	tb.Cleanup(srv.Close)
	return router.Endpoint{URL: srv.URL + "/auth", Header: http.Header{"X-Key": {"k"}}}
}

func says(text string) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, _ string) { fmt.Fprintln(w, text) }
}

func joinBy(tb testing.TB, cfg router.RealmConfig, as client.Config) (*client.Session, error) {
	tb.Helper()
	cfg.Name, as.Realm = "realm1", "realm1"
	r, err := router.New(router.Config{Realms: []router.RealmConfig{cfg}, AuthorizeTimeout: 5 * time.Second})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Shutdown(context.Background()) })
	return client.Join(tb.Context(), r.Dial(), as)
}

func TestAnEndpointSaysWhoMayLogIn(t *testing.T) {
	asked := make(chan string, 1)
	ticket := endpoint(t, func(w http.ResponseWriter, body string) {
		asked <- body
		fmt.Fprint(w, `{"role":"backend","authid":"joe@example.com","extra":{"n":1}}`)
	})
	s, err := joinBy(t, router.RealmConfig{Authenticators: map[string]router.Authenticator{
		"ticket": router.Ticket{Verifiers: []router.TicketVerifier{router.DynamicPrincipals{Asker: ticket}}},
	}}, client.Config{AuthID: "joe", Auth: []auth.Method{auth.Ticket("open sesame")}})
	if err != nil {
		t.Fatal(err)
	}
	if d := s.Welcome().Details; d.AuthID != "joe@example.com" || d.AuthRole != "backend" || d.AuthProvider != "dynamic" {
		t.Errorf("got %+v", d)
	}
	if body := <-asked; !strings.HasPrefix(body, `{"args":["realm1","joe",{`) || !strings.Contains(body, `"ticket":"open sesame"`) {
		t.Errorf("got %s", body)
	}
	cra := endpoint(t, says(`{"role":"backend","secret":"open sesame"}`))
	if _, err := joinBy(t, router.RealmConfig{Authenticators: map[string]router.Authenticator{
		"wampcra": router.WAMPCRA{Principals: router.DynamicPrincipals{Asker: cra}},
	}}, client.Config{AuthID: "joe", Auth: []auth.Method{auth.CRA("open sesame")}}); err != nil {
		t.Error(err)
	}
}

func TestAnEndpointThatFailsLetsNobodyIn(t *testing.T) {
	hang := make(chan struct{})
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, string)
		want   wampcore.URI
	}{
		"nobody":  {func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusNotFound) }, wampcore.ErrAuthenticationDenied},
		"null":    {says("null"), wampcore.ErrAuthenticationDenied},
		"broken":  {says(`{"role":`), wampcore.ErrAuthenticationFailed},
		"no role": {says(`{}`), wampcore.ErrAuthenticationFailed},
		"a redirect": {func(w http.ResponseWriter, _ string) {
			w.Header().Set("Location", "/x")
			w.WriteHeader(http.StatusFound)
		}, wampcore.ErrAuthenticationFailed},
		"an error": {func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusInternalServerError) }, wampcore.ErrAuthenticationFailed},
		"huge":     {func(w http.ResponseWriter, _ string) { fmt.Fprint(w, `"`+strings.Repeat("x", 1<<20)+`"`) }, wampcore.ErrAuthenticationFailed},
		"late":     {func(http.ResponseWriter, string) { <-hang }, wampcore.ErrAuthenticationFailed},
	} {
		t.Run(name, func(t *testing.T) {
			asker := endpoint(t, c.answer)
			if name == "late" {
				t.Cleanup(func() { close(hang) })
			}
			asker.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			_, err := joinBy(t, router.RealmConfig{Authenticators: map[string]router.Authenticator{
				"ticket": router.Ticket{Verifiers: []router.TicketVerifier{router.DynamicPrincipals{Asker: asker, Timeout: 200 * time.Millisecond}}},
			}}, client.Config{AuthID: "joe", Auth: []auth.Method{auth.Ticket("open sesame")}})
			if !errors.Is(err, &wampcore.Error{URI: c.want}) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAnEndpointSaysWhatIsAllowed(t *testing.T) {
	asked := 0
	asker := endpoint(t, func(w http.ResponseWriter, body string) {
		asked++
		switch {
		case strings.Contains(body, `"wamp.session.count","call"`):
			fmt.Fprint(w, `{"allow":true,"cache":true}`)
		case strings.Contains(body, `"wamp.session.list"`):
			fmt.Fprint(w, `false`)
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	s, err := joinBy(t, router.RealmConfig{Roles: map[string]router.Role{"anonymous": {Authorizer: router.DynamicAuthorizer{Asker: asker}}}}, client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for procedure, want := range map[wampcore.URI]error{
		"wamp.session.count": nil,
		"wamp.session.list":  &wampcore.Error{URI: wampcore.ErrNotAuthorized},
		"wamp.session.get":   &wampcore.Error{URI: wampcore.ErrAuthorizationFailed},
	} {
		for range 2 {
			if _, err := s.Call(t.Context(), procedure, wampcore.Payload{}, wampcore.CallOptions{}); !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", procedure, err, want)
			}
		}
	}
	if asked != 5 {
		t.Errorf("it was asked %d times: answers that are to be remembered were not", asked)
	}
}

// verifier takes every ticket, and holds what it is told to.
type verifier struct{ holds bool }

func (verifier) VerifyTicket(context.Context, *router.Login, string) (router.Identity, error) {
	return router.Identity{AuthID: "joe", AuthRole: "backend", Provider: "issuer"}, nil
}

func (v verifier) Holds(_ context.Context, who router.SessionDetails) (bool, error) {
	return v.holds && who.Provider == "issuer", nil
}

func TestALoginByTokenHoldsWhileItsIssuerIsBelieved(t *testing.T) {
	realm := func(verifiers ...router.TicketVerifier) router.RealmConfig {
		return router.RealmConfig{Name: "realm1", Authenticators: map[string]router.Authenticator{
			"ticket": router.Ticket{Principals: people{}, Verifiers: verifiers},
		}}
	}
	for name, c := range map[string]struct {
		then []router.TicketVerifier
		want bool
	}{
		"believed":         {[]router.TicketVerifier{verifier{true}}, true},
		"not any more":     {[]router.TicketVerifier{verifier{false}}, false},
		"no issuer":        {nil, false},
		"another is asked": {[]router.TicketVerifier{router.DynamicPrincipals{}}, false},
	} {
		r, err := router.New(router.Config{Realms: []router.RealmConfig{realm(verifier{true})}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := client.Join(t.Context(), r.Dial(), client.Config{Realm: "realm1", Auth: []auth.Method{auth.Ticket("x")}})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Reconfigure([]router.RealmConfig{realm(c.then...)}); err != nil {
			t.Fatal(err)
		}
		_, err = s.Call(t.Context(), "wamp.session.count", wampcore.Payload{}, wampcore.CallOptions{})
		if (err == nil) != c.want {
			t.Errorf("%s: got %v", name, err)
		}
		_ = r.Shutdown(context.Background())
	}
}

package bridge_test

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

func TestServiceSaysWhichHooksItWantsAndIsAskedAgain(t *testing.T) {
	var mu sync.Mutex
	document, etag := "", ""
	set := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		document, etag = text, `"`+text+`"`
	}
	asked, events := make(chan string, 10_000), make(chan received, 100)
	h := newHooked(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/.well-known/wamp" {
			asked <- r.Header.Get("If-None-Match")
			switch {
			case document == "":
				w.WriteHeader(http.StatusServiceUnavailable)
			case r.Header.Get("If-None-Match") == etag:
				w.WriteHeader(http.StatusNotModified)
			default:
				w.Header().Set("ETag", etag)
				_, _ = io.WriteString(w, document)
			}
			return
		}
		if r.URL.Path == "/t" {
			body, _ := io.ReadAll(r.Body)
			if document == "" {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			events <- received{r.Header, string(body)}
		}
		text(http.StatusOK, jsonKind, `{"args":["`+r.URL.Path+`"]}`)(w, r)
	})
	err := h.hooks.Discover(bridge.Discovery{URL: h.url, Principal: anybody, Interval: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s := h.join(t)
	becomes := func(want string) {
		t.Helper()
		deadline := time.Now().Add(patience)
		got := ""
		for got != want && time.Now().Before(deadline) {
			got = ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{})
		}
		if got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	const both = `{"hooks":{"p":{"procedure":"com.p","url":"/two"},"t":{"topic":"com.t","url":"/t"}}}`
	const missing = `wamp.error.no_such_procedure {"args":["no callee is registered for com.p"]}`
	becomes(missing)
	set(`{"hooks":{"p":{"procedure":"com.p","url":"/one"},"bad":{"url":"http://elsewhere.example/","procedure":"com.q"},"worse":{"role":"x"}}}`)
	becomes(`{"args":["/one"]}`)
	if all := h.hooks.List(anybody); len(all) != 1 || all[0].Origin != bridge.MadeByDiscovery {
		t.Errorf("got %+v", all)
	}
	if err := h.hooks.Delete(t.Context(), anybody, "p"); err != bridge.ErrHookConfigured { //nolint:errorlint // it is returned as it is
		t.Errorf("got %v", err)
	}
	set(`{"hooks":{"p":{"procedure":"com.p","url":"/two"}}}`)
	becomes(`{"args":["/two"]}`)
	set(both)
	deadline := time.Now().Add(patience)
	for s, err := h.hooks.Status(anybody, "t"); (err != nil || s.State != bridge.HookReady) && time.Now().Before(deadline); {
		s, err = h.hooks.Status(anybody, "t")
	}
	set("")
	becomes(missing)
	h.publishN(s, "com.t", 0, 3)
	set(both)
	becomes(`{"args":["/two"]}`)
	for i := range 3 { // events wait for the service
		if n := arg(t, receive(t, events).body); n != i {
			t.Errorf("got %d, want %d", n, i)
		}
	}
	set(`{"hooks":{}}`)
	becomes(missing)
	seen := map[string]bool{}
	for len(asked) > 0 {
		seen[<-asked] = true
	}
	if len(seen) < 3 {
		t.Errorf("it is asked for what it has said: %v", seen)
	}
	for _, url := range []string{"http://example.com", "x"} {
		if err := h.hooks.Discover(bridge.Discovery{URL: url}); err == nil {
			t.Errorf("%s is asked", url)
		}
	}
}

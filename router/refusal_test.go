package router_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// lines are of a log.
type lines struct {
	mu  sync.Mutex
	all [][]byte
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, bytes.Clone(line))
	return len(line), nil
}

// of returns the lines with a message.
func (l *lines) of(tb testing.TB, message string) []map[string]any {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	for _, line := range l.all {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			tb.Fatal(err)
		}
		if fields["message"] == message {
			found = append(found, fields)
		}
	}
	return found
}

func TestOperatorsAreToldWhoIsNotLetIn(t *testing.T) {
	var log lines
	r, err := router.New(router.Config{Log: zerolog.New(&log), Realms: []router.RealmConfig{{Name: realm1, Authenticators: map[string]router.Authenticator{
		"ticket": router.Ticket{Principals: people{"joe": {AuthRole: "backend", Ticket: "the-right-one"}}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Shutdown(context.Background()) })
	roles := wampcore.NewRoles(wampcore.RoleCaller)
	long := strings.Repeat("x", 1<<20)
	for _, hello := range []*wampcore.Hello{
		{Realm: realm1, Details: wampcore.HelloDetails{Roles: roles, AuthID: "joe", AuthMethods: []string{"ticket"}}},
		{Realm: realm1, Details: wampcore.HelloDetails{Roles: roles, AuthID: long, AuthMethods: []string{"scram"}}},
		{Realm: "com.nowhere", Details: wampcore.HelloDetails{Roles: roles}},
		{Realm: realm1},
	} {
		near, far := wampcore.Pipe()
		go func() { _ = r.Attach(far, router.Peer{Transport: "test", Address: "192.0.2.1:7"}) }()
		p := wamptest.New(t, near)
		p.Send(hello)
		if hello.Details.AuthID == "joe" {
			wamptest.Expect[*wampcore.Challenge](p)
			p.Send(&wampcore.Authenticate{Signature: "the-wrong-one"})
		}
		wamptest.Expect[*wampcore.Abort](p)
		p.Close()
	}
	got := log.of(t, "session refused")
	if len(got) != 4 {
		t.Fatalf("got %d lines, want one for each of four: %v", len(got), got)
	}
	for i, want := range []map[string]any{
		{"realm": "realm1", "authid": "joe", "error": "wamp.error.authentication_denied: the name or the secret is wrong"},
		{"error": "wamp.error.no_matching_auth_method: the realm offers none of these authentication methods"},
		{"realm": "com.nowhere", "error": "wamp.error.no_such_realm: no such realm"},
		{},
	} {
		want["peer"] = "192.0.2.1:7"
		for name, v := range want {
			if got[i][name] != v {
				t.Errorf("line %d: %s is %v, want %v", i, name, got[i][name], v)
			}
		}
	}
	if name, _ := got[1]["authid"].(string); len(name) > 300 {
		t.Errorf("the log has %d characters of a name", len(name))
	}
}

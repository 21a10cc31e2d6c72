package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/client"
)

// allowed is the matrix: what each of the permissions below, which are those of a role of the same name, allows with a URI, or a pattern.
// It is held through WAMP and through HTTP.
var allowed = []struct { //nolint:gochecknoglobals // a constant
	role, uri string
	match     string
	want      bool
}{
	{"exact", "com.example.a", "exact", true},
	{"exact", "com.example.a.b", "exact", false},
	{"exact", "com.example.ab", "exact", false},
	{"exact", "com.example.a", "prefix", false},
	{"exact", "com.example.", "prefix", false},

	{"prefix", "com.example.a", "exact", true},
	{"prefix", "com.example.a.b", "exact", true},
	{"prefix", "com.examples", "exact", false},
	{"prefix", "com.example.a", "prefix", true},
	{"prefix", "com.example.", "prefix", true},
	{"prefix", "com.", "prefix", false},
	{"prefix", "com.example..b", "wildcard", true},
	{"prefix", "com..a", "wildcard", false},

	{"wildcard", "com.x.a", "exact", true},
	{"wildcard", "com.x.b", "exact", false},
	{"wildcard", "com.x.a.b", "exact", false},
	{"wildcard", "com..a", "wildcard", true},
	{"wildcard", "com..", "wildcard", false},
	{"wildcard", "com.x.", "prefix", false},

	// The most specific one decides alone.
	{"hole", "com.example.a", "exact", true},
	{"hole", "com.example.secret.a", "exact", false},
	{"hole", "com.example.secret.open", "exact", true},
	{"hole", "com.example.", "prefix", false},
	{"hole", "com.example.a.", "prefix", true},

	{"nothing", "com.example.a", "exact", false},
}

var roles = map[string]string{ //nolint:gochecknoglobals // a constant
	"exact":    "[{uri: com.example.a, allow: [ACTION]}]",
	"prefix":   "[{uri: com.example., match: prefix, allow: [ACTION]}]",
	"wildcard": "[{uri: com..a, match: wildcard, allow: [ACTION]}]",
	"hole": "[{uri: com.example., match: prefix, allow: [ACTION]}, {uri: com.example.secret., match: prefix, allow: []}, " +
		"{uri: com.example.secret.open, allow: [ACTION]}]",
	"nothing": "[]",
}

// matrix is a configuration where every role may do one action by its permissions, and its keys.
func matrix(tb testing.TB, action string) (text string, keys map[string]string) {
	tb.Helper()
	var principals, all strings.Builder
	keys = map[string]string{}
	for role, permissions := range roles {
		out, err := exec.Command(binary, "keygen", "api-key", role).Output()
		if err != nil {
			tb.Fatal(err)
		}
		lines := strings.Split(string(out), "\n")
		keys[role] = lines[2][strings.LastIndex(lines[2], " ")+1:]
		fmt.Fprintf(&principals, "      %s:\n        role: %s\n        ticket: %q\n        api_keys:\n        %s\n", role, role, role, lines[1])
		fmt.Fprintf(&all, "      %s: {permissions: %s}\n", role, strings.ReplaceAll(permissions, "ACTION", action))
	}
	return "realms:\n  realm1:\n    authentication: {ticket: }\n    principals:\n" + principals.String() + "    roles:\n" + all.String(), keys
}

// byWAMP does an action, and returns its error.
func byWAMP(ctx context.Context, s *client.Session, action, uri, match string) error {
	m := map[string]wampcore.Match{"prefix": wampcore.MatchPrefix, "wildcard": wampcore.MatchWildcard}[match]
	var err error
	switch action {
	case "call":
		_, err = s.Call(ctx, wampcore.URI(uri), wampcore.Payload{}, wampcore.CallOptions{})
	case "publish":
		_, err = s.Publish(ctx, wampcore.URI(uri), wampcore.Payload{}, wampcore.PublishOptions{Acknowledge: true})
	case "register":
		var r *client.Registration
		if r, err = s.Register(ctx, wampcore.URI(uri), nothing, wampcore.RegisterOptions{Match: m}); err == nil {
			err = r.Unregister(ctx)
		}
	case "subscribe":
		var sub *client.Subscription
		if sub, err = s.Subscribe(ctx, wampcore.URI(uri), func(context.Context, *wampcore.Event) {}, wampcore.SubscribeOptions{Match: m}); err == nil {
			err = sub.Unsubscribe(ctx)
		}
	}
	return err
}

func nothing(context.Context, *client.Invocation) (wampcore.Payload, error) {
	return wampcore.Payload{}, nil
}

// byHTTP does the same by HTTP, and returns the status, and the WAMP error if there is one.
func byHTTP(tb testing.TB, base, key, action, uri, match string) string {
	tb.Helper()
	to := map[string]string{
		"call": "/v1/call/" + uri, "publish": "/v1/publish/" + uri, "register": "/v1/register/" + uri + "?match=" + match,
		"subscribe": "/v1/subscribe?" + map[string]string{"exact": "topic", "prefix": "prefix", "wildcard": "wildcard"}[match] + "=" + url.QueryEscape(uri),
	}[action]
	args := []string{base + to, "-H", "X-Api-Key: " + key, "-m", "2"}
	if action == "call" || action == "publish" {
		args = append(args, "-X", "POST")
	}
	out, _ := exec.Command(need(tb, "curl"), append([]string{"-sS", "-o", "/dev/null", "-w", "%{http_code} %header{wamp-error}"}, args...)...).Output()
	return strings.TrimSpace(string(out))
}

func TestPermissionsAreTheSameThroughWAMPAndHTTP(t *testing.T) {
	for _, action := range []string{"call", "register", "publish", "subscribe"} {
		t.Run(action, func(t *testing.T) {
			text, keys := matrix(t, action)
			_, base := gateway(t, "WAMPGATE_CONFIG="+configured(t, text))
			sessions := map[string]*client.Session{}
			for role := range roles {
				sessions[role] = mustBe(t, base, client.Config{AuthID: role, Auth: []auth.Method{auth.Ticket(role)}})
			}
			for _, c := range allowed {
				if c.match != "exact" && (action == "call" || action == "publish") {
					continue // they are about one URI
				}
				err := byWAMP(t.Context(), sessions[c.role], action, c.uri, c.match)
				if denied := is(err, wampcore.ErrNotAuthorized); denied == c.want {
					t.Errorf("WAMP: %s may %s %s (%s): got %v, want %t", c.role, action, c.uri, c.match, err, c.want)
				}
				got := byHTTP(t, base, keys[c.role], action, c.uri, c.match)
				if denied := got == "403 wamp.error.not_authorized"; denied == c.want {
					t.Errorf("HTTP: %s may %s %s (%s): got %s, want %t", c.role, action, c.uri, c.match, got, c.want)
				}
				if c.want && !strings.HasPrefix(got, map[string]string{"call": "404 wamp.error.no_such_procedure"}[action]) {
					t.Errorf("HTTP: %s %s %s (%s): got %s", c.role, action, c.uri, c.match, got)
				}
			}
		})
	}
}

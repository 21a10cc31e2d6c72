package router_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// FuzzRealm lets four sessions say anything. Each line is one frame in JSON, behind a digit for who says it; a line "x"
// cuts the connection, after which the next line of that peer opens another one. A router may end any of them; it may
// not panic, block or leak, and must still serve who comes then.
func FuzzRealm(f *testing.F) {
	for _, c := range append(conversations(), advanced()...) {
		names := map[string]string{}
		var script strings.Builder
		for line := range strings.Lines(joined(c.script)) {
			name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			op, frame, _ := strings.Cut(rest, " ")
			if names[name] == "" {
				names[name] = string(rune('0' + len(names)%4))
			}
			if op == "<" {
				frame = strings.NewReplacer(`"$reg"`, "1", `"$sub"`, "1", `"$inv"`, "1").Replace(frame)
				script.WriteString(names[name] + frame + "\n")
			}
		}
		f.Add([]byte(script.String()))
	}
	f.Add([]byte("limited\n0[32,1,{\"match\":\"prefix\"},\"com.\"]\n1[48,1,{\"progress\":true},\"p\",[\"0123456789\"]]\n1[48,1,{},\"p\"]\n0[64,2,{},\"p\"]"))
	f.Add([]byte("0[64,1,{},\"p\"]\n1[48,1,{},\"p\"]\n0x\n1[48,2,{},\"p\"]"))
	f.Fuzz(func(t *testing.T, script []byte) {
		r, err := router.New(router.Config{
			Realms:          []router.RealmConfig{fuzzed(bytes.HasPrefix(script, []byte("limited\n")))},
			FarewellTimeout: 50 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		var peers [4]wampcore.Transport
		greeting, err := new(wampcore.Decoder).Decode(wampcore.JSON, []byte(everything))
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(script) {
			line = bytes.TrimSpace(line)
			if len(line) < 2 {
				continue
			}
			who := &peers[line[0]&3]
			if *who == nil {
				*who = r.Dial()
				hello, _ := greeting.(*wampcore.Hello)
				own := *hello
				_, _ = (*who).Write([]wampcore.Message{&own})
			}
			if line[1] == 'x' {
				_ = (*who).Close(0)
				*who = nil
				continue
			}
			if m, err := new(wampcore.Decoder).Decode(wampcore.JSON, line[1:]); err == nil {
				_, _ = (*who).Write([]wampcore.Message{m})
			}
		}
		for _, p := range peers {
			if p != nil {
				_ = p.Close(0)
			}
		}
		for !serves(t, r) { // what the others said last may still end who comes; it is less each time
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// fuzzed is a realm where everything is allowed, or one with permissions and limits that get in the way.
func fuzzed(limited bool) router.RealmConfig {
	cfg := router.RealmConfig{Name: realm1, Operators: []string{"anonymous"}}
	if limited {
		role := may(router.AllActions, "p", "com.a", "wamp.")
		role.Permissions = append(role.Permissions, router.Permission{URI: "com..b", Match: wampcore.MatchWildcard, Allow: router.ActionSubscribe})
		role.Limits = router.Limits{MessageBytes: 16, Calls: 2, Subscriptions: 2, Registrations: 2, Rate: 200, Burst: 50, QueueMessages: 20}
		role.Principal = router.Limits{Calls: 3, QueueMessages: 30, QueueBytes: 1 << 12}
		cfg.Roles = map[string]router.Role{"anonymous": role}
	}
	return cfg
}

// serves reports whether a new session gets an answer, and is not ended before.
func serves(t *testing.T, r *router.Router) bool {
	t.Helper()
	p := wamptest.New(t, r.Dial())
	defer p.Close()
	p.Send(&wampcore.Hello{Realm: realm1, Details: wampcore.HelloDetails{Roles: allFeatures()}})
	p.Send(&wampcore.Call{Request: 1, Procedure: "wamp.session.count"})
	for {
		m, err := p.Receive()
		switch {
		case err != nil || m.Type() == wampcore.TypeGoodbye || m.Type() == wampcore.TypeAbort:
			return false
		case m.Type() == wampcore.TypeResult:
			return true
		}
	}
}

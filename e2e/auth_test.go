package e2e

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// configured returns the name of a configuration file with this text.
func configured(tb testing.TB, text string) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "wampgate.yaml")
	rewrite(tb, name, text)
	return name
}

// rewrite puts another text into a file at once, as an editor or Kubernetes does.
func rewrite(tb testing.TB, name, text string) {
	tb.Helper()
	if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		tb.Fatal(err)
	}
}

// made returns what a subcommand says, given this input, and indented so that it fits below a principal.
func made(tb testing.TB, input string, args ...string) string {
	tb.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%q: %v", args, err)
	}
	return regexp.MustCompile(`(?m)^`).ReplaceAllString(strings.TrimSpace(string(out)), "        ")
}

// as opens a session of a Go client's.
func as(ctx context.Context, base string, cfg client.Config) (*client.Session, error) {
	if cfg.Realm == "" {
		cfg.Realm = "realm1"
	}
	t, err := transport.Dial(ctx, webSocket(base), transport.Config{})
	if err != nil {
		return nil, err
	}
	return client.Join(ctx, t, cfg)
}

func mustBe(tb testing.TB, base string, cfg client.Config) *client.Session {
	tb.Helper()
	s, err := as(tb.Context(), base, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Close(ctx)
	})
	return s
}

func is(err error, uri wampcore.URI) bool { return errors.Is(err, &wampcore.Error{URI: uri}) }

// identity is a session's own.
func identity(s *client.Session) string {
	d := s.Welcome().Details
	return d.AuthID + " " + d.AuthRole + " " + d.AuthMethod
}

// guarded is a configuration with all methods that are for principals. Its secrets are made by the binary.
func guarded(tb testing.TB, public string) string {
	tb.Helper()
	return `
realms:
  realm1:
    authentication: {ticket: , wampcra: , scram: , cryptosign: }
    roles:
      backend:
        permissions:
          - {uri: "", match: prefix, allow: [call, register, publish, subscribe]}
    principals:
      joe:
        role: backend
        ticket: ${JOE}
        wampcra: {secret: "${JOE}"}
        cryptosign: [` + public + `]
` + made(tb, "open sesame", "hash", "scram") + `
      salted:
        role: backend
` + made(tb, "open sesame\n", "hash", "wampcra") + "\n"
}

func TestRealClientsLogInToTheRealmsOfTheFile(t *testing.T) {
	seed := []byte(strings.Repeat("k", 32))
	public, _ := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	gw, base := gateway(t, "WAMPGATE_CONFIG="+configured(t, guarded(t, hex.EncodeToString(public))), "JOE=open sesame")
	clients := map[string]func(testing.TB, ...string) *process{
		"autobahn-js": func(tb testing.TB, args ...string) *process { return node(tb, "login_autobahn.js", args...) },
		"wampy":       func(tb testing.TB, args ...string) *process { return node(tb, "login_wampy.js", args...) },
		"autobahn-py": func(tb testing.TB, args ...string) *process { return script(tb, "login.py", args...) },
	}
	other := hex.EncodeToString([]byte(strings.Repeat("o", 32)))
	for name, run := range clients {
		for i, c := range []struct{ method, authID, secret, wrong string }{
			{"ticket", "joe", "open sesame", "open"},
			{"wampcra", "joe", "open sesame", "open"},
			{"wampcra", "salted", "open sesame", "open"},
			{"cryptosign", "joe", hex.EncodeToString(seed), other},
		} {
			encoding := []string{"json", "msgpack", "cbor", "json"}[i]
			t.Run(name+" "+c.method+" "+c.authID, func(t *testing.T) {
				if line := run(t, webSocket(base), encoding, c.method, c.authID, c.secret).expect("in "); line != "in "+c.authID+" backend "+c.method {
					t.Error(line)
				}
				if line := run(t, webSocket(base), encoding, c.method, c.authID, c.wrong).expect("out"); !strings.Contains(line, "authentication_denied") {
					t.Error(line)
				}
			})
		}
	}
	// None of them has the SCRAM of the RFC.
	if got := identity(mustBe(t, base, client.Config{AuthID: "joe", Auth: []auth.Method{auth.SCRAM("open sesame")}})); got != "joe backend wamp-scram" {
		t.Errorf("got %s", got)
	}
	for _, c := range []struct {
		authID string
		method auth.Method
		want   wampcore.URI
	}{
		{"joe", auth.SCRAM("open"), wampcore.ErrAuthenticationDenied},
		{"nobody", auth.SCRAM("open sesame"), wampcore.ErrAuthenticationDenied},
		{"salted", auth.SCRAM("open sesame"), wampcore.ErrAuthenticationDenied},
		{"", auth.Anonymous(), wampcore.ErrNoMatchingAuthMethod},
	} {
		if _, err := as(t.Context(), base, client.Config{AuthID: c.authID, Auth: []auth.Method{c.method}}); !is(err, c.want) {
			t.Errorf("%s by %s: got %v, want %s", c.authID, c.method.Name, err, c.want)
		}
	}
	_ = gw.cmd.Process.Signal(syscall.SIGTERM)
	for line := range gw.lines {
		if strings.Contains(line, "sesame") {
			t.Errorf("a secret is logged: %s", line)
		}
	}
}

func TestReloadRevokesWhatIsNoLongerAllowed(t *testing.T) {
	const rules = `
realms:
  realm1:
    authentication: {ticket: }
    principals:
      ann: {role: backend, ticket: "a"}
      bob: {role: backend, ticket: "b"}
    roles:
      backend:
        permissions:
          - {uri: com.example., match: prefix, allow: [call, register, publish, subscribe]}
`
	for how, reload := range map[string]func(*process){
		"SIGHUP": func(p *process) { _ = p.cmd.Process.Signal(syscall.SIGHUP) },
		"change": func(*process) {},
	} {
		t.Run(how, func(t *testing.T) {
			file := configured(t, rules)
			gw, base := gateway(t, "WAMPGATE_CONFIG="+file)
			revoked := make(chan wampcore.MessageType, 8)
			ann := mustBe(t, base, client.Config{
				AuthID: "ann", Auth: []auth.Method{auth.Ticket("a")},
				OnRevoked: func(kind wampcore.MessageType, _ wampcore.RevokedDetails) { revoked <- kind },
			})
			bob := mustBe(t, base, client.Config{AuthID: "bob", Auth: []auth.Method{auth.Ticket("b")}})
			registerDouble(t, ann)
			if _, err := ann.Subscribe(t.Context(), "com.example.news", func(context.Context, *wampcore.Event) {}, wampcore.SubscribeOptions{}); err != nil {
				t.Fatal(err)
			}

			rewrite(t, file, strings.Replace(rules, "call, register", "cal, register", 1))
			reload(gw)
			if line := gw.expect("the old one stays"); !strings.Contains(line, `did you mean \"call\"?`) {
				t.Error(line)
			}
			if err := double(t.Context(), bob, 2); err != nil {
				t.Errorf("after a broken file: %v", err)
			}

			rewrite(t, file, strings.Replace(strings.Replace(rules, "call, register, publish, subscribe", "call, publish", 1), "      bob:", "      bill:", 1))
			reload(gw)
			kinds := map[wampcore.MessageType]bool{}
			for range 2 {
				select {
				case kind := <-revoked:
					kinds[kind] = true
				case <-time.After(patience):
					t.Fatal("nothing was revoked")
				}
			}
			if !kinds[wampcore.TypeSubscribe] || !kinds[wampcore.TypeRegister] {
				t.Errorf("revoked were %v", kinds)
			}
			if err := double(t.Context(), ann, 2); !is(err, wampcore.ErrNoSuchProcedure) {
				t.Errorf("got %v", err)
			}
			select {
			case <-bob.Done():
			case <-time.After(patience):
				t.Error("the session of a principal that is gone goes on")
			}
			if _, err := as(t.Context(), base, client.Config{AuthID: "bob", Auth: []auth.Method{auth.Ticket("b")}}); !is(err, wampcore.ErrAuthenticationDenied) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestListenersOfOthersAreRefusedWhereAnonymousMayAll(t *testing.T) {
	closed := configured(t, "realms: {realm1: {authentication: {ticket: }, principals: {joe: {role: x, ticket: secret}}}}\n")
	open := configured(t, "realms: {realm1: {authentication: {ticket: , anonymous: }, principals: {joe: {role: x, ticket: secret}}}}\n")
	listen := "WAMPGATE_LISTEN=0.0.0.0:0"
	for _, env := range [][]string{{listen}, {listen, "WAMPGATE_CONFIG=" + open}} {
		p := start(t, env, binary)
		p.expect("WAMPGATE_ALLOW_ANONYMOUS_REMOTE=true")
		if status := p.exit(); status != 1 {
			t.Errorf("%v: got %d", env, status)
		}
	}
	for _, env := range [][]string{
		{listen, "WAMPGATE_ALLOW_ANONYMOUS_REMOTE=true"},
		{listen, "WAMPGATE_CONFIG=" + closed},
		{listen, "WAMPGATE_CONFIG=" + open, "WAMPGATE_ALLOW_ANONYMOUS_REMOTE=true"},
	} {
		start(t, env, binary).expect(`"message":"listening"`)
	}
}

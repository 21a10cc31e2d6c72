package e2e

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
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
	other := hex.EncodeToString([]byte(strings.Repeat("o", 32)))
	for name, run := range loginClients() {
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
				case <-time.After(patience): //nolint:forbidigo // the bound of a test
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
			case <-time.After(patience): //nolint:forbidigo // the bound of a test
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

func TestClientCertificatesLogInByWAMPAndHTTP(t *testing.T) {
	ca := newAuthority(t)
	shown := ca.newPair()
	text := `
listeners:
  - address: 127.0.0.1:0
    tls: {cert: ` + shown.cert + `, key: ` + shown.key + `, client_auth: optional, client_ca: ` + ca.file + `}
    authentication: [tls]
http:
  certificates: [{common_name: localhost, authid: worker, role: backend, realms: [realm1]}]
realms:
  realm1:
    authentication: {tls: , anonymous: }
    roles:
      anonymous:
      backend: {permissions: [{uri: "", match: prefix, allow: [call, register]}, {uri: wamp.session.get, allow: [call]}]}
`
	p := start(t, []string{soon, "WAMPGATE_CONFIG=" + configured(t, text)}, binary)
	var at listener
	if err := json.Unmarshal([]byte(p.expect(`"message":"listening"`)), &at); err != nil {
		t.Fatal(err)
	}
	by := client.Config{Realm: "realm1", Auth: []auth.Method{auth.Certificate()}}
	for _, url := range []string{at.WebSocket, at.RawSocket} {
		for _, c := range []struct {
			cfg  transport.Config
			as   client.Config
			want wampcore.URI
		}{
			{ca.trust(shown.load()), by, ""},
			{ca.trust(), by, wampcore.ErrAuthenticationDenied},
			{ca.trust(), client.Config{Realm: "realm1"}, wampcore.ErrNoMatchingAuthMethod}, // there is anonymous, but not here
		} {
			tr, err := transport.Dial(t.Context(), url, c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			s, err := client.Join(t.Context(), tr, c.as)
			switch {
			case c.want != "":
				if !is(err, c.want) {
					t.Errorf("%s: got %v, want %s", url, err, c.want)
				}
			case err != nil:
				t.Errorf("%s: %v", url, err)
			default:
				if got := identity(s); got != "worker backend tls" {
					t.Errorf("%s: got %s", url, got)
				}
				_ = s.Close(t.Context())
			}
		}
	}
	call := []string{at.HTTP + "/v1/call/wamp.session.count", "-X", "POST", "--cacert", ca.file}
	if body, status := curl(t, append(call, "--cert", shown.cert, "--key", shown.key)...); status != "200" {
		t.Errorf("got %s %s", status, body)
	}
	if body, status := curl(t, call...); status != "401" {
		t.Errorf("got %s %s", status, body)
	}
}

// oracle is an HTTP endpoint and a WAMP procedure that know one ticket and one secret.
func oracle(args []any) any {
	name, _ := args[1].(string)
	details, _ := args[2].(map[string]any)
	switch {
	case name != "joe":
		return nil
	case details["ticket"] != nil:
		if details["ticket"] != "open sesame" {
			return nil
		}
		return "backend"
	default:
		return map[string]any{"role": "backend", "secret": "open sesame", "extra": map[string]any{"from": "oracle"}}
	}
}

func TestOthersDecideWhoLogsInAndWhatIsAllowed(t *testing.T) {
	may := make(chan string, 100)
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Args []any }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Header.Get("Authorization") != "Bearer key" {
			t.Errorf("got %v %v", err, r.Header)
		}
		switch r.URL.Path {
		case "/login":
			_ = json.NewEncoder(w).Encode(oracle(in.Args))
		case "/hang":
			<-hang
		default:
			may <- fmt.Sprint(in.Args[1], " ", in.Args[2])
			_ = json.NewEncoder(w).Encode(map[string]any{"allow": in.Args[1] == "com.example.double", "cache": true})
		}
	}))
	defer srv.Close()
	defer close(hang)
	text := strings.ReplaceAll(`
realms:
  realm1:
    authentication:
      ticket: {procedure: com.example.authenticate, realm: services, timeout: 5s}
      wampcra: {url: "URL/login", headers: {Authorization: "Bearer ${KEY}"}}
      cryptosign: {url: "URL/hang", headers: {Authorization: "Bearer ${KEY}"}, timeout: 300ms}
      anonymous: {role: service}
    roles:
      service: {permissions: [{uri: com.example.double, allow: [register]}]}
      backend: {authorizer: {url: "URL/may", headers: {Authorization: "Bearer ${KEY}"}}}
  services: # where nobody comes in without a name: whoever registered the procedure first would decide
    authentication: {wampcra: }
    principals: {decider: {role: decider, wampcra: {secret: "${KEY}"}}}
    roles: {decider: {permissions: [{uri: com.example.authenticate, allow: [register]}]}}
`, "URL", srv.URL)
	_, base := gateway(t, "WAMPGATE_CONFIG="+configured(t, text), "KEY=key")
	service := mustBe(t, base, client.Config{})
	registerDouble(t, service)
	decider := mustBe(t, base, client.Config{Realm: "services", AuthID: "decider", Auth: []auth.Method{auth.CRA("key")}})
	if _, err := decider.Register(t.Context(), "com.example.authenticate", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		var realm, name string
		details := map[string]any{}
		if err := inv.Payload.DecodeArgs(&realm, &name, &details); err != nil {
			return wampcore.Payload{}, err
		}
		return wampcore.NewPayload(wampcore.JSON, []any{oracle([]any{realm, name, details})}, nil)
	}, wampcore.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", 32)))
	for _, c := range []struct {
		name, authID string
		method       auth.Method
		want         wampcore.URI
	}{
		{"a procedure", "joe", auth.Ticket("open sesame"), ""},
		{"a procedure", "joe", auth.Ticket("open"), wampcore.ErrAuthenticationDenied},
		{"a procedure", "jim", auth.Ticket("open sesame"), wampcore.ErrAuthenticationDenied},
		{"an endpoint", "joe", auth.CRA("open sesame"), ""},
		{"an endpoint", "joe", auth.CRA("open"), wampcore.ErrAuthenticationDenied},
		{"an endpoint", "jim", auth.CRA("open sesame"), wampcore.ErrAuthenticationDenied},
		{"an endpoint that hangs", "joe", auth.Cryptosign(key), wampcore.ErrAuthenticationFailed},
	} {
		s, err := as(t.Context(), base, client.Config{AuthID: c.authID, Auth: []auth.Method{c.method}})
		if c.want != "" && !is(err, c.want) || c.want == "" && err != nil {
			t.Errorf("%s, %s by %s: got %v, want %s", c.name, c.authID, c.method.Name, err, c.want)
		}
		if err == nil {
			if got := identity(s); got != "joe backend "+c.method.Name {
				t.Errorf("%s: got %s", c.name, got)
			}
			_ = s.Close(t.Context())
		}
	}
	joe := mustBe(t, base, client.Config{AuthID: "joe", Auth: []auth.Method{auth.CRA("open sesame")}})
	for range 3 {
		if err := double(t.Context(), joe, 21); err != nil {
			t.Error(err)
		}
		if _, err := joe.Call(t.Context(), "com.example.authenticate", wampcore.Payload{}, wampcore.CallOptions{}); !is(err, wampcore.ErrNotAuthorized) {
			t.Errorf("got %v", err)
		}
	}
	close(may)
	questions := map[string]int{}
	for q := range may {
		questions[q]++
	}
	if questions["com.example.double call"] != 1 || questions["com.example.authenticate call"] != 1 {
		t.Errorf("asked were %v: answers that are to be remembered were not", questions)
	}
}

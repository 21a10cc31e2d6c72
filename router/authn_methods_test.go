package router_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// people are principals by name.
type people map[string]*router.Principal

func (p people) Principal(_ context.Context, _ wampcore.URI, authID string) (*router.Principal, error) {
	if authID == "broken" {
		return nil, errors.New("the database is down")
	}
	return p[authID], nil
}

var cheap = auth.SCRAMParams{KDF: auth.KDFPBKDF2, Salt: []byte("a salt of joe's"), Iterations: 4096} //nolint:gochecknoglobals // a constant

// joe is who may log in by all methods.
func joe(tb testing.TB) (people, ed25519.PrivateKey) {
	tb.Helper()
	cred, err := auth.NewSCRAMCredential("secret", cheap)
	if err != nil {
		tb.Fatal(err)
	}
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", 32)))
	public, _ := private.Public().(ed25519.PublicKey)
	p := &router.Principal{AuthRole: "backend", Ticket: "secret", Secret: "secret", SCRAM: &cred, PublicKeys: []ed25519.PublicKey{public}}
	return people{"joe": p, hex.EncodeToString(public): p}, private
}

func guardedBy(tb testing.TB, who people) *router.Router {
	tb.Helper()
	r, err := router.New(router.Config{Realms: []router.RealmConfig{{Name: "realm1", Authenticators: map[string]router.Authenticator{
		"ticket": router.Ticket{Principals: who}, "wampcra": router.WAMPCRA{Principals: who},
		"wamp-scram": router.WAMPSCRAM{Principals: who, Params: cheap}, "cryptosign": router.Cryptosign{Principals: who},
	}}}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Shutdown(context.Background()) })
	return r
}

// ends are transports to a router: a pipe, and WebSocket in all encodings.
func ends(tb testing.TB, r *router.Router) map[string]wampcore.Transport {
	tb.Helper()
	srv := httptest.NewServer(r.WebSocket(transport.Config{}))
	tb.Cleanup(srv.Close)
	all := map[string]wampcore.Transport{"pipe": r.Dial()}
	for e := wampcore.JSON; e <= wampcore.CBOR; e++ {
		c, err := transport.Dial(tb.Context(), srv.URL, transport.Config{Encodings: []wampcore.Encoding{e}})
		if err != nil {
			tb.Fatal(err)
		}
		all[e.String()] = c
	}
	return all
}

func TestClientLogsInByEveryMethod(t *testing.T) {
	who, key := joe(t)
	salted := *who["joe"]
	salted.Salt = auth.CRASalt{Salt: "pepper", Iterations: 1500, KeyLen: 16}
	var err error
	if salted.Secret, err = salted.Salt.Key("secret"); err != nil {
		t.Fatal(err)
	}
	who["salted"] = &salted
	argon := *who["joe"]
	cred, err := auth.NewSCRAMCredential("secret", auth.NewSCRAMParams())
	if err != nil {
		t.Fatal(err)
	}
	argon.SCRAM = &cred
	who["argon"] = &argon
	r := guardedBy(t, who)
	for name, c := range map[string]struct {
		authID string
		method auth.Method
	}{
		"ticket": {"joe", auth.Ticket("secret")}, "wampcra": {"joe", auth.CRA("secret")}, "wampcra salted": {"salted", auth.CRA("secret")},
		"wamp-scram": {"joe", auth.SCRAM("secret")}, "wamp-scram argon2": {"argon", auth.SCRAM("secret")},
		"cryptosign": {"joe", auth.Cryptosign(key)}, "cryptosign by key": {"", auth.Cryptosign(key)},
	} {
		for end, tr := range ends(t, r) {
			s, err := client.Join(t.Context(), tr, client.Config{
				Realm: "realm1", AuthID: c.authID, Auth: []auth.Method{{Name: "flatsign", Begin: func(string, *tls.ConnectionState) auth.Login { return auth.Login{} }}, c.method},
			})
			if err != nil {
				t.Errorf("%s over %s: %v", name, end, err)
				continue
			}
			d := s.Welcome().Details
			if c.authID != "" && d.AuthID != c.authID || d.AuthID == "" || d.AuthRole != "backend" || d.AuthMethod != c.method.Name {
				t.Errorf("%s over %s: got %+v", name, end, d)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestWrongSecretAndUnknownNameAreAnsweredAlike(t *testing.T) {
	who, _ := joe(t)
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("y", 32)))
	r := guardedBy(t, who)
	for _, m := range []auth.Method{auth.Ticket("wrong"), auth.Ticket(""), auth.CRA("wrong"), auth.CRA(""), auth.SCRAM("wrong"), auth.Cryptosign(other)} {
		answers := make([]string, 0, 2)
		for _, name := range []string{"joe", "nobody"} {
			_, err := client.Join(t.Context(), r.Dial(), client.Config{Realm: "realm1", AuthID: name, Auth: []auth.Method{m}})
			e, ok := errors.AsType[*wampcore.Error](err)
			if !ok || e.URI != wampcore.ErrAuthenticationDenied {
				t.Fatalf("%s as %s: got %v", m.Name, name, err)
			}
			answers = append(answers, e.Message)
		}
		if answers[0] != answers[1] {
			t.Errorf("%s: an unknown name is told apart: %q", m.Name, answers)
		}
		_, err := client.Join(t.Context(), r.Dial(), client.Config{Realm: "realm1", AuthID: "broken", Auth: []auth.Method{m}})
		if e, ok := errors.AsType[*wampcore.Error](err); !ok || e.URI != wampcore.ErrAuthenticationFailed || strings.Contains(e.Message, "database") {
			t.Errorf("%s: got %v", m.Name, err)
		}
	}
}

// challenged says HELLO by hand and returns the challenge.
func challenged(tb testing.TB, r *router.Router, method, authID string, extra map[string]any) (*wamptest.Peer, *wampcore.Challenge) {
	tb.Helper()
	raw, err := wampcore.NewRaw(wampcore.JSON, extra)
	if err != nil {
		tb.Fatal(err)
	}
	p := wamptest.New(tb, r.Dial())
	p.Send(&wampcore.Hello{Realm: "realm1", Details: wampcore.HelloDetails{
		Roles: wampcore.NewRoles(wampcore.RoleCaller), AuthMethods: []string{method}, AuthID: authID, AuthExtra: raw,
	}})
	return p, wamptest.Expect[*wampcore.Challenge](p)
}

func TestChallengesDoNotTellAnUnknownNameApart(t *testing.T) {
	who, _ := joe(t)
	r := guardedBy(t, who)
	shape := func(name string) (map[string]any, string) {
		t.Helper()
		p, c := challenged(t, r, "wamp-scram", name, map[string]any{"nonce": "Y2xpZW50"})
		p.Close()
		var m map[string]any
		if err := c.Extra.Decode(&m); err != nil {
			t.Fatal(err)
		}
		salt, _ := m["salt"].(string)
		delete(m, "salt")
		delete(m, "nonce")
		return m, salt
	}
	known, _ := shape("joe")
	unknown, salt := shape("nobody")
	_, again := shape("nobody")
	_, other := shape("somebody")
	if len(known) != len(unknown) || known["kdf"] != unknown["kdf"] || salt != again || salt == other || salt == "" {
		t.Errorf("known %v, unknown %v with the salts %s, %s, another with %s", known, unknown, salt, again, other)
	}
}

func TestAnswersToOtherChallengesAreRefused(t *testing.T) {
	who, key := joe(t)
	r := guardedBy(t, who)
	public, _ := key.Public().(ed25519.PublicKey)
	pubkey := map[string]any{"pubkey": hex.EncodeToString(public)}
	answer := func(m auth.Method, c *wampcore.Challenge) *wampcore.Authenticate {
		t.Helper()
		signature, extra, err := m.Begin("joe", nil).Answer(c.Extra)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := wampcore.NewRaw(wampcore.JSON, extra)
		if err != nil {
			t.Fatal(err)
		}
		return &wampcore.Authenticate{Signature: signature, Extra: raw}
	}
	for method, c := range map[string]struct {
		m     auth.Method
		extra map[string]any
	}{"wampcra": {auth.CRA("secret"), nil}, "cryptosign": {auth.Cryptosign(key), pubkey}} {
		first, old := challenged(t, r, method, "joe", c.extra)
		replay := answer(c.m, old)
		first.Close()
		p, _ := challenged(t, r, method, "joe", c.extra)
		p.Send(replay)
		if a := wamptest.Expect[*wampcore.Abort](p); a.Reason != wampcore.ErrAuthenticationDenied {
			t.Errorf("%s: a replay got %s", method, a.Reason)
		}
	}
	nonce := map[string]any{"nonce": "Y2xpZW50"}
	p, _ := challenged(t, r, "wamp-scram", "joe", nonce)
	extra, err := wampcore.NewRaw(wampcore.JSON, map[string]any{"nonce": "Y2xpZW50b3RoZXI="})
	if err != nil {
		t.Fatal(err)
	}
	p.Send(&wampcore.Authenticate{Signature: "AAAA", Extra: extra})
	if a := wamptest.Expect[*wampcore.Abort](p); a.Reason != wampcore.ErrAuthenticationDenied {
		t.Errorf("another nonce got %s", a.Reason)
	}
}

func TestClientDoesNotBelieveEveryRouter(t *testing.T) {
	raw := func(m map[string]any) wampcore.Raw {
		t.Helper()
		r, err := wampcore.NewRaw(wampcore.JSON, m)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	welcome := &wampcore.Welcome{Session: 5, Details: wampcore.WelcomeDetails{AuthMethod: "anonymous"}}
	for name, c := range map[string]struct {
		method auth.Method
		says   []wampcore.Message
	}{
		"no challenge":           {auth.SCRAM("secret"), []wampcore.Message{welcome}},
		"another method":         {auth.SCRAM("secret"), []wampcore.Message{&wampcore.Challenge{AuthMethod: "ticket"}}},
		"a challenge to nobody":  {auth.Anonymous(), []wampcore.Message{&wampcore.Challenge{AuthMethod: "anonymous"}}},
		"another client's nonce": {auth.SCRAM("secret"), []wampcore.Message{&wampcore.Challenge{AuthMethod: "wamp-scram", Extra: raw(map[string]any{"nonce": "x"})}}},
		"another session": {auth.CRA("secret"), []wampcore.Message{
			&wampcore.Challenge{AuthMethod: "wampcra", Extra: raw(map[string]any{"challenge": `{"session":7}`})}, welcome,
		}},
		"endless work": {auth.CRA("secret"), []wampcore.Message{
			&wampcore.Challenge{AuthMethod: "wampcra", Extra: raw(map[string]any{"challenge": "x", "salt": "s", "iterations": 1 << 40})},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := wampcore.Pipe()
			p := wamptest.New(t, far)
			for _, m := range c.says {
				p.Send(m)
			}
			if s, err := client.Join(t.Context(), near, client.Config{Realm: "realm1", AuthID: "joe", Auth: []auth.Method{c.method}}); err == nil {
				_ = s.Close(t.Context())
				t.Error("it joined")
			}
		})
	}
}

func TestWhereAPeerComesInSaysHowItMayLogIn(t *testing.T) {
	who := people{"joe": {AuthRole: "x", Ticket: "t"}}
	r, err := router.New(router.Config{Realms: []router.RealmConfig{{Name: "realm1", Authenticators: map[string]router.Authenticator{
		"anonymous": router.Anonymous{}, "ticket": router.Ticket{Principals: who},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(r.WebSocket(transport.Config{}))
	srv.Config.BaseContext = func(net.Listener) context.Context {
		return router.WithMethods(context.Background(), []string{"ticket"})
	}
	srv.Start()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var raw sync.WaitGroup
	raw.Go(func() { _ = r.RawSocket(l, transport.Config{}, "ticket") })
	defer func() {
		_ = r.Shutdown(context.Background())
		_ = l.Close()
		raw.Wait()
		srv.Close()
	}()
	for _, url := range []string{"ws" + strings.TrimPrefix(srv.URL, "http") + "/", "tcp://" + l.Addr().String()} {
		for _, c := range []struct {
			auth []auth.Method
			want error
		}{
			{nil, &wampcore.Error{URI: wampcore.ErrNoMatchingAuthMethod}},
			{[]auth.Method{auth.Anonymous()}, &wampcore.Error{URI: wampcore.ErrNoMatchingAuthMethod}},
			{[]auth.Method{auth.Anonymous(), auth.Ticket("t")}, nil},
		} {
			tr, err := transport.Dial(t.Context(), url, transport.Config{})
			if err != nil {
				t.Fatal(err)
			}
			s, err := client.Join(t.Context(), tr, client.Config{Realm: "realm1", AuthID: "joe", Auth: c.auth})
			if !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", url, err, c.want)
			}
			if err == nil {
				_ = s.Close(t.Context())
			}
		}
	}
}

package e2e

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// principals may log in to the test's router.
type principals map[string]*router.Principal

func (p principals) Principal(_ context.Context, _ wampcore.URI, authID string) (*router.Principal, error) {
	return p[authID], nil
}

// guardedRouter is in the test's process; its address is of WebSocket.
func guardedRouter(tb testing.TB, seed []byte) string {
	tb.Helper()
	salt := auth.CRASalt{Salt: "pepper", Iterations: 1000, KeyLen: 32}
	key, err := salt.Key("open sesame")
	if err != nil {
		tb.Fatal(err)
	}
	public, _ := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	who := principals{
		"joe": {
			AuthRole: "backend", Ticket: "open sesame", Secret: "open sesame", PublicKeys: []ed25519.PublicKey{public},
		},
		"salted": {AuthRole: "backend", Secret: key, Salt: salt},
	}
	r, err := router.New(router.Config{Realms: []router.RealmConfig{{Name: "realm1", Authenticators: map[string]router.Authenticator{
		"ticket": router.Ticket{Principals: who}, "wampcra": router.WAMPCRA{Principals: who}, "cryptosign": router.Cryptosign{Principals: who},
	}}}})
	if err != nil {
		tb.Fatal(err)
	}
	srv := httptest.NewServer(r.WebSocket(transport.Config{}))
	tb.Cleanup(func() {
		_ = r.Shutdown(context.Background())
		srv.Close()
	})
	return "ws" + strings.TrimPrefix(srv.URL, "http") + "/"
}

// loginClients are programs that log in by URL, encoding, method, authid and secret.
func loginClients() map[string]func(testing.TB, ...string) *process {
	return map[string]func(testing.TB, ...string) *process{
		"autobahn-js": func(tb testing.TB, args ...string) *process {
			tb.Helper()
			return node(tb, "login_autobahn.js", args...)
		},
		"wampy": func(tb testing.TB, args ...string) *process {
			tb.Helper()
			return node(tb, "login_wampy.js", args...)
		},
		"autobahn-py": func(tb testing.TB, args ...string) *process {
			tb.Helper()
			return script(tb, "login.py", args...)
		},
	}
}

func TestRealClientsLogInByTheMethodsTheyHave(t *testing.T) {
	seed := []byte(strings.Repeat("k", 32))
	url := guardedRouter(t, seed)
	other := hex.EncodeToString([]byte(strings.Repeat("o", 32)))
	for name, client := range loginClients() {
		for i, c := range []struct{ method, authID, secret, wrong string }{
			{"ticket", "joe", "open sesame", "open"},
			{"wampcra", "joe", "open sesame", "open"},
			{"wampcra", "salted", "open sesame", "open"},
			{"cryptosign", "joe", hex.EncodeToString(seed), other},
		} {
			encoding := []string{"json", "msgpack", "cbor", "json"}[i]
			t.Run(name+" "+c.method+" "+c.authID, func(t *testing.T) {
				if line := client(t, url, encoding, c.method, c.authID, c.secret).expect("in "); line != "in "+c.authID+" backend "+c.method {
					t.Error(line)
				}
				for authID, secret := range map[string]string{c.authID: c.wrong, "nobody": c.secret} {
					if line := client(t, url, encoding, c.method, authID, secret).expect("out"); !strings.Contains(line, "authentication_denied") {
						t.Errorf("%s: %s", authID, line)
					}
				}
			})
		}
	}
}

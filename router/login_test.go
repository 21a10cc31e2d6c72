package router_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

func TestChallengesOfWAMPCRADoNotSayWhoIsKnown(t *testing.T) {
	who, _ := joe(t)
	r := guardedBy(t, who)
	keys := func(name string) string {
		t.Helper()
		p, c := challenged(t, r, "wampcra", name, nil)
		p.Close()
		var extra struct {
			Challenge string `codec:"challenge"`
		}
		if err := c.Extra.Decode(&extra); err != nil {
			t.Fatal(err)
		}
		text, _, _ := strings.Cut(extra.Challenge, `"nonce"`)
		return strings.Replace(text, name, "NAME", 1)
	}
	if known, unknown := keys("joe"), keys("nobody"); known != unknown {
		t.Errorf("known: %s, unknown: %s", known, unknown)
	}
}

func TestNameThatOtherMethodsKnowIsUnknownToWAMPCRA(t *testing.T) {
	who, _ := joe(t)
	who["joe"].Salt = auth.CRASalt{Salt: "c2FsdA==", Iterations: 1000, KeyLen: 32}
	who["shop"] = &router.Principal{AuthRole: "backend", Ticket: "secret"}
	cra := router.WAMPCRA{Principals: who, Salt: auth.CRASalt{Iterations: 1000, KeyLen: 32}}
	r, err := router.New(router.Config{Realms: []router.RealmConfig{{Name: realm1, Authenticators: map[string]router.Authenticator{"wampcra": cra}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Shutdown(context.Background()) })
	for _, name := range []string{"joe", "shop", "nobody"} {
		p, c := challenged(t, r, "wampcra", name, nil)
		var extra map[string]any
		if err := c.Extra.Decode(&extra); err != nil {
			t.Fatal(err)
		}
		if extra["salt"] == nil || extra["iterations"] == nil || extra["keylen"] == nil {
			t.Errorf("%s is not asked as the others are: %v", name, extra)
		}
		p.Send(&wampcore.Authenticate{Signature: auth.CRASignature("", fmt.Sprint(extra["challenge"]))})
		expectRefusal(t, p, wampcore.ErrAuthenticationDenied)
	}
}

// What is done for an unknown name is what is done for a wrong secret. Time is not measured: it says little on a busy machine. What is
// allocated says which way the login went.
func TestUnknownNamesCostWhatWrongSecretsDo(t *testing.T) {
	who, _ := joe(t)
	r := guardedBy(t, who)
	other := strings.Repeat("ab", 32)
	for method, extra := range map[string]map[string]any{
		"ticket": nil, "wampcra": nil, "wamp-scram": {"nonce": "Y2xpZW50"}, "cryptosign": {"pubkey": other}, "cryptosign without key": {},
	} {
		method, _, _ = strings.Cut(method, " ")
		cost := func(name string) float64 {
			return testing.AllocsPerRun(200, func() {
				p, c := challenged(t, r, method, name, extra)
				answer := &wampcore.Authenticate{Signature: strings.Repeat("ab", 96)}
				if method == "wamp-scram" {
					answer.Signature = strings.Repeat("AAAA", 10) + "AAA="
					var in map[string]any
					if err := c.Extra.Decode(&in); err != nil {
						t.Fatal(err)
					}
					answer.Extra, _ = wampcore.NewRaw(wampcore.JSON, map[string]any{"nonce": in["nonce"], "channel_binding": nil, "cbind_data": nil})
				}
				p.Send(answer)
				expectRefusal(t, p, wampcore.ErrAuthenticationDenied)
			})
		}
		known, unknown := cost("joe"), cost("eve")
		for range 3 { // what else goes on in the process allocates, too: the least counts
			known, unknown = min(known, cost("joe")), min(unknown, cost("eve"))
		}
		if ratio := known / unknown; ratio < 0.93 || ratio > 1.07 {
			t.Errorf("%s: a known name costs %.0f allocations, an unknown one %.0f", method, known, unknown)
		}
	}
}

func TestAnswersThatComeTooLateAreNotTaken(t *testing.T) {
	who, _ := joe(t)
	synctest.Test(t, func(t *testing.T) {
		r := guardedBy(t, who)
		p, c := challenged(t, r, "wampcra", "joe", nil)
		signature, _, err := auth.CRA("secret").Begin("joe", nil).Answer(c.Extra)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Second) //nolint:forbidigo // of the bubble's time
		p.Send(&wampcore.Authenticate{Signature: signature})
		expectRefusal(t, p, wampcore.ErrProtocolViolation)
	})
}

func TestRolesThatPrincipalsHaveButTheRealmDoesNot(t *testing.T) {
	who, _ := joe(t)
	r := newRouter(t, func(c *router.Config) {
		c.Realms = []router.RealmConfig{{
			Name: realm1, Roles: map[string]router.Role{"other": {}},
			Authenticators: map[string]router.Authenticator{"ticket": router.Ticket{Principals: who}},
		}}
	})
	_, err := client.Join(t.Context(), r.Dial(), client.Config{Realm: realm1, AuthID: "joe", Auth: []auth.Method{auth.Ticket("secret")}})
	if err == nil || !strings.Contains(err.Error(), string(wampcore.ErrNoSuchRole)) {
		t.Errorf("got %v", err)
	}
	if n := r.Stats().Refusals["no_such_role"]; n != 1 {
		t.Errorf("counted %d", n)
	}
}

// FuzzLogin lets a peer say anything while it logs in. It is never let in, and the router serves who comes then.
func FuzzLogin(f *testing.F) {
	methods := []string{"ticket", "wampcra", "wamp-scram", "cryptosign", "tls"}
	f.Add(byte(2), "joe", `{"nonce":"Y2xpZW50","channel_binding":"tls-exporter"}`, "AAAA", `{"nonce":"Y2xpZW50"}`)
	f.Add(byte(2), "joe", `{"nonce":"Y2xpZW50"}`, "", `{"nonce":7,"cbind_data":[]}`)
	f.Add(byte(3), "", `{"pubkey":"`+strings.Repeat("00", 32)+`","challenge":"`+hex.EncodeToString(make([]byte, 32))+`"}`, strings.Repeat("00", 96), `{}`)
	f.Add(byte(3), "joe", `{"channel_binding":7}`, "", `{}`)
	f.Add(byte(0), "joe", `{}`, "", `{}`)
	f.Add(byte(1), "joe", `{}`, "x", `null`)
	f.Add(byte(4), "joe", `{}`, "x", `null`)
	who, key := joe(f)
	r, err := router.New(router.Config{Realms: []router.RealmConfig{{Name: "realm1", Authenticators: map[string]router.Authenticator{
		"ticket": router.Ticket{Principals: who}, "wampcra": router.WAMPCRA{Principals: who}, "tls": router.Certificate{},
		"wamp-scram": router.WAMPSCRAM{Principals: who, Params: cheap}, "cryptosign": router.Cryptosign{Principals: who, Key: key},
	}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = r.Shutdown(context.Background()) })
	f.Fuzz(func(t *testing.T, method byte, authID, extra, signature, answer string) {
		if wampcore.Scan(wampcore.JSON, []byte(extra)) != nil || wampcore.Scan(wampcore.JSON, []byte(answer)) != nil || signature == "secret" {
			return
		}
		p := wamptest.New(t, r.Dial())
		p.Send(&wampcore.Hello{Realm: "realm1", Details: wampcore.HelloDetails{
			Roles: wampcore.NewRoles(wampcore.RoleCaller), AuthMethods: []string{methods[int(method)%len(methods)]}, AuthID: authID,
			AuthExtra: wampcore.Raw{Encoding: wampcore.JSON, Bytes: []byte(extra)},
		}})
		p.Send(&wampcore.Authenticate{Signature: signature, Extra: wampcore.Raw{Encoding: wampcore.JSON, Bytes: []byte(answer)}})
		for {
			m, err := p.Receive()
			if err != nil {
				break
			}
			if m.Type() == wampcore.TypeWelcome {
				t.Fatal("it is let in")
			}
		}
	})
}

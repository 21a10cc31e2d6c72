package router_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// oracle is a realm's procedure that answers the router, and the realm realm1 where people log in with what it says.
type oracle struct {
	*testing.T
	r      *router.Router
	callee *client.Session
	asked  atomic.Int32
	answer atomic.Pointer[answerer]
}

type answerer func(ctx context.Context, inv *client.Invocation) (any, error)

func (o *oracle) answers(f answerer) { o.answer.Store(&f) }

const oracleRealm, oracleURI wampcore.URI = "internal", "com.oracle"

func asking(t *testing.T, configure func(router.Asker) router.RealmConfig, f func(*oracle)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		realm := configure(router.Procedure{URI: oracleURI, Realm: oracleRealm})
		realm.Name = realm1
		r, err := router.New(router.Config{Realms: []router.RealmConfig{realm, {Name: oracleRealm}}})
		if err != nil {
			t.Fatal(err)
		}
		o := &oracle{T: t, r: r}
		o.callee, err = client.Join(t.Context(), r.Dial(), client.Config{Realm: oracleRealm})
		if err != nil {
			t.Fatal(err)
		}
		_, err = o.callee.Register(t.Context(), oracleURI, func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
			o.asked.Add(1)
			v, err := (*o.answer.Load())(ctx, inv)
			if err != nil {
				return wampcore.Payload{}, err
			}
			return wampcore.NewPayload(wampcore.MessagePack, []any{v}, nil)
		}, wampcore.RegisterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		f(o)
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		<-o.callee.Done()
	})
}

func (o *oracle) says(v any) {
	o.answers(func(context.Context, *client.Invocation) (any, error) { return v, nil })
}

func dynamicMethods(a router.Asker) router.RealmConfig {
	d := router.DynamicPrincipals{Asker: a}
	return router.RealmConfig{Authenticators: map[string]router.Authenticator{
		"ticket": router.Ticket{Verifiers: []router.TicketVerifier{d}}, "wampcra": router.WAMPCRA{Principals: d},
		"wamp-scram": router.WAMPSCRAM{Principals: d, Params: cheap}, "cryptosign": router.Cryptosign{Principals: d},
	}}
}

// fails logs in, and returns how that fails, nil if it does not.
func (o *oracle) fails(method auth.Method) error {
	s, err := client.Join(o.Context(), o.r.Dial(), client.Config{Realm: realm1, AuthID: "joe", Auth: []auth.Method{method}})
	if err != nil {
		return err
	}
	if d := s.Welcome().Details; d.AuthID != "joseph" || d.AuthRole != "backend" || d.AuthProvider != "dynamic" {
		o.Errorf("got %+v", d)
	}
	return s.Close(o.Context())
}

func TestProcedureSaysWhoMayLogIn(t *testing.T) {
	who, key := joe(t)
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	scram := who["joe"].SCRAM
	b64 := base64.StdEncoding.EncodeToString
	salted, err := auth.CRASalt{Salt: "salt", Iterations: 100, KeyLen: 32}.Key("secret")
	if err != nil {
		t.Fatal(err)
	}
	dict := func(kv ...any) map[string]any {
		m := map[string]any{"role": "backend", "authid": "joseph"}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	for name, c := range map[string]struct {
		answer       any
		right, wrong auth.Method
	}{
		"ticket":         {dict(), auth.Ticket("secret"), auth.Ticket("wrong")},
		"wampcra":        {dict("secret", "secret"), auth.CRA("secret"), auth.CRA("wrong")},
		"wampcra salted": {dict("secret", salted, "salt", "salt", "iterations", 100, "keylen", 32), auth.CRA("secret"), auth.CRA("wrong")},
		"scram": {dict("kdf", scram.KDF, "salt", b64(scram.Salt), "iterations", scram.Iterations, "stored_key", b64(scram.StoredKey),
			"server_key", b64(scram.ServerKey)), auth.SCRAM("secret"), auth.SCRAM("wrong")},
		"cryptosign": {dict("authorized_keys", []string{hex.EncodeToString(who["joe"].PublicKeys[0])}), auth.Cryptosign(key), auth.Cryptosign(other)},
	} {
		asking(t, dynamicMethods, func(o *oracle) {
			o.answers(func(_ context.Context, inv *client.Invocation) (any, error) {
				var realm, authID string
				var details struct {
					Method  string      `codec:"authmethod"`
					Session wampcore.ID `codec:"session"`
					Ticket  string      `codec:"ticket"`
				}
				if err := inv.Payload.DecodeArgs(&realm, &authID, &details); err != nil || realm != "realm1" || authID != "joe" ||
					details.Method != c.right.Name || details.Session == 0 {
					o.Errorf("%s: asked %s, %s, %+v, %v", name, realm, authID, details, err)
				}
				if details.Ticket == "wrong" {
					return nil, &wampcore.Error{URI: wampcore.ErrAuthenticationDenied}
				}
				return c.answer, nil
			})
			if err := o.fails(c.right); err != nil {
				o.Errorf("%s: %v", name, err)
			}
			denied := &wampcore.Error{URI: wampcore.ErrAuthenticationDenied}
			if err := o.fails(c.wrong); !errors.Is(err, denied) {
				o.Errorf("%s: the wrong secret: got %v", name, err)
			}
			o.says(nil)
			if err := o.fails(c.right); !errors.Is(err, denied) {
				o.Errorf("%s: an unknown name: got %v", name, err)
			}
		})
	}
}

func TestLoginsFailWhereTheProcedureDoes(t *testing.T) {
	failed := &wampcore.Error{URI: wampcore.ErrAuthenticationFailed}
	slow := func(ctx context.Context, _ *client.Invocation) (any, error) {
		<-ctx.Done()
		return "backend", nil
	}
	broken := func(context.Context, *client.Invocation) (any, error) {
		return nil, &wampcore.Error{URI: "com.example.database_down"}
	}
	for _, method := range []auth.Method{auth.Ticket("secret"), auth.CRA("secret"), auth.SCRAM("secret")} {
		asking(t, dynamicMethods, func(o *oracle) {
			for _, garbage := range []any{
				true, 7, "",
				[]any{"backend"},
				map[string]any{},
				map[string]any{"role": 7},
				map[string]any{"secret": "secret"},
				map[string]any{"role": "backend", "stored_key": "#", "salt": "", "pubkey": 7},
			} {
				o.says(garbage)
				if err := o.fails(method); !errors.Is(err, failed) {
					o.Errorf("%s: %v: got %v", method.Name, garbage, err)
				}
			}
			for name, answer := range map[string]func(context.Context, *client.Invocation) (any, error){"slow": slow, "broken": broken} {
				o.answers(answer)
				began := time.Now()
				if err := o.fails(method); !errors.Is(err, failed) || time.Since(began) > 5*time.Second {
					o.Errorf("%s: %s: got %v after %s", method.Name, name, err, time.Since(began))
				}
			}
			if err := o.callee.Close(o.Context()); err != nil {
				o.Error(err)
			}
			if err := o.fails(method); !errors.Is(err, failed) {
				o.Errorf("%s: nobody there: got %v", method.Name, err)
			}
		})
	}
}

func dynamicRole(a router.Asker) router.RealmConfig {
	return router.RealmConfig{Roles: map[string]router.Role{"r": {Authorizer: router.DynamicAuthorizer{Asker: a}}}}
}

func TestProcedureSaysWhatIsAllowed(t *testing.T) {
	asking(t, dynamicRole, func(o *oracle) {
		p := as(o, o.r, "r")
		failed, denied := wampcore.ErrAuthorizationFailed, wampcore.ErrNotAuthorized
		id := wampcore.ID(0)
		try := func(uri, want wampcore.URI) {
			o.Helper()
			id++
			if got, ok := tried(o, p, router.ActionSubscribe, id, uri, wampcore.MatchExact); got != want || ok != (want == "") {
				o.Errorf("%s: got %t %s, want %s", uri, ok, got, want)
			}
		}
		o.answers(func(_ context.Context, inv *client.Invocation) (any, error) {
			var session, options map[string]any
			var uri, action string
			if err := inv.Payload.DecodeArgs(&session, &uri, &action, &options); err != nil || uri != "com.a" || action != "subscribe" ||
				session["authid"] != "joe" || session["authrole"] != "r" || session["realm"] != "realm1" || options["match"] != "exact" {
				o.Errorf("asked %v, %s, %s, %v, %v", session, uri, action, options, err)
			}
			return true, nil
		})
		try("com.a", "")
		for _, c := range []struct {
			answer any
			want   wampcore.URI
		}{
			{false, denied},
			{map[string]any{"allow": true}, ""},
			{map[string]any{"allow": false}, denied},
			{nil, failed},
			{1, failed},
			{"true", failed},
			{[]any{true}, failed},
			{map[string]any{}, failed},
			{map[string]any{"allow": "yes"}, failed},
			{map[string]any{"allow": true, "cache": 3}, failed},
		} {
			o.says(c.answer)
			try("com.b", c.want)
		}
		o.says(map[string]any{"allow": true, "cache": true})
		try("com.kept", "")
		before := o.asked.Load()
		o.says(false)
		try("com.kept", "")
		if n := o.asked.Load() - before; n != 0 {
			o.Errorf("asked %d times more", n)
		}
		realm := dynamicRole(router.Procedure{URI: oracleURI, Realm: oracleRealm})
		realm.Name = realm1
		o.says(true)
		reconfigure(o, o.r, realm, router.RealmConfig{Name: oracleRealm})
		o.says(false)
		try("com.kept", denied) // nothing is remembered
		o.answers(func(ctx context.Context, _ *client.Invocation) (any, error) {
			<-ctx.Done()
			return true, nil
		})
		began := time.Now()
		try("com.slow", failed)
		if took := time.Since(began); took > 5*time.Second {
			o.Errorf("it took %s", took)
		}
		if err := o.callee.Close(o.Context()); err != nil {
			o.Error(err)
		}
		try("com.gone", failed)
	})
}

func TestDisclosureIsForTheAuthorizerToSay(t *testing.T) {
	asking(t, func(a router.Asker) router.RealmConfig {
		realm := dynamicRole(a)
		realm.Roles["all"] = may(router.AllActions, "")
		return realm
	}, func(o *oracle) {
		callee, p := as(o, o.r, "all"), as(o, o.r, "r")
		register(callee, 1, "p")
		for i, disclose := range []bool{false, true} {
			o.says(map[string]any{"allow": true, "disclose": disclose})
			p.Send(&wampcore.Call{Request: wampcore.ID(i + 1), Procedure: "p"})
			if inv := wamptest.Expect[*wampcore.Invocation](callee); (inv.Details.Caller != 0) != disclose {
				o.Errorf("disclose %t: got %+v", disclose, inv.Details)
			}
		}
	})
}

func TestRouterItselfNeitherMakesNorKeepsARealm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		allow := router.Role{Authorizer: router.DynamicAuthorizer{Asker: router.Procedure{URI: oracleURI}}}
		d := router.DynamicPrincipals{Asker: router.Procedure{URI: oracleURI}}
		r, err := router.New(router.Config{Realms: []router.RealmConfig{{
			Name: "t.", OnDemand: &router.OnDemand{Match: wampcore.MatchPrefix, IdleTimeout: time.Minute},
			Authenticators: map[string]router.Authenticator{"ticket": router.Ticket{Verifiers: []router.TicketVerifier{d}}},
			Roles:          map[string]router.Role{"asked": allow, "all": may(router.AllActions, "")},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Join(t.Context(), r.Dial(), client.Config{Realm: "t.a", AuthID: "joe", Auth: []auth.Method{auth.Ticket("x")}}); err == nil {
			t.Error("it has let somebody in")
		}
		if n := r.Stats().Realms; n != 0 {
			t.Errorf("%d realms were made for a login that failed", n)
		}
		callee := wamptest.New(t, r.DialAs(router.Identity{AuthRole: "all"}))
		callee.Join("t.a", allFeatures())
		register(callee, 1, oracleURI)
		p := wamptest.New(t, r.DialAs(router.Identity{AuthRole: "asked"}))
		p.Join("t.a", allFeatures())
		p.Send(&wampcore.Subscribe{Request: 1, Topic: "com.a"})
		inv := wamptest.Expect[*wampcore.Invocation](callee)
		callee.Send(&wampcore.Yield{Request: inv.Request, Payload: args(`[true]`)})
		wamptest.Expect[*wampcore.Subscribed](p)
		p.Close()
		callee.Close()
		time.Sleep(61 * time.Second) //nolint:forbidigo // of the bubble's time
		synctest.Wait()
		if stats := r.Stats(); stats.Realms != 0 || len(stats.Sessions) != 0 {
			t.Errorf("got %+v", stats)
		}
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestSessionsEndWhenTheirLoginExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		p := wamptest.New(t, r.DialAs(router.Identity{AuthID: "joe", Expires: time.Now().Add(time.Minute)}))
		p.Join(realm1, allFeatures())
		began := time.Now()
		if m := wamptest.Expect[*wampcore.Goodbye](p); m.Reason != wampcore.ErrAuthenticationRequired || time.Since(began) != time.Minute {
			t.Errorf("got %s after %s", m.Reason, time.Since(began))
		}
	})
}

func TestAuthorizerIsAskedAgainWhenTheConfigurationChanges(t *testing.T) {
	asking(t, dynamicRole, func(o *oracle) {
		p := as(o, o.r, "r")
		o.says(map[string]any{"allow": true, "cache": true})
		kept := subscribe(p, 1, "com.kept")
		lost := subscribe(p, 2, "com.lost")
		unknown := subscribe(p, 3, "com.unknown")
		registration := register(p, 4, "com.lost")
		o.answers(func(_ context.Context, inv *client.Invocation) (any, error) {
			var session map[string]any
			var uri string
			if err := inv.Payload.DecodeArgs(&session, &uri); err != nil {
				o.Error(err)
			}
			if uri == "com.unknown" {
				return nil, errors.New("the database is down")
			}
			return uri != "com.lost", nil
		})
		realm := dynamicRole(router.Procedure{URI: oracleURI, Realm: oracleRealm})
		realm.Name = realm1
		reconfigure(o, o.r, realm, router.RealmConfig{Name: oracleRealm})
		if m := wamptest.Expect[*wampcore.Unsubscribed](p); m.Details.ID != lost {
			o.Errorf("got %+v, want %d", m, lost)
		}
		if m := wamptest.Expect[*wampcore.Unregistered](p); m.Details.ID != registration {
			o.Errorf("got %+v, want %d", m, registration)
		}
		for i, id := range []wampcore.ID{kept, unknown} {
			p.Send(&wampcore.Unsubscribe{Request: wampcore.ID(5 + i), Subscription: id})
			wamptest.Expect[*wampcore.Unsubscribed](p)
		}
	})
}

func TestLastWillOfALoginThatDoesNotCountAnyMoreIsNotDone(t *testing.T) {
	all := may(router.AllActions, "")
	r := ruled(t, map[string]router.Role{"r": all, "all": all})
	p, other := as(t, r, "r"), as(t, r, "all")
	subscribe(other, 1, "com.will")
	p.Send(&wampcore.Call{Request: 1, Procedure: "wamp.session.add_testament", Payload: args(`["com.will",["gone"],{}]`)})
	wamptest.Expect[*wampcore.Result](p)
	reconfigure(t, r, inRealm1(map[string]router.Role{"all": all}))
	wamptest.Expect[*wampcore.Goodbye](p)
	p.ExpectClosed()
	other.Send(&wampcore.Publish{Request: 2, Topic: "com.will", Options: wampcore.PublishOptions{IncludeMe: true}})
	if e := wamptest.Expect[*wampcore.Event](other); !e.Payload.Empty() {
		t.Errorf("got %s", e.Payload.Args)
	}
}

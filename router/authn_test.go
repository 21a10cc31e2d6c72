package router_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// asked is an authenticator made of a function.
type asked func(context.Context, *router.Login) (router.Identity, error)

func (f asked) Authenticate(ctx context.Context, l *router.Login) (router.Identity, error) {
	return f(ctx, l)
}

// twoSecrets asks for "one" and "two", one after the other.
func twoSecrets(ctx context.Context, l *router.Login) (router.Identity, error) {
	for _, secret := range []string{"one", "two"} {
		extra, err := wampcore.NewRaw(wampcore.JSON, map[string]any{"which": secret, "session": l.Session})
		if err != nil {
			return router.Identity{}, err
		}
		answer, err := l.Challenge(ctx, extra)
		if err != nil {
			return router.Identity{}, err
		}
		if answer.Signature != secret {
			return router.Identity{}, &wampcore.Error{URI: wampcore.ErrAuthenticationDenied, Message: "wrong"}
		}
	}
	return router.Identity{AuthID: l.AuthID, AuthRole: "backend", Provider: "test"}, nil
}

// guard is a test of a router whose realm has authenticators.
type guard struct {
	*testing.T
	r *router.Router
}

// guarded runs f in a bubble, with a router whose realm knows the methods.
func guarded(t *testing.T, methods map[string]router.Authenticator, f func(*guard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r, err := router.New(router.Config{Realms: []router.RealmConfig{{Name: "realm1", Authenticators: methods}}})
		if err != nil {
			t.Fatal(err)
		}
		f(&guard{t, r})
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func sayHello(tb testing.TB, r *router.Router, methods ...string) *wamptest.Peer {
	tb.Helper()
	p := wamptest.New(tb, r.Dial())
	p.Send(&wampcore.Hello{Realm: "realm1", Details: wampcore.HelloDetails{
		Roles: wampcore.NewRoles(wampcore.RoleCaller), AuthMethods: methods, AuthID: "joe",
	}})
	return p
}

func expectRefusal(tb testing.TB, p *wamptest.Peer, uri wampcore.URI) {
	tb.Helper()
	if m := wamptest.Expect[*wampcore.Abort](p); m.Reason != uri {
		tb.Errorf("got %s, want %s", m.Reason, uri)
	}
	p.ExpectClosed()
}

func TestPeerIsWhoItsAuthenticatorSays(t *testing.T) {
	guarded(t, map[string]router.Authenticator{"secrets": asked(twoSecrets)}, func(t *guard) {
		p := sayHello(t, t.r, "unknown", "secrets")
		var session wampcore.ID
		for _, secret := range []string{"one", "two"} {
			c := wamptest.Expect[*wampcore.Challenge](p)
			var extra struct {
				Which   string      `codec:"which"`
				Session wampcore.ID `codec:"session"`
			}
			if err := c.Extra.Decode(&extra); err != nil || c.AuthMethod != "secrets" || extra.Which != secret {
				t.Errorf("got %+v, %v", c, err)
			}
			session = extra.Session
			p.Send(&wampcore.Authenticate{Signature: secret})
		}
		w := wamptest.Expect[*wampcore.Welcome](p)
		d := w.Details
		if w.Session != session || d.AuthID != "joe" || d.AuthRole != "backend" || d.AuthMethod != "secrets" || d.AuthProvider != "test" {
			t.Errorf("got %+v", w)
		}
		p.Close()
	})
}

func TestPeerThatIsNotAuthenticatedIsToldWhyAndLeft(t *testing.T) {
	slow := asked(func(ctx context.Context, _ *router.Login) (router.Identity, error) {
		<-ctx.Done()
		return router.Identity{}, ctx.Err()
	})
	broken := asked(func(context.Context, *router.Login) (router.Identity, error) {
		return router.Identity{}, errors.New("the database is down: secret text")
	})
	deaf := asked(func(ctx context.Context, l *router.Login) (router.Identity, error) {
		_, _ = l.Challenge(ctx, wampcore.Raw{})
		return router.Identity{AuthID: "root"}, nil // whatever came
	})
	methods := map[string]router.Authenticator{"secrets": asked(twoSecrets), "slow": slow, "broken": broken, "deaf": deaf}
	for _, c := range []struct {
		methods []string
		sends   wampcore.Message // in answer to CHALLENGE
		want    wampcore.URI
	}{
		{nil, nil, wampcore.ErrNoMatchingAuthMethod},
		{[]string{"anonymous"}, nil, wampcore.ErrNoMatchingAuthMethod},
		{[]string{"secrets"}, &wampcore.Authenticate{Signature: "no"}, wampcore.ErrAuthenticationDenied},
		{[]string{"secrets"}, &wampcore.Hello{Realm: "realm1"}, wampcore.ErrProtocolViolation},
		{[]string{"deaf"}, &wampcore.Call{Request: 1, Procedure: "p"}, wampcore.ErrProtocolViolation},
		{[]string{"broken"}, nil, wampcore.ErrAuthenticationFailed},
		{[]string{"slow"}, nil, wampcore.ErrProtocolViolation}, // no HELLO that leads to a session in time
	} {
		guarded(t, methods, func(t *guard) {
			p := sayHello(t, t.r, c.methods...)
			if c.sends != nil {
				wamptest.Expect[*wampcore.Challenge](p)
				p.Send(c.sends)
			}
			expectRefusal(t, p, c.want)
		})
	}
}

func TestPeerMayGiveUpWhileItIsAuthenticated(t *testing.T) {
	guarded(t, map[string]router.Authenticator{"secrets": asked(twoSecrets)}, func(t *guard) {
		p := sayHello(t, t.r, "secrets")
		wamptest.Expect[*wampcore.Challenge](p)
		p.Send(&wampcore.Abort{Reason: wampcore.ErrAuthenticationFailed})
		p.ExpectClosed()
		p = sayHello(t, t.r, "secrets")
		wamptest.Expect[*wampcore.Challenge](p)
		p.Close()
	})
}

func TestShutdownDoesNotWaitForAnAuthenticator(t *testing.T) {
	entered := make(chan struct{}, 1)
	slow := asked(func(ctx context.Context, _ *router.Login) (router.Identity, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return router.Identity{}, ctx.Err()
	})
	r, err := router.New(router.Config{
		Realms: []router.RealmConfig{{Name: "realm1", Authenticators: map[string]router.Authenticator{"slow": slow}}}, HelloTimeout: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := sayHello(t, r, "slow")
	<-entered
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	expectRefusal(t, p, wampcore.CloseSystemShutdown)
}

func TestProgramVouchesForItsOwnPeers(t *testing.T) {
	guarded(t, map[string]router.Authenticator{"secrets": asked(twoSecrets)}, func(t *guard) {
		s, err := client.Join(t.Context(), t.r.DialAs(router.Identity{AuthID: "metrics", AuthRole: "internal"}), client.Config{Realm: "realm1"})
		if err != nil {
			t.Fatal(err)
		}
		if d := s.Welcome().Details; d.AuthID != "metrics" || d.AuthRole != "internal" || d.AuthMethod != "internal" {
			t.Errorf("got %+v", d)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestPeerThatIsVouchedForInOneRealmIsLetInToNoOther(t *testing.T) {
	guarded(t, map[string]router.Authenticator{"ticket": router.Anonymous{}}, func(g *guard) {
		join := func(only wampcore.URI) error {
			transport := g.r.DialAs(router.Identity{AuthID: "joe", AuthRole: "user", Realm: only})
			s, err := client.Join(g.Context(), transport, client.Config{Realm: "realm1"})
			if err == nil {
				err = s.Close(g.Context())
			}
			return err
		}
		if err := join("realm1"); err != nil {
			g.Error(err)
		}
		refusal, ok := errors.AsType[*wampcore.Error](join("realm2"))
		if !ok || refusal.URI != wampcore.ErrNotAuthorized {
			g.Errorf("got %v", refusal)
		}
	})
}

func TestSessionEndsWhenItsIdentityExpires(t *testing.T) {
	minute := asked(func(context.Context, *router.Login) (router.Identity, error) {
		return router.Identity{AuthID: "joe", AuthRole: "user", Expires: time.Now().Add(time.Minute)}, nil
	})
	guarded(t, map[string]router.Authenticator{"anonymous": minute}, func(g *guard) {
		s, err := client.Join(g.Context(), g.r.Dial(), client.Config{Realm: "realm1"})
		if err != nil {
			g.Fatal(err)
		}
		began := time.Now()
		<-s.Done()
		if lived := time.Since(began); lived != time.Minute || !strings.Contains(s.Err().Error(), "expired") {
			g.Errorf("it lived for %s and ended with %v", lived, s.Err())
		}
	})
}

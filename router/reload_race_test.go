package router_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

func TestWhoLogsInWhileTheConfigurationChangesIsLetInByTheNewOne(t *testing.T) {
	realm := func(who people) router.RealmConfig {
		return router.RealmConfig{Name: realm1, Authenticators: map[string]router.Authenticator{"ticket": router.Ticket{Principals: who}}}
	}
	joe := &router.Principal{AuthRole: "r", Ticket: "joe's"}
	for name, c := range map[string]struct {
		now  people
		want wampcore.URI // empty: it is let in
	}{
		"principal gone":  {people{}, wampcore.CloseKilled},
		"another role":    {people{"joe": {AuthRole: "other", Ticket: "joe's"}}, wampcore.CloseKilled},
		"nothing changes": {people{"joe": joe}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRouter(t, func(c *router.Config) { c.Realms = []router.RealmConfig{realm(people{"joe": joe})} })
			p, _ := challenged(t, r, "ticket", "joe", nil)
			reconfigure(t, r, realm(c.now))
			p.Send(&wampcore.Authenticate{Signature: "joe's"})
			if c.want == "" {
				wamptest.Expect[*wampcore.Welcome](p)
				return
			}
			expectAbort(t, p, c.want)
		})
	}
}

// doubtful lets everybody in, and says later, when it is asked, that it would not have.
type doubtful struct{ asked, answer chan struct{} }

func (doubtful) Authenticate(context.Context, *router.Login) (router.Identity, error) {
	return router.Identity{AuthRole: "r"}, nil
}

func (d doubtful) Holds(context.Context, router.SessionDetails) (bool, error) {
	d.asked <- struct{}{}
	<-d.answer
	return false, nil
}

func TestSessionThatFollowsOneWhoseLoginDoesNotHoldGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := doubtful{make(chan struct{}), make(chan struct{})}
		realm := router.RealmConfig{Name: realm1, Authenticators: map[string]router.Authenticator{"anonymous": d}}
		r := newRouter(t, func(c *router.Config) { c.Realms = []router.RealmConfig{realm} })
		p, _ := join(t, r, realm1, allFeatures())
		done := make(chan error)
		go func() { done <- r.Reconfigure([]router.RealmConfig{realm}) }()
		<-d.asked
		p.Send(&wampcore.Goodbye{Reason: wampcore.CloseRealm})
		wamptest.Expect[*wampcore.Goodbye](p)
		p.Join(realm1, allFeatures()) // on the same connection
		close(d.answer)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		subscribe(p, 1, "t")
	})
}

func TestCallsThatEndWithTheirRealmAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t, func(c *router.Config) { c.Realms = []router.RealmConfig{{Name: realm1}} })
		callee, caller := peer(t, r), peer(t, r)
		register(callee, 1, "p")
		caller.Send(&wampcore.Call{Request: 1, Procedure: "p"})
		wamptest.Expect[*wampcore.Invocation](callee)
		reconfigure(t, r, router.RealmConfig{Name: "other"})
		synctest.Wait()
		calls := r.Stats().Calls
		if n := calls["canceled"] + calls["callee_gone"]; n != 1 {
			t.Errorf("got %v", calls)
		}
	})
}

// broken has a bug.
type broken struct{}

func (broken) Authenticate(context.Context, *router.Login) (router.Identity, error) {
	panic("a bug")
}

func TestAuthenticatorThatPanicsCostsOneConnection(t *testing.T) {
	r := newRouter(t, func(c *router.Config) {
		c.Realms = append(c.Realms, router.RealmConfig{Name: "buggy", Authenticators: map[string]router.Authenticator{"anonymous": broken{}}})
	})
	p := wamptest.New(t, r.Dial())
	p.Send(&wampcore.Hello{Realm: "buggy", Details: wampcore.HelloDetails{Roles: allFeatures()}})
	p.ExpectClosed()
	peer(t, r)
}

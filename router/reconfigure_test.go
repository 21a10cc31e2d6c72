package router_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

func may(a router.Action, uris ...wampcore.URI) router.Role {
	var role router.Role
	for _, uri := range uris {
		role.Permissions = append(role.Permissions, router.Permission{URI: uri, Match: wampcore.MatchPrefix, Allow: a})
	}
	return role
}

func reconfigure(tb testing.TB, r *router.Router, realms ...router.RealmConfig) {
	tb.Helper()
	if err := r.Reconfigure(realms); err != nil {
		tb.Fatal(err)
	}
}

func inRealm1(roles map[string]router.Role) router.RealmConfig {
	return router.RealmConfig{Name: realm1, Roles: roles}
}

func TestWhatIsNotAllowedAnyMoreIsRevoked(t *testing.T) {
	all := may(router.AllActions, "")
	r := ruled(t, map[string]router.Role{"r": all, "all": all})
	p, plain, other := as(t, r, "r"), wamptest.New(t, r.DialAs(router.Identity{AuthRole: "r"})), as(t, r, "all")
	plain.Join(realm1, wampcore.NewRoles(wampcore.RoleSubscriber, wampcore.RoleCallee))
	kept, lost := subscribe(p, 1, "com.kept"), subscribe(p, 2, "com.lost")
	keptReg, lostReg := register(p, 3, "com.kept"), register(p, 4, "com.lost")
	p.Send(&wampcore.Subscribe{Request: 5, Topic: "com.", Options: wampcore.SubscribeOptions{Match: wampcore.MatchPrefix}})
	pattern := wamptest.Expect[*wampcore.Subscribed](p).Subscription
	subscribe(plain, 1, "com.lost")
	p.Send(&wampcore.Call{Request: 6, Procedure: "wamp.session.add_testament", Payload: args(`["com.lost",["gone"],{}]`)})
	wamptest.Expect[*wampcore.Result](p)
	subscribe(other, 1, "com.lost")

	reconfigure(t, r, inRealm1(map[string]router.Role{"r": may(router.AllActions, "com.kept"), "all": all}))
	for _, id := range []wampcore.ID{lost, pattern} {
		if m := wamptest.Expect[*wampcore.Unsubscribed](p); m.Request != 0 || m.Details.ID != id || m.Details.Reason == "" {
			t.Errorf("got %+v, want %d", m, id)
		}
	}
	if m := wamptest.Expect[*wampcore.Unregistered](p); m.Request != 0 || m.Details.ID != lostReg {
		t.Errorf("got %+v, want %d", m, lostReg)
	}
	if again := register(p, 7, "com.kept.too"); again == keptReg {
		t.Errorf("got registration %d", again)
	}
	p.Send(&wampcore.Unsubscribe{Request: 8, Subscription: kept})
	wamptest.Expect[*wampcore.Unsubscribed](p)
	p.Send(&wampcore.Publish{Request: 9, Topic: "com.lost", Options: wampcore.PublishOptions{Acknowledge: true}})
	expectError(t, p, wampcore.TypePublish, 9, wampcore.ErrNotAuthorized)

	// Who does not know of revocation is told nothing, and gets nothing. Nor is there a testament.
	p.Send(&wampcore.Goodbye{Reason: wampcore.CloseRealm})
	wamptest.Expect[*wampcore.Goodbye](p)
	other.Send(&wampcore.Publish{Request: 2, Topic: "com.lost", Options: wampcore.PublishOptions{IncludeMe: true}})
	if e := wamptest.Expect[*wampcore.Event](other); len(e.Payload.Args) != 0 {
		t.Errorf("got %s", e.Payload.Args)
	}
	plain.Send(&wampcore.Unsubscribe{Request: 2, Subscription: lost})
	expectError(t, plain, wampcore.TypeUnsubscribe, 2, wampcore.ErrNoSuchSubscription)
}

func TestBrokenConfigurationChangesNothing(t *testing.T) {
	r := ruled(t, map[string]router.Role{"r": may(router.AllActions, "")})
	p := as(t, r, "r")
	for _, realms := range [][]router.RealmConfig{
		nil,
		{{Name: "not a uri"}},
		{{Name: realm1}, {Name: realm1}},
		{{Name: "new"}, {Name: realm1, Roles: map[string]router.Role{"r": {Permissions: []router.Permission{{URI: "#"}}}}}},
		{{Name: "t.", OnDemand: &router.OnDemand{}}},
		{{Name: "t#", OnDemand: &router.OnDemand{Match: wampcore.MatchPrefix}}},
	} {
		if err := r.Reconfigure(realms); err == nil {
			t.Errorf("%+v is taken", realms)
		}
	}
	subscribe(p, 1, "com.a")
	if r.HasRealm("new") {
		t.Error("half of a configuration is in force")
	}
}

func TestRealmsAndRolesComeAndGo(t *testing.T) {
	all := map[string]router.Role{"r": may(router.AllActions, ""), "s": may(router.AllActions, "")}
	r := newRouter(t, func(c *router.Config) { c.Realms = []router.RealmConfig{inRealm1(all), {Name: "old"}} })
	p, _ := join(t, r, "old", allFeatures())
	stays, goes := as(t, r, "r"), as(t, r, "s")
	delete(all, "s")
	reconfigure(t, r, inRealm1(map[string]router.Role{"r": all["r"]}), router.RealmConfig{Name: "new"})
	for _, c := range []struct {
		p    *wamptest.Peer
		want wampcore.URI
	}{{p, wampcore.CloseRealm}, {goes, wampcore.ErrNoSuchRole}} {
		if m := wamptest.Expect[*wampcore.Goodbye](c.p); m.Reason != c.want {
			t.Errorf("got %s, want %s", m.Reason, c.want)
		}
		c.p.ExpectClosed()
	}
	subscribe(stays, 1, "com.a")
	join(t, r, "new", allFeatures())
	p = wamptest.New(t, r.Dial())
	p.Send(&wampcore.Hello{Realm: "old", Details: wampcore.HelloDetails{Roles: allFeatures()}})
	expectAbort(t, p, wampcore.ErrNoSuchRealm)
}

func TestSessionsEndWithTheirPrincipal(t *testing.T) {
	who := people{"joe": {AuthRole: "r", Ticket: "joe's"}, "ann": {AuthRole: "r", Ticket: "ann's"}, "eve": {AuthRole: "r", Ticket: "eve's"}}
	realm := func(who people) router.RealmConfig {
		return router.RealmConfig{Name: realm1, Authenticators: map[string]router.Authenticator{"ticket": router.Ticket{Principals: who}}}
	}
	r := newRouter(t, func(c *router.Config) { c.Realms = []router.RealmConfig{realm(who)} })
	peers := map[string]*wamptest.Peer{}
	for name := range who {
		p, _ := challenged(t, r, "ticket", name, nil)
		p.Send(&wampcore.Authenticate{Signature: name + "'s"})
		wamptest.Expect[*wampcore.Welcome](p)
		peers[name] = p
	}
	reconfigure(t, r, realm(people{"joe": {AuthRole: "r", Ticket: "another"}, "eve": {AuthRole: "other", Ticket: "eve's"}}))
	for _, name := range []string{"ann", "eve"} {
		if m := wamptest.Expect[*wampcore.Goodbye](peers[name]); m.Reason != wampcore.CloseKilled {
			t.Errorf("%s: got %s", name, m.Reason)
		}
	}
	peers["joe"].Send(&wampcore.Call{Request: 1, Procedure: "wamp.session.count"})
	wamptest.Expect[*wampcore.Result](peers["joe"])
	reconfigure(t, r, router.RealmConfig{Name: realm1}) // nobody has a ticket any more
	wamptest.Expect[*wampcore.Goodbye](peers["joe"])
}

func TestRealmsOnDemandAreBoundedAndEndWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := router.New(router.Config{Realms: []router.RealmConfig{
			{Name: realm1},
			{Name: "tenant.", OnDemand: &router.OnDemand{Match: wampcore.MatchPrefix, Max: 2, IdleTimeout: time.Minute}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		refused := func(realm, want wampcore.URI) {
			t.Helper()
			p := wamptest.New(t, r.Dial())
			p.Send(&wampcore.Hello{Realm: realm, Details: wampcore.HelloDetails{Roles: allFeatures()}})
			expectAbort(t, p, want)
		}
		a, _ := join(t, r, "tenant.a", allFeatures())
		b, _ := join(t, r, "tenant.b", allFeatures())
		second, _ := join(t, r, "tenant.b", allFeatures())
		subscribe(a, 1, "com.t")
		subscribe(b, 1, "com.t")
		second.Send(&wampcore.Publish{Request: 1, Topic: "com.t", Options: wampcore.PublishOptions{Retain: true}})
		wamptest.Expect[*wampcore.Event](b)
		refused("tenant.c", wampcore.ErrLimitExceeded)
		refused("other.c", wampcore.ErrNoSuchRealm)
		b.Close()
		second.Close()
		time.Sleep(59 * time.Second) //nolint:forbidigo // of the bubble's time
		refused("tenant.c", wampcore.ErrLimitExceeded)
		time.Sleep(2 * time.Second) //nolint:forbidigo // of the bubble's time
		synctest.Wait()
		join(t, r, "tenant.c", allFeatures())
		refused("tenant.b", wampcore.ErrLimitExceeded)
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestNoSubscriptionSlipsThroughWhileRulesChange(t *testing.T) {
	open, shut := inRealm1(map[string]router.Role{"r": may(router.AllActions, "")}), inRealm1(map[string]router.Role{"r": may(router.AllActions, "wamp.")})
	r := newRouter(t, func(c *router.Config) { c.Realms = []router.RealmConfig{open} })
	var changing sync.WaitGroup
	stop := make(chan struct{})
	changing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = r.Reconfigure([]router.RealmConfig{shut}), r.Reconfigure([]router.RealmConfig{open})
			}
		}
	})
	p := wamptest.New(t, r.DialAs(router.Identity{AuthRole: "r"}))
	p.Join(realm1, wampcore.NewRoles(wampcore.RoleSubscriber, wampcore.RoleCaller, wampcore.RoleCallee))
	for i := range 2000 {
		m, _ := request(router.ActionSubscribe, wampcore.ID(i+1), "com.a", wampcore.MatchExact)
		p.Send(m)
		mustReceive(t, p)
	}
	close(stop)
	changing.Wait()
	reconfigure(t, r, shut)
	p.Send(&wampcore.Call{Request: 2001, Procedure: "wamp.subscription.lookup", Payload: args(`["com.a"]`)})
	if m := wamptest.Expect[*wampcore.Result](p); string(m.Payload.Args) != "[null]" {
		t.Errorf("got %s", m.Payload.Args)
	}
}

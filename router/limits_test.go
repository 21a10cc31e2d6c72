package router_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// limited runs f in a bubble, with a router whose realm has a role r with these limits, and one without.
func limited(t *testing.T, each, together router.Limits, f func(*court)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		role := may(router.AllActions, "")
		role.Limits, role.Principal = each, together
		r := ruled(t, map[string]router.Role{"r": role, "all": may(router.AllActions, "")})
		f(&court{t, as(t, r, "r"), r})
	})
}

func TestHoldingsAreBoundedForASessionAndAPrincipal(t *testing.T) {
	two := router.Limits{Calls: 2, Subscriptions: 2, Registrations: 2}
	for name, c := range map[string]struct {
		each, together router.Limits
		second         bool // another session of the principal may hold more
	}{"session": {two, router.Limits{}, true}, "principal": {router.Limits{}, two, false}} {
		for _, a := range []router.Action{router.ActionCall, router.ActionSubscribe, router.ActionRegister} {
			limited(t, c.each, c.together, func(t *court) {
				callee := as(t, t.r, "all")
				register(callee, 1, "p")
				ask := func(p *wamptest.Peer, i int, want bool) {
					t.Helper()
					uri := wampcore.URI(fmt.Sprintf("com.%d", i))
					if a == router.ActionCall {
						uri = "p"
					}
					m, _ := request(a, wampcore.ID(i), uri, wampcore.MatchExact)
					p.Send(m)
					synctest.Wait()
					if a == router.ActionCall && want {
						for mustReceive(t, callee).Type() != wampcore.TypeInvocation { // the first session's are interrupted when it leaves
						}
						return
					}
					e, failed := mustReceive(t, p).(*wampcore.ErrorMsg)
					if failed == want || failed && e.URI != wampcore.ErrLimitExceeded {
						t.Errorf("%s, %s %d: got %+v", name, a, i, e)
					}
				}
				ask(t.p, 1, true)
				ask(t.p, 2, true)
				ask(t.p, 3, false)
				second := as(t, t.r, "r")
				ask(second, 4, c.second)
				t.p.Close()
				synctest.Wait()
				ask(second, 5, true) // what was held is free again
				stats := t.r.Stats()
				if n := stats.Refusals["calls"] + stats.Refusals["subscriptions"] + stats.Refusals["registrations"]; n == 0 {
					t.Errorf("got %+v", stats.Refusals)
				}
			})
		}
	}
}

func TestSessionsAreBounded(t *testing.T) {
	for name, c := range map[string]struct{ each, together router.Limits }{
		"role":      {router.Limits{Sessions: 2}, router.Limits{}},
		"principal": {router.Limits{}, router.Limits{Sessions: 2}},
	} {
		limited(t, c.each, c.together, func(t *court) {
			as(t, t.r, "r")
			p := wamptest.New(t, t.r.DialAs(router.Identity{AuthID: "joe", AuthRole: "r"}))
			p.Send(&wampcore.Hello{Realm: realm1, Details: wampcore.HelloDetails{Roles: allFeatures()}})
			expectAbort(t, p, wampcore.ErrLimitExceeded)
			other := wamptest.New(t, t.r.DialAs(router.Identity{AuthID: "ann", AuthRole: "r"}))
			other.Send(&wampcore.Hello{Realm: realm1, Details: wampcore.HelloDetails{Roles: allFeatures()}})
			if m := mustReceive(t, other); (m.Type() == wampcore.TypeWelcome) != (name == "principal") {
				t.Errorf("%s: got %T", name, m)
			}
			t.p.Close()
			synctest.Wait()
			as(t, t.r, "all")
			if name == "principal" {
				as(t, t.r, "r")
			}
			if n := t.r.Stats().Refusals["sessions"]; n == 0 {
				t.Errorf("%s: nothing is counted", name)
			}
		})
	}
}

func TestRequestsBeyondTheRateAreRefusedAndFloodsEnd(t *testing.T) {
	rate := router.Limits{Rate: 10, Burst: 5}
	for _, c := range []struct{ each, together router.Limits }{{rate, router.Limits{}}, {router.Limits{}, rate}} {
		limited(t, c.each, c.together, func(t *court) {
			id := wampcore.ID(0)
			count := func(n int) (ok int) {
				for range n {
					id++
					if uri, done := tried(t, t.p, router.ActionPublish, id, "com.a", wampcore.MatchExact); done {
						ok++
					} else if uri != wampcore.ErrLimitExceeded {
						t.Errorf("got %s", uri)
					}
				}
				return ok
			}
			if ok := count(8); ok != 5 {
				t.Errorf("%d of 8 are taken, want 5", ok)
			}
			time.Sleep(500 * time.Millisecond) //nolint:forbidigo // of the bubble's time
			if ok := count(6); ok != 5 {
				t.Errorf("%d of 6 are taken, want 5", ok)
			}
			for range 20 {
				id++
				t.p.Send(&wampcore.Publish{Request: id, Topic: "com.a"})
			}
			if m := wamptest.Expect[*wampcore.Goodbye](t.p); m.Reason != wampcore.ErrLimitExceeded {
				t.Errorf("got %s", m.Reason)
			}
			synctest.Wait()
			if stats := t.r.Stats(); stats.Refusals["rate"] == 0 || stats.Refusals["flood"] != 1 {
				t.Errorf("got %+v", stats.Refusals)
			}
		})
	}
}

func TestAnswersAreNotRefusedForTheirRate(t *testing.T) {
	limited(t, router.Limits{Rate: 1, Burst: 3}, router.Limits{}, func(t *court) {
		register(t.p, 1, "p")
		caller := as(t, t.r, "all")
		for i := range 4 {
			caller.Send(&wampcore.Call{Request: wampcore.ID(i + 1), Procedure: "p"})
			inv := wamptest.Expect[*wampcore.Invocation](t.p)
			t.p.Send(&wampcore.Yield{Request: inv.Request})
			wamptest.Expect[*wampcore.Result](caller)
		}
	})
}

func TestPayloadsAreBounded(t *testing.T) {
	limited(t, router.Limits{MessageBytes: 100}, router.Limits{}, func(t *court) {
		fits, large := args(`["`+strings.Repeat("x", 96)+`"]`), args(`["`+strings.Repeat("x", 97)+`"]`)
		register(t.p, 1, "p")
		other := as(t, t.r, "all")
		register(other, 1, "q")
		t.p.Send(&wampcore.Call{Request: 2, Procedure: "q", Payload: large})
		expectError(t, t.p, wampcore.TypeCall, 2, wampcore.ErrPayloadSizeExceeded)
		t.p.Send(&wampcore.Publish{Request: 3, Topic: "t", Payload: large, Options: wampcore.PublishOptions{Acknowledge: true}})
		expectError(t, t.p, wampcore.TypePublish, 3, wampcore.ErrPayloadSizeExceeded)
		t.p.Send(&wampcore.Publish{Request: 4, Topic: "t", Payload: fits, Options: wampcore.PublishOptions{Acknowledge: true}})
		wamptest.Expect[*wampcore.Published](t.p)

		t.p.Send(&wampcore.Call{Request: 5, Procedure: "q", Options: wampcore.CallOptions{Progress: true}})
		wamptest.Expect[*wampcore.Invocation](other)
		t.p.Send(&wampcore.Call{Request: 5, Procedure: "q", Payload: large})
		expectError(t, t.p, wampcore.TypeCall, 5, wampcore.ErrPayloadSizeExceeded)
		wamptest.Expect[*wampcore.Interrupt](other)

		for i := range 2 {
			other.Send(&wampcore.Call{Request: wampcore.ID(i + 2), Procedure: "p", Payload: large}) // another role may
			inv := wamptest.Expect[*wampcore.Invocation](t.p)
			if i == 0 {
				t.p.Send(&wampcore.Yield{Request: inv.Request, Payload: large})
			} else {
				t.p.Send(&wampcore.ErrorMsg{RequestType: wampcore.TypeInvocation, Request: inv.Request, URI: "com.e", Payload: large})
			}
			wamptest.Expect[*wampcore.Interrupt](t.p)
			expectError(t, other, wampcore.TypeCall, wampcore.ID(i+2), wampcore.ErrPayloadSizeExceeded)
		}
	})
}

func TestQueuesOfAPrincipalAreBoundedTogether(t *testing.T) {
	// A pipe takes 256 messages; what comes then waits in the router.
	limited(t, router.Limits{}, router.Limits{QueueMessages: 50}, func(t *court) {
		first, second := t.p, as(t, t.r, "r")
		subscribe(first, 1, "com.first")
		subscribe(second, 1, "com.second")
		pub := as(t, t.r, "all")
		for i := range 340 {
			topic := wampcore.URI("com.first")
			if i >= 310 {
				topic = "com.second"
			}
			pub.Send(&wampcore.Publish{Request: wampcore.ID(i + 1), Topic: topic, Options: wampcore.PublishOptions{Acknowledge: true}})
			wamptest.Expect[*wampcore.Published](pub)
		}
		synctest.Wait()
		stats := t.r.Stats()
		if stats.SlowConsumers != 1 || stats.QueueMessages > 50 {
			t.Errorf("got %+v", stats)
		}
	})
}

func TestLimitsCountAtOnceWhenTheyChange(t *testing.T) {
	limited(t, router.Limits{}, router.Limits{}, func(t *court) {
		subscribe(t.p, 1, "a")
		role := may(router.AllActions, "")
		role.Limits = router.Limits{Subscriptions: 1, Rate: 1, Burst: 2}
		reconfigure(t, t.r, inRealm1(map[string]router.Role{"r": role}))
		for i, want := range []bool{true, true, false} {
			if uri, ok := tried(t, t.p, router.ActionPublish, wampcore.ID(i+2), "a", wampcore.MatchExact); ok != want {
				t.Errorf("%d: got %s, want %t", i, uri, want)
			}
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // of the bubble's time
		if uri, ok := tried(t, t.p, router.ActionSubscribe, 5, "b", wampcore.MatchExact); ok || uri != wampcore.ErrLimitExceeded {
			t.Errorf("got %s", uri)
		}
	})
}

func TestStatsCountWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := router.New(router.Config{Realms: []router.RealmConfig{inRealm1(map[string]router.Role{"r": may(router.AllActions, "com.")})}})
		if err != nil {
			t.Fatal(err)
		}
		callee, caller := as(t, r, "r"), as(t, r, "r")
		register(callee, 1, "com.p")
		subscribe(callee, 2, "com.t")
		for i := range 5 {
			caller.Send(&wampcore.Call{Request: wampcore.ID(i + 1), Procedure: "com.p"})
			inv := wamptest.Expect[*wampcore.Invocation](callee)
			switch i {
			case 0:
				callee.Send(&wampcore.Yield{Request: inv.Request})
			case 1:
				callee.Send(&wampcore.ErrorMsg{RequestType: wampcore.TypeInvocation, Request: inv.Request, URI: "com.e"})
			case 2:
				caller.Send(&wampcore.Cancel{Request: 3})
				wamptest.Expect[*wampcore.Interrupt](callee)
			default:
				continue
			}
			mustReceive(t, caller)
		}
		caller.Send(&wampcore.Call{Request: 6, Procedure: "com.none"})
		expectError(t, caller, wampcore.TypeCall, 6, wampcore.ErrNoSuchProcedure)
		caller.Send(&wampcore.Publish{Request: 7, Topic: "com.t"})
		wamptest.Expect[*wampcore.Event](callee)
		caller.Send(&wampcore.Publish{Request: 8, Topic: "org.t"})
		synctest.Wait()
		got := r.Stats()
		if got.Sessions[router.SessionKind{Transport: "pipe"}] != 2 || got.Registrations != 1 || got.Subscriptions != 1 || got.OpenCalls != 2 ||
			got.Realms != 1 || got.Connections != 2 || got.Joined != 2 || got.Publications != 1 || got.Events != 1 || got.QueueBytes != 0 {
			t.Errorf("got %+v", got)
		}
		callee.Close()
		synctest.Wait()
		got = r.Stats()
		for result, want := range map[string]uint64{"ok": 1, "error": 1, "canceled": 1, "callee_gone": 2, "no_such_procedure": 1, "timeout": 0} {
			if got.Calls[result] != want {
				t.Errorf("%s: got %d, want %d", result, got.Calls[result], want)
			}
		}
		if got.Refusals["not_authorized"] != 1 {
			t.Errorf("got %+v", got.Refusals)
		}
		reconfigure(t, r, router.RealmConfig{Name: "another"})
		synctest.Wait()
		if got = r.Stats(); got.Calls["ok"] != 1 || got.Publications != 1 || len(got.Sessions) != 0 || got.OpenCalls != 0 {
			t.Errorf("got %+v", got)
		}
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestHighRatesAreExactToAStep(t *testing.T) {
	const burst = 20_000
	limited(t, router.Limits{Rate: 1, Burst: burst}, router.Limits{}, func(t *court) {
		taken := 0
		for id := wampcore.ID(1); ; id++ { // the bubble's time stands still
			t.p.Send(&wampcore.Subscribe{Request: id, Topic: "t"})
			if m, refused := mustReceive(t, t.p).(*wampcore.ErrorMsg); refused {
				if m.URI != wampcore.ErrLimitExceeded {
					t.Fatalf("got %s", m.URI)
				}
				break
			}
			taken++
		}
		if taken < burst || taken > burst+burst/4096 {
			t.Errorf("%d are taken at once, want about %d", taken, burst)
		}
	})
}

func TestQueuesOfAPrincipalAreBoundedByDefault(t *testing.T) {
	// Six sessions that do not read: none has more than it may, all of them have more than the four times that of a principal.
	const each, sessions, waiting = 10_000, 6, 8_000
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t, func(c *router.Config) { c.QueueBytes = each })
		for range sessions {
			subscribe(as(t, r, "r"), 1, "com.t")
		}
		pub := as(t, r, "publisher")
		const pipe, size = 256, 1_000
		for i := range pipe + waiting/size {
			pub.Send(&wampcore.Publish{Request: wampcore.ID(i + 1), Topic: "com.t", Payload: args(`["` + strings.Repeat("x", size-100) + `"]`), Options: wampcore.PublishOptions{Acknowledge: true}})
			wamptest.Expect[*wampcore.Published](pub)
		}
		synctest.Wait()
		if stats := r.Stats(); stats.SlowConsumers == 0 || stats.SlowConsumers == sessions || stats.QueueBytes > 4*each {
			t.Errorf("got %d slow, %d bytes", stats.SlowConsumers, stats.QueueBytes)
		}
	})
}

func TestURIsThatAreKeptAreBounded(t *testing.T) {
	r := newRouter(t)
	p := peer(t, r)
	for i, fits := range []bool{true, false} {
		uri := wampcore.URI(strings.Repeat("x", 1024+i))
		for j, m := range []wampcore.Message{
			&wampcore.Subscribe{Topic: uri},
			&wampcore.Subscribe{Topic: uri, Options: wampcore.SubscribeOptions{Match: wampcore.MatchPrefix}},
			&wampcore.Register{Procedure: uri},
			&wampcore.Call{Procedure: "wamp.reflect.define", Payload: args(fmt.Sprintf(`[%q,{"type":"topic"}]`, uri))},
		} {
			p.Send(m)
			e, refused := mustReceive(t, p).(*wampcore.ErrorMsg)
			if refused == fits || refused && e.URI != wampcore.ErrInvalidURI {
				t.Errorf("%d bytes, %d: got %+v", len(uri), j, e)
			}
		}
		stranger := wamptest.New(t, r.Dial())
		stranger.Send(&wampcore.Hello{Realm: uri, Details: wampcore.HelloDetails{Roles: allFeatures()}})
		want := wampcore.ErrInvalidURI
		if fits {
			want = wampcore.ErrNoSuchRealm
		}
		expectAbort(t, stranger, want)
	}
}

func TestWhatASessionHasAlreadyIsNotOneMore(t *testing.T) {
	one := router.Limits{Subscriptions: 1, Registrations: 1}
	for name, c := range map[string]struct{ each, together router.Limits }{"session": {one, router.Limits{}}, "principal": {router.Limits{}, one}} {
		limited(t, c.each, c.together, func(t *court) {
			if first, again := subscribe(t.p, 1, "t"), subscribe(t.p, 2, "t"); first != again {
				t.Errorf("%s: got %d, then %d", name, first, again)
			}
			var ids [2]wampcore.ID
			for i := range ids {
				t.p.Send(&wampcore.Register{Request: wampcore.ID(3 + i), Procedure: "p", Options: wampcore.RegisterOptions{Invoke: wampcore.InvokeRandom}})
				ids[i] = wamptest.Expect[*wampcore.Registered](t.p).Registration
			}
			if ids[0] != ids[1] {
				t.Errorf("%s: got %v", name, ids)
			}
		})
	}
}

package router_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const realm1 wampcore.URI = "realm1"

// newRouter returns a router that the test's end shuts down.
func newRouter(tb testing.TB, change ...func(*router.Config)) *router.Router {
	tb.Helper()
	cfg := router.Config{Realms: []router.RealmConfig{
		{Name: realm1, Operators: []string{"anonymous"}},
		{Name: "strict", Strict: true, Disclosure: router.DiscloseNever},
		{Name: "open", Disclosure: router.DiscloseAlways, TrustLevels: map[string]int64{"anonymous": 3}},
	}}
	for _, f := range change {
		f(&cfg)
	}
	r, err := router.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			tb.Errorf("shutdown: %v", err)
		}
	})
	return r
}

// allFeatures is a client that announces what the router can make use of.
func allFeatures() wampcore.Roles {
	roles := wampcore.NewRoles(wampcore.RolePublisher, wampcore.RoleSubscriber, wampcore.RoleCaller)
	roles.Add(wampcore.RoleCallee, wampcore.CallCanceling, wampcore.ProgressiveCallResults)
	return roles
}

// join opens a session on realm, and says who it is.
func join(tb testing.TB, r *router.Router, realm wampcore.URI, roles wampcore.Roles) (*wamptest.Peer, wampcore.ID) {
	tb.Helper()
	p := wamptest.New(tb, r.Dial())
	p.Send(&wampcore.Hello{Realm: realm, Details: wampcore.HelloDetails{Roles: roles}})
	return p, wamptest.Expect[*wampcore.Welcome](p).Session
}

func peer(tb testing.TB, r *router.Router) *wamptest.Peer {
	tb.Helper()
	p, _ := join(tb, r, realm1, allFeatures())
	return p
}

func args(json string) wampcore.Payload {
	return wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(json)}
}

func subscribe(p *wamptest.Peer, request wampcore.ID, topic wampcore.URI) wampcore.ID {
	p.Send(&wampcore.Subscribe{Request: request, Topic: topic})
	return wamptest.Expect[*wampcore.Subscribed](p).Subscription
}

func register(p *wamptest.Peer, request wampcore.ID, procedure wampcore.URI) wampcore.ID {
	p.Send(&wampcore.Register{Request: request, Procedure: procedure})
	return wamptest.Expect[*wampcore.Registered](p).Registration
}

func expectError(tb testing.TB, p *wamptest.Peer, kind wampcore.MessageType, request wampcore.ID, uri wampcore.URI) {
	tb.Helper()
	e := wamptest.Expect[*wampcore.ErrorMsg](p)
	if e.RequestType != kind || e.Request != request || e.URI != uri {
		tb.Errorf("got ERROR %d %d %s, want %d %d %s", e.RequestType, e.Request, e.URI, kind, request, uri)
	}
}

func expectAbort(tb testing.TB, p *wamptest.Peer, reason wampcore.URI) {
	tb.Helper()
	if a := wamptest.Expect[*wampcore.Abort](p); a.Reason != reason {
		tb.Errorf("got ABORT %s (%s), want %s", a.Reason, a.Details.Message, reason)
	}
	p.ExpectClosed()
}

func TestCallReachesTheCalleeAndItsAnswerTheCaller(t *testing.T) {
	r := newRouter(t)
	callee, caller := peer(t, r), peer(t, r)
	reg := register(callee, 1, "com.example.add")
	caller.Send(&wampcore.Call{Request: 7, Procedure: "com.example.add", Payload: args("[2,3]")})
	inv := wamptest.Expect[*wampcore.Invocation](callee)
	if inv.Registration != reg || string(inv.Payload.Args) != "[2,3]" || inv.Request != 1 {
		t.Fatalf("invocation %+v", inv)
	}
	callee.Send(&wampcore.Yield{Request: inv.Request, Payload: args("[5]")})
	if res := wamptest.Expect[*wampcore.Result](caller); res.Request != 7 || string(res.Payload.Args) != "[5]" {
		t.Errorf("result %+v", res)
	}
}

func TestErrorOfACalleeReachesItsCallerUnchanged(t *testing.T) {
	r := newRouter(t)
	callee, caller := peer(t, r), peer(t, r)
	register(callee, 1, "p")
	caller.Send(&wampcore.Call{Request: 1, Procedure: "p"})
	inv := wamptest.Expect[*wampcore.Invocation](callee)
	callee.Send(&wampcore.ErrorMsg{RequestType: wampcore.TypeInvocation, Request: inv.Request, URI: "com.example.bad", Payload: args(`["why"]`)})
	e := wamptest.Expect[*wampcore.ErrorMsg](caller)
	if e.URI != "com.example.bad" || e.RequestType != wampcore.TypeCall || string(e.Payload.Args) != `["why"]` {
		t.Errorf("error %+v", e)
	}
}

func TestRequestsThatFailAreAnswered(t *testing.T) {
	r := newRouter(t)
	other := peer(t, r)
	foreign := subscribe(other, 1, "t")
	foreignReg := register(other, 2, "taken")
	p := peer(t, r)
	for _, c := range []struct {
		m    wampcore.Message
		kind wampcore.MessageType
		uri  wampcore.URI
	}{
		{&wampcore.Call{Request: 1, Procedure: "no.such"}, 48, wampcore.ErrNoSuchProcedure},
		{&wampcore.Call{Request: 1, Procedure: "not valid"}, 48, wampcore.ErrInvalidURI},
		{&wampcore.Call{Request: 1, Procedure: "wamp.no.such"}, 48, wampcore.ErrNoSuchProcedure},
		{&wampcore.Subscribe{Request: 1, Topic: "a..b"}, 32, wampcore.ErrInvalidURI},
		{&wampcore.Register{Request: 1, Procedure: "a..b"}, 64, wampcore.ErrInvalidURI},
		{&wampcore.Register{Request: 1, Procedure: "wamp.mine"}, 64, wampcore.ErrInvalidURI},
		{&wampcore.Register{Request: 1, Procedure: "taken"}, 64, wampcore.ErrProcedureAlreadyExists},
		{&wampcore.Publish{Request: 1, Topic: "wamp.mine", Options: wampcore.PublishOptions{Acknowledge: true}}, 16, wampcore.ErrInvalidURI},
		{&wampcore.Publish{Request: 1, Topic: "a b", Options: wampcore.PublishOptions{Acknowledge: true}}, 16, wampcore.ErrInvalidURI},
		{&wampcore.Unsubscribe{Request: 1, Subscription: 99}, 34, wampcore.ErrNoSuchSubscription},
		{&wampcore.Unsubscribe{Request: 1, Subscription: foreign}, 34, wampcore.ErrNoSuchSubscription},
		{&wampcore.Unregister{Request: 1, Registration: 99}, 66, wampcore.ErrNoSuchRegistration},
		{&wampcore.Unregister{Request: 1, Registration: foreignReg}, 66, wampcore.ErrNoSuchRegistration},
	} {
		p.Send(c.m)
		expectError(t, p, c.kind, 1, c.uri)
	}
}

func TestPeersThatBreakTheProtocolAreAborted(t *testing.T) {
	r := newRouter(t)
	for name, m := range map[string]wampcore.Message{
		"second HELLO":                  &wampcore.Hello{Realm: realm1, Details: wampcore.HelloDetails{Roles: allFeatures()}},
		"WELCOME":                       &wampcore.Welcome{Session: 1},
		"CHALLENGE":                     &wampcore.Challenge{AuthMethod: "x"},
		"EVENT":                         &wampcore.Event{Subscription: 1, Publication: 1},
		"YIELD that was never asked":    &wampcore.Yield{Request: 1},
		"ERROR that was never asked":    &wampcore.ErrorMsg{RequestType: wampcore.TypeInvocation, Request: 1, URI: "e"},
		"ERROR for another type":        &wampcore.ErrorMsg{RequestType: wampcore.TypeCall, Request: 1, URI: "e"},
		"progress that was not offered": &wampcore.Call{Request: 1, Procedure: "p", Options: wampcore.CallOptions{Progress: true}},
		"passthru that was not offered": &wampcore.Publish{Request: 1, Topic: "t", Options: wampcore.PublishOptions{Passthru: wampcore.Passthru{Scheme: "wamp"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := peer(t, r)
			p.Send(m)
			expectAbort(t, p, wampcore.ErrProtocolViolation)
		})
	}
}

func TestHandshakesThatCannotBeAreAborted(t *testing.T) {
	r := newRouter(t)
	hello := func(realm wampcore.URI, roles wampcore.Roles, methods ...string) wampcore.Message {
		return &wampcore.Hello{Realm: realm, Details: wampcore.HelloDetails{Roles: roles, AuthMethods: methods}}
	}
	for name, c := range map[string]struct {
		m      wampcore.Message
		reason wampcore.URI
	}{
		"unknown realm":      {hello("nowhere", allFeatures()), wampcore.ErrNoSuchRealm},
		"realm that is none": {hello("a b", allFeatures()), wampcore.ErrInvalidURI},
		"no roles":           {hello(realm1, wampcore.Roles{}), wampcore.ErrProtocolViolation},
		"a router's role":    {hello(realm1, wampcore.NewRoles(wampcore.RoleBroker)), wampcore.ErrProtocolViolation},
		"unknown method":     {hello(realm1, allFeatures(), "foo"), wampcore.ErrNoMatchingAuthMethod},
		"not HELLO":          {&wampcore.Call{Request: 1, Procedure: "p"}, wampcore.ErrProtocolViolation},
		"GOODBYE":            {&wampcore.Goodbye{Reason: wampcore.CloseRealm}, wampcore.ErrProtocolViolation},
	} {
		t.Run(name, func(t *testing.T) {
			p := wamptest.New(t, r.Dial())
			p.Send(c.m)
			expectAbort(t, p, c.reason)
		})
	}
	p := wamptest.New(t, r.Dial())
	p.Send(hello(realm1, allFeatures(), "foo", "anonymous"))
	wamptest.Expect[*wampcore.Welcome](p)
}

func TestAbortIsNeverAnswered(t *testing.T) {
	r := newRouter(t)
	p := peer(t, r)
	p.Send(&wampcore.Abort{Reason: wampcore.CloseRealm})
	p.ExpectClosed()
}

func TestPeerThatSaysNothingIsAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		p := wamptest.New(t, r.Dial())
		time.Sleep(9 * time.Second) //nolint:forbidigo // the bubble's clock
		p.Send(&wampcore.Hello{Realm: realm1, Details: wampcore.HelloDetails{Roles: allFeatures()}})
		wamptest.Expect[*wampcore.Welcome](p)
		silent := wamptest.New(t, r.Dial())
		expectAbort(t, silent, wampcore.ErrProtocolViolation)
	})
}

func TestGoodbyeIsAnsweredAndTheTransportTakesANewHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		p, first := join(t, r, "strict", allFeatures())
		subscribe(p, 1, "t")
		p.Send(&wampcore.Goodbye{Reason: wampcore.CloseRealm})
		if g := wamptest.Expect[*wampcore.Goodbye](p); g.Reason != wampcore.CloseGoodbyeAndOut {
			t.Errorf("reason %s", g.Reason)
		}
		p.Send(&wampcore.Hello{Realm: "strict", Details: wampcore.HelloDetails{Roles: allFeatures()}})
		if second := wamptest.Expect[*wampcore.Welcome](p).Session; second == first {
			t.Error("the session id is the same")
		}
		subscribe(p, 1, "t") // request ids begin again
		p.Send(&wampcore.Goodbye{Reason: wampcore.CloseRealm})
		wamptest.Expect[*wampcore.Goodbye](p)
		p.ExpectClosed() // after IdleTimeout
	})
}

func TestStrictRealmsInsistOnSequentialRequestIDs(t *testing.T) {
	r := newRouter(t)
	for _, second := range []wampcore.ID{1, 3} {
		p, _ := join(t, r, "strict", allFeatures())
		subscribe(p, 1, "t")
		p.Send(&wampcore.Subscribe{Request: second, Topic: "t"})
		expectAbort(t, p, wampcore.ErrProtocolViolation)
		lax := peer(t, r)
		subscribe(lax, 1, "t")
		subscribe(lax, second, "t")
	}
}

func TestRequestIDOfAnOpenCallCannotBeUsedAgain(t *testing.T) {
	r := newRouter(t)
	callee, caller := peer(t, r), peer(t, r)
	register(callee, 1, "p")
	caller.Send(&wampcore.Call{Request: 1, Procedure: "p"})
	caller.Send(&wampcore.Call{Request: 1, Procedure: "p"})
	expectAbort(t, caller, wampcore.ErrProtocolViolation)
}

func TestEventReachesSubscribersButNotItsPublisher(t *testing.T) {
	r := newRouter(t)
	a, b := peer(t, r), peer(t, r)
	subA, subB := subscribe(a, 1, "t"), subscribe(b, 1, "t")
	if again := subscribe(a, 2, "t"); again != subA || subA != subB {
		t.Errorf("subscriptions %d, %d, %d, want one id", subA, subB, again)
	}
	a.Send(&wampcore.Publish{Request: 3, Topic: "t", Payload: args(`["x"]`), Options: wampcore.PublishOptions{Acknowledge: true}})
	published := wamptest.Expect[*wampcore.Published](a)
	e := wamptest.Expect[*wampcore.Event](b)
	if e.Publication != published.Publication || e.Subscription != subB || string(e.Payload.Args) != `["x"]` {
		t.Errorf("event %+v, published %+v", e, published)
	}
	a.Send(&wampcore.Publish{Request: 4, Topic: "t", Options: wampcore.PublishOptions{Acknowledge: true, IncludeMe: true}})
	wamptest.Expect[*wampcore.Published](a) // comes before the publisher's own event
	wamptest.Expect[*wampcore.Event](a)
}

func TestListsSayWhoGetsAnEvent(t *testing.T) {
	r := newRouter(t)
	pub := peer(t, r)
	p, id := join(t, r, realm1, allFeatures())
	subscribe(p, 1, "t")
	for i, c := range []struct {
		opts wampcore.PublishOptions
		want bool
	}{
		{wampcore.PublishOptions{}, true},
		{wampcore.PublishOptions{Exclude: []wampcore.ID{id}}, false},
		{wampcore.PublishOptions{Exclude: []wampcore.ID{}}, true},
		{wampcore.PublishOptions{Eligible: []wampcore.ID{id}}, true},
		{wampcore.PublishOptions{Eligible: []wampcore.ID{}}, false},
		{wampcore.PublishOptions{Eligible: []wampcore.ID{id}, Exclude: []wampcore.ID{id}}, false},
		{wampcore.PublishOptions{ExcludeAuthRole: []string{"anonymous"}}, false},
		{wampcore.PublishOptions{EligibleAuthRole: []string{"anonymous"}}, true},
		{wampcore.PublishOptions{EligibleAuthRole: []string{"admin"}}, false},
		{wampcore.PublishOptions{EligibleAuthID: []string{"nobody"}}, false},
		{wampcore.PublishOptions{ExcludeAuthID: []string{"nobody"}}, true},
	} {
		pub.Send(&wampcore.Publish{Request: wampcore.ID(2*i + 1), Topic: "t", Options: c.opts, Payload: args(fmt.Sprintf("[%d]", i))})
		pub.Send(&wampcore.Publish{Request: wampcore.ID(2*i + 2), Topic: "t", Payload: args("[-1]")}) // ends the wait for what must not come
		want := []string{fmt.Sprintf("[%d]", i), "[-1]"}
		if !c.want {
			want = want[1:]
		}
		for _, w := range want {
			if got := string(wamptest.Expect[*wampcore.Event](p).Payload.Args); got != w {
				t.Fatalf("%+v: got %s, want %s", c.opts, got, w)
			}
		}
	}
}

func TestPatternsMatchAndOnlyTheySayTheTopic(t *testing.T) {
	r := newRouter(t)
	pub, p := peer(t, r), peer(t, r)
	want := map[wampcore.ID]wampcore.URI{}
	for i, o := range []struct {
		topic wampcore.URI
		match wampcore.Match
		seen  wampcore.URI
	}{{"com.a.b", wampcore.MatchExact, ""}, {"com.a", wampcore.MatchPrefix, "com.a.b"}, {"", wampcore.MatchPrefix, "com.a.b"}, {"com..b", wampcore.MatchWildcard, "com.a.b"}} {
		p.Send(&wampcore.Subscribe{Request: wampcore.ID(i + 1), Topic: o.topic, Options: wampcore.SubscribeOptions{Match: o.match}})
		want[wamptest.Expect[*wampcore.Subscribed](p).Subscription] = o.seen
	}
	pub.Send(&wampcore.Publish{Request: 1, Topic: "com.a.b"})
	for range 4 {
		e := wamptest.Expect[*wampcore.Event](p)
		topic, ok := want[e.Subscription]
		if delete(want, e.Subscription); !ok || topic != e.Details.Topic {
			t.Errorf("event %+v, want topic %q", e, topic)
		}
	}
}

func TestCallersAreToldWhenTheirCalleeLeaves(t *testing.T) {
	r := newRouter(t)
	callee, caller := peer(t, r), peer(t, r)
	register(callee, 1, "p")
	for id := range wampcore.ID(3) {
		caller.Send(&wampcore.Call{Request: id + 1, Procedure: "p"})
		wamptest.Expect[*wampcore.Invocation](callee)
	}
	callee.Close()
	got := make([]wampcore.ID, 0, 3)
	for range 3 {
		e := wamptest.Expect[*wampcore.ErrorMsg](caller)
		if e.URI != wampcore.ErrCanceled {
			t.Errorf("got %s", e.URI)
		}
		got = append(got, e.Request)
	}
	if slices.Sort(got); !slices.Equal(got, []wampcore.ID{1, 2, 3}) {
		t.Errorf("answered %v", got)
	}
	caller.Send(&wampcore.Call{Request: 4, Procedure: "p"})
	expectError(t, caller, wampcore.TypeCall, 4, wampcore.ErrNoSuchProcedure)
}

func TestCalleeIsInterruptedWhenTheCallerLeaves(t *testing.T) {
	r := newRouter(t)
	callee, caller := peer(t, r), peer(t, r)
	register(callee, 1, "p")
	caller.Send(&wampcore.Call{Request: 1, Procedure: "p"})
	inv := wamptest.Expect[*wampcore.Invocation](callee).Request
	caller.Close()
	if i := wamptest.Expect[*wampcore.Interrupt](callee); i.Request != inv || i.Mode != wampcore.CancelKillNoWait {
		t.Errorf("interrupt %+v", i)
	}
	callee.Send(&wampcore.Yield{Request: inv}) // defunct: dropped
	register(callee, 2, "still.here")
}

func TestCancelModes(t *testing.T) {
	for _, c := range []struct {
		mode                    wampcore.CancelMode
		canceling               bool
		wantError, wantNotified bool
	}{
		{wampcore.CancelDefault, true, true, true},
		{wampcore.CancelKillNoWait, true, true, true},
		{wampcore.CancelKill, true, false, true},
		{wampcore.CancelSkip, true, true, false},
		{wampcore.CancelKill, false, true, false},
	} {
		t.Run(fmt.Sprintf("%s %v", c.mode, c.canceling), func(t *testing.T) {
			r := newRouter(t)
			roles := wampcore.NewRoles(wampcore.RoleCallee)
			if c.canceling {
				roles = allFeatures()
			}
			callee, _ := join(t, r, realm1, roles)
			caller := peer(t, r)
			register(callee, 1, "p")
			caller.Send(&wampcore.Call{Request: 1, Procedure: "p"})
			inv := wamptest.Expect[*wampcore.Invocation](callee).Request
			caller.Send(&wampcore.Cancel{Request: 1, Mode: c.mode})
			caller.Send(&wampcore.Cancel{Request: 1, Mode: c.mode}) // twice is as good as once
			caller.Send(&wampcore.Cancel{Request: 77})              // never was: ignored
			if c.wantError {
				expectError(t, caller, wampcore.TypeCall, 1, wampcore.ErrCanceled)
			}
			if c.wantNotified {
				wamptest.Expect[*wampcore.Interrupt](callee)
			}
			callee.Send(&wampcore.Yield{Request: inv, Payload: args("[1]")})
			if !c.wantError {
				wamptest.Expect[*wampcore.Result](caller)
			}
			register(callee, 2, "q") // nothing but this comes to either
			register(caller, 2, "r")
		})
	}
}

func TestCallTimesOutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		callee, caller := peer(t, r), peer(t, r)
		register(callee, 1, "p")
		began := time.Now()
		caller.Send(&wampcore.Call{Request: 1, Procedure: "p", Options: wampcore.CallOptions{Timeout: 3 * time.Second, ReceiveProgress: true}})
		inv := wamptest.Expect[*wampcore.Invocation](callee).Request
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		callee.Send(&wampcore.Yield{Request: inv, Options: wampcore.YieldOptions{Progress: true}})
		if res := wamptest.Expect[*wampcore.Result](caller); !res.Details.Progress {
			t.Error("progress was not said")
		}
		expectError(t, caller, wampcore.TypeCall, 1, wampcore.ErrTimeout)
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("timed out after %s, want 3 s after the progress", d)
		}
		wamptest.Expect[*wampcore.Interrupt](callee)
		callee.Send(&wampcore.Yield{Request: inv}) // late: dropped
		register(callee, 2, "q")
		register(caller, 2, "r")
	})
}

func TestProgressThatWasNotAskedForIsDropped(t *testing.T) {
	r := newRouter(t)
	callee, caller := peer(t, r), peer(t, r)
	register(callee, 1, "p")
	caller.Send(&wampcore.Call{Request: 1, Procedure: "p"})
	inv := wamptest.Expect[*wampcore.Invocation](callee).Request
	callee.Send(&wampcore.Yield{Request: inv, Options: wampcore.YieldOptions{Progress: true}})
	callee.Send(&wampcore.Yield{Request: inv, Payload: args("[1]")})
	if res := wamptest.Expect[*wampcore.Result](caller); res.Details.Progress || string(res.Payload.Args) != "[1]" {
		t.Errorf("result %+v", res)
	}
}

func TestSharedRegistrationsTakeTurns(t *testing.T) {
	for invoke, want := range map[wampcore.Invoke][]int{
		wampcore.InvokeRoundRobin: {0, 1, 2, 0},
		wampcore.InvokeFirst:      {0, 0, 0, 0},
		wampcore.InvokeLast:       {2, 2, 2, 2},
	} {
		r := newRouter(t)
		caller := peer(t, r)
		callees := []*wamptest.Peer{peer(t, r), peer(t, r), peer(t, r)}
		for _, c := range callees {
			c.Send(&wampcore.Register{Request: 1, Procedure: "p", Options: wampcore.RegisterOptions{Invoke: invoke}})
			wamptest.Expect[*wampcore.Registered](c)
		}
		callees[0].Send(&wampcore.Register{Request: 2, Procedure: "p"})
		expectError(t, callees[0], wampcore.TypeRegister, 2, wampcore.ErrProcedureAlreadyExists)
		for i, c := range want {
			caller.Send(&wampcore.Call{Request: wampcore.ID(i + 1), Procedure: "p"})
			inv := wamptest.Expect[*wampcore.Invocation](callees[c])
			callees[c].Send(&wampcore.Yield{Request: inv.Request})
			wamptest.Expect[*wampcore.Result](caller)
		}
	}
}

func TestForgedAnswerOfAnotherSessionIsAViolation(t *testing.T) {
	r := newRouter(t)
	callee, caller, thief := peer(t, r), peer(t, r), peer(t, r)
	register(callee, 1, "p")
	caller.Send(&wampcore.Call{Request: 1, Procedure: "p"})
	inv := wamptest.Expect[*wampcore.Invocation](callee).Request
	thief.Send(&wampcore.Yield{Request: inv, Payload: args(`["forged"]`)})
	expectAbort(t, thief, wampcore.ErrProtocolViolation)
	callee.Send(&wampcore.Yield{Request: inv, Payload: args(`["true"]`)})
	if res := wamptest.Expect[*wampcore.Result](caller); string(res.Payload.Args) != `["true"]` {
		t.Errorf("result %s", res.Payload.Args)
	}
}

func TestSlowConsumerIsEndedAndNobodyWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t, func(c *router.Config) { c.QueueMessages = 100 })
		slow, healthy, pub := peer(t, r), peer(t, r), peer(t, r)
		subscribe(slow, 1, "t")
		subscribe(healthy, 1, "t")
		for i := range 3000 {
			pub.Send(&wampcore.Publish{Request: wampcore.ID(i + 1), Topic: "t", Options: wampcore.PublishOptions{Acknowledge: true}})
			wamptest.Expect[*wampcore.Published](pub)
			wamptest.Expect[*wampcore.Event](healthy)
		}
		events := 0
		for {
			m, err := slow.Receive()
			if err != nil {
				break
			}
			if _, ok := m.(*wampcore.Event); ok {
				events++
			}
		}
		if events > 700 {
			t.Errorf("a peer that did not read was kept %d events", events)
		}
		pub.Send(&wampcore.Call{Request: 5000, Procedure: "wamp.session.count"})
		if res := wamptest.Expect[*wampcore.Result](pub); string(res.Payload.Args) != "[2]" {
			t.Errorf("%s sessions, want 2", res.Payload.Args)
		}
	})
}

func TestShutdownSaysGoodbyeToAll(t *testing.T) {
	r := newRouter(t)
	a, b := peer(t, r), peer(t, r)
	done := make(chan error, 1)
	go func() { done <- r.Shutdown(t.Context()) }()
	for _, p := range []*wamptest.Peer{a, b} {
		if g := wamptest.Expect[*wampcore.Goodbye](p); g.Reason != wampcore.CloseSystemShutdown {
			t.Errorf("reason %s", g.Reason)
		}
		p.ExpectClosed()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	wamptest.New(t, r.Dial()).ExpectClosed()
}

func TestSessionMetaProcedures(t *testing.T) {
	r := newRouter(t)
	p, id := join(t, r, realm1, allFeatures())
	_, other := join(t, r, realm1, allFeatures())
	ids := []wampcore.ID{id, other}
	slices.Sort(ids)
	for i, c := range []struct {
		procedure  wampcore.URI
		args, want string
	}{
		{"wamp.session.count", "", "[2]"},
		{"wamp.session.count", `[["anonymous"]]`, "[2]"},
		{"wamp.session.count", `[[]]`, "[0]"},
		{"wamp.session.list", "", fmt.Sprintf("[[%d,%d]]", ids[0], ids[1])},
		{"wamp.session.list", `[["admin"]]`, "[[]]"},
	} {
		call := &wampcore.Call{Request: wampcore.ID(i + 1), Procedure: c.procedure}
		if c.args != "" {
			call.Payload = args(c.args)
		}
		p.Send(call)
		if res := wamptest.Expect[*wampcore.Result](p); string(res.Payload.Args) != c.want {
			t.Errorf("%s %s: got %s, want %s", c.procedure, c.args, res.Payload.Args, c.want)
		}
	}
	p.Send(&wampcore.Call{Request: 10, Procedure: "wamp.session.get", Payload: args(fmt.Sprintf("[%d]", other))})
	var got struct {
		Session  wampcore.ID `codec:"session"`
		AuthRole string      `codec:"authrole"`
	}
	res := wamptest.Expect[*wampcore.Result](p)
	if err := res.Payload.DecodeArgs(&got); err != nil || got.Session != other || got.AuthRole != "anonymous" {
		t.Errorf("got %+v, %v", got, err)
	}
	p.Send(&wampcore.Call{Request: 11, Procedure: "wamp.session.get", Payload: args("[12345]")})
	expectError(t, p, wampcore.TypeCall, 11, wampcore.ErrNoSuchSession)
	p.Send(&wampcore.Call{Request: 12, Procedure: "wamp.session.get", Payload: args(`["x"]`)})
	expectError(t, p, wampcore.TypeCall, 12, wampcore.ErrInvalidArgument)
}

// Every subscriber sees SUBSCRIBED before any EVENT, and each publisher's events in order.
func TestOrderHoldsForEveryPair(t *testing.T) {
	r := newRouter(t)
	const publishers, events, subscribers = 4, 500, 8
	var wg sync.WaitGroup
	subs := make([]*wamptest.Peer, subscribers)
	for i := range subs {
		subs[i] = peer(t, r)
		subscribe(subs[i], 1, "t")
	}
	for p := range publishers {
		pub := peer(t, r)
		wg.Go(func() {
			for i := range events {
				pub.Send(&wampcore.Publish{Request: wampcore.ID(i + 1), Topic: "t", Payload: args(fmt.Sprintf("[%d,%d]", p, i))})
			}
		})
	}
	for _, s := range subs {
		wg.Go(func() {
			next := [publishers]int{}
			for range publishers * events {
				var p, i int
				e, ok := mustReceive(t, s).(*wampcore.Event)
				if !ok {
					t.Error("not an event")
					return
				}
				_, _ = fmt.Sscanf(string(e.Payload.Args), "[%d,%d]", &p, &i)
				if i != next[p] {
					t.Errorf("publisher %d: got %d, want %d", p, i, next[p])
					return
				}
				next[p]++
			}
		})
	}
	wg.Wait()
}

func mustReceive(tb testing.TB, p *wamptest.Peer) wampcore.Message {
	tb.Helper()
	m, err := p.Receive()
	if err != nil {
		tb.Error(err)
	}
	return m
}

func TestTenThousandPatternsAreRegisteredServedAndForgotten(t *testing.T) {
	r := newRouter(t)
	callee, caller := peer(t, r), peer(t, r)
	for i := range 10_000 {
		m := &wampcore.Register{Request: wampcore.ID(i + 1), Procedure: wampcore.URI(fmt.Sprintf("com.p%d.", i))}
		m.Options.Match = wampcore.MatchPrefix
		if i%2 == 1 {
			m.Procedure, m.Options.Match = wampcore.URI(fmt.Sprintf("org..p%d", i)), wampcore.MatchWildcard
		}
		callee.Send(m)
		wamptest.Expect[*wampcore.Registered](callee)
	}
	for i, uri := range []wampcore.URI{"com.p0.x", "org.y.p9999", "com.p9998.", "org.z.p1"} {
		caller.Send(&wampcore.Call{Request: wampcore.ID(2*i + 1), Procedure: uri})
		if !uri.Valid(false) {
			expectError(t, caller, wampcore.TypeCall, wampcore.ID(2*i+1), wampcore.ErrInvalidURI)
			continue
		}
		inv := wamptest.Expect[*wampcore.Invocation](callee)
		if inv.Details.Procedure != uri {
			t.Errorf("got %s, want %s", inv.Details.Procedure, uri)
		}
		callee.Send(&wampcore.Yield{Request: inv.Request})
		wamptest.Expect[*wampcore.Result](caller)
	}
	callee.Send(&wampcore.Goodbye{Reason: wampcore.CloseRealm})
	wamptest.Expect[*wampcore.Goodbye](callee)
	caller.Send(&wampcore.Call{Request: 100, Procedure: "wamp.registration.list"})
	var lists map[string][]wampcore.ID
	if err := wamptest.Expect[*wampcore.Result](caller).Payload.DecodeArgs(&lists); err != nil || len(lists["prefix"])+len(lists["wildcard"]) != 0 {
		t.Errorf("%d and %d are left, %v", len(lists["prefix"]), len(lists["wildcard"]), err)
	}
}

func TestCallIsRoutedAgainToACalleeThatCanTakeIt(t *testing.T) {
	for _, invoke := range []wampcore.Invoke{wampcore.InvokeRoundRobin, wampcore.InvokeFirst} {
		r := newRouter(t)
		var callees [3]*wamptest.Peer
		for i, features := range [...][]wampcore.Feature{{wampcore.CallReroute, wampcore.PayloadPassthruMode}, {}, {wampcore.PayloadPassthruMode}} {
			roles := wampcore.NewRoles(wampcore.RoleCaller)
			roles.Add(wampcore.RoleCallee, features...)
			p, _ := join(t, r, realm1, roles)
			p.Send(&wampcore.Register{Request: 1, Procedure: "p", Options: wampcore.RegisterOptions{Invoke: invoke}})
			wamptest.Expect[*wampcore.Registered](p)
			callees[i] = p
		}
		roles := wampcore.NewRoles(wampcore.RoleCaller)
		roles.Add(wampcore.RoleCaller, wampcore.PayloadPassthruMode)
		caller, _ := join(t, r, realm1, roles)
		caller.Send(&wampcore.Call{Request: 1, Procedure: "p", Options: wampcore.CallOptions{Passthru: wampcore.Passthru{Scheme: "x_a"}}})
		inv := wamptest.Expect[*wampcore.Invocation](callees[0])
		callees[0].Send(&wampcore.ErrorMsg{RequestType: wampcore.TypeInvocation, Request: inv.Request, URI: wampcore.ErrUnavailable})
		again := wamptest.Expect[*wampcore.Invocation](callees[2])
		callees[2].Send(&wampcore.Yield{Request: again.Request})
		wamptest.Expect[*wampcore.Result](caller)
	}
}

func TestPastOfNothingAtAllIsNoQuestion(t *testing.T) {
	p := peer(t, newRouter(t))
	p.Send(&wampcore.Call{Request: 1, Procedure: "wamp.subscription.get_events"})
	expectError(t, p, wampcore.TypeCall, 1, wampcore.ErrInvalidArgument)
}

package router_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// ruled returns a router whose realm has these roles.
func ruled(tb testing.TB, roles map[string]router.Role) *router.Router {
	tb.Helper()
	return newRouter(tb, func(c *router.Config) { c.Realms = []router.RealmConfig{{Name: realm1, Roles: roles}} })
}

// as joins as somebody who has a role.
func as(tb testing.TB, r *router.Router, role string) *wamptest.Peer {
	tb.Helper()
	p := wamptest.New(tb, r.DialAs(router.Identity{AuthID: "joe", AuthRole: role}))
	roles := wampcore.NewRoles(wampcore.RolePublisher, wampcore.RoleCaller)
	roles.Add(wampcore.RoleSubscriber, wampcore.SubscriptionRevocation)
	roles.Add(wampcore.RoleCallee, wampcore.RegistrationRevocation, wampcore.CallCanceling, wampcore.ProgressiveCallInvocations)
	roles.Add(wampcore.RoleCaller, wampcore.ProgressiveCallInvocations)
	p.Join(realm1, roles)
	return p
}

// request returns the message that does a, and what answers it where it is allowed.
func request(a router.Action, id wampcore.ID, uri wampcore.URI, match wampcore.Match) (m wampcore.Message, done wampcore.MessageType) {
	switch a {
	case router.ActionCall:
		return &wampcore.Call{Request: id, Procedure: uri}, wampcore.TypeResult
	case router.ActionRegister:
		return &wampcore.Register{Request: id, Procedure: uri, Options: wampcore.RegisterOptions{Match: match}}, wampcore.TypeRegistered
	case router.ActionPublish:
		return &wampcore.Publish{Request: id, Topic: uri, Options: wampcore.PublishOptions{Acknowledge: true}}, wampcore.TypePublished
	default:
		return &wampcore.Subscribe{Request: id, Topic: uri, Options: wampcore.SubscribeOptions{Match: match}}, wampcore.TypeSubscribed
	}
}

// tried has p do a, and says how it was answered.
func tried(tb testing.TB, p *wamptest.Peer, a router.Action, id wampcore.ID, uri wampcore.URI, match wampcore.Match) (wampcore.URI, bool) {
	tb.Helper()
	m, done := request(a, id, uri, match)
	p.Send(m)
	switch got := mustReceive(tb, p).(type) {
	case *wampcore.ErrorMsg:
		return got.URI, false
	default:
		if got.Type() != done {
			tb.Errorf("got %T, want message %d", got, done)
		}
		return "", true
	}
}

func TestPermissionsHoldForEveryActionAndMatch(t *testing.T) {
	policies := []wampcore.Match{wampcore.MatchExact, wampcore.MatchPrefix, wampcore.MatchWildcard}
	patterns := map[wampcore.Match]wampcore.URI{
		wampcore.MatchExact: "com.a.x", wampcore.MatchPrefix: "com.a.", wampcore.MatchWildcard: "com..x",
	}
	actions := []router.Action{router.ActionCall, router.ActionRegister, router.ActionPublish, router.ActionSubscribe}
	for _, match := range policies {
		for _, allowed := range actions {
			t.Run(fmt.Sprint(allowed, " ", match), func(t *testing.T) {
				r := ruled(t, map[string]router.Role{"r": {Permissions: []router.Permission{{URI: patterns[match], Match: match, Allow: allowed}}}})
				p, id := as(t, r, "r"), wampcore.ID(0)
				for _, a := range actions {
					for _, asked := range policies {
						if asked != wampcore.MatchExact && a != router.ActionRegister && a != router.ActionSubscribe {
							continue
						}
						id++
						uri, ok := tried(t, p, a, id, patterns[asked], asked)
						want := a == allowed && (asked == match || asked == wampcore.MatchExact)
						switch {
						case want && a == router.ActionCall && uri == wampcore.ErrNoSuchProcedure:
						case ok != want, !ok && uri != wampcore.ErrNotAuthorized:
							t.Errorf("%s %s by %s: got %t %s, want %t", a, patterns[asked], asked, ok, uri, want)
						}
					}
				}
			})
		}
	}
}

func TestDeniedRequestsRevealNothing(t *testing.T) {
	r := ruled(t, map[string]router.Role{
		"all":  {Permissions: []router.Permission{{Match: wampcore.MatchPrefix, Allow: router.AllActions}}},
		"none": {},
	})
	owner, p := as(t, r, "all"), as(t, r, "none")
	register(owner, 1, "com.there")
	subscribe(owner, 2, "com.there")
	id := wampcore.ID(0)
	for _, a := range []router.Action{router.ActionCall, router.ActionRegister, router.ActionPublish, router.ActionSubscribe} {
		answers := make([]wampcore.ErrorMsg, 0, 2)
		for _, uri := range []wampcore.URI{"com.there", "com.nowhere"} {
			id++
			m, _ := request(a, id, uri, wampcore.MatchExact)
			p.Send(m)
			e := *wamptest.Expect[*wampcore.ErrorMsg](p)
			if e.URI != wampcore.ErrNotAuthorized || e.Request != id {
				t.Errorf("%s %s: got %+v", a, uri, e)
			}
			answers = append(answers, e)
		}
		if len(answers[0].Payload.Args)-len("there") != len(answers[1].Payload.Args)-len("nowhere") {
			t.Errorf("%s: the answers differ: %s, %s", a, answers[0].Payload.Args, answers[1].Payload.Args)
		}
	}
	p.Send(&wampcore.Publish{Request: id + 1, Topic: "com.there"}) // not acknowledged: no answer
	p.Send(&wampcore.Call{Request: id + 2, Procedure: "wamp.session.count"})
	expectError(t, p, wampcore.TypeCall, id+2, wampcore.ErrNotAuthorized)
	owner.Send(&wampcore.Publish{Request: 3, Topic: "com.there", Options: wampcore.PublishOptions{IncludeMe: true}})
	if e := wamptest.Expect[*wampcore.Event](owner); !e.Payload.Empty() {
		t.Errorf("got %+v", e)
	}
}

func TestRolesThatARealmDoesNotHaveAreRefused(t *testing.T) {
	p := wamptest.New(t, ruled(t, map[string]router.Role{"r": {}}).DialAs(router.Identity{AuthRole: "other"}))
	p.Send(&wampcore.Hello{Realm: realm1, Details: wampcore.HelloDetails{Roles: allFeatures()}})
	expectAbort(t, p, wampcore.ErrNoSuchRole)
}

func TestConfigurationsThatCannotBeAreRefused(t *testing.T) {
	for _, ps := range [][]router.Permission{
		{{URI: ""}},
		{{URI: "a..b"}},
		{{URI: "a b", Match: wampcore.MatchPrefix}},
		{{URI: "a", Match: 7}},
		{{URI: "a", Allow: 64}},
		{{URI: "a"}, {URI: "a", Allow: router.ActionCall}},
	} {
		realm := router.RealmConfig{Name: realm1, Roles: map[string]router.Role{"r": {Permissions: ps}}}
		if _, err := router.New(router.Config{Realms: []router.RealmConfig{realm}}); err == nil {
			t.Errorf("%+v is taken", ps)
		}
	}
}

func TestPastAndTestamentsNeedWhatSubscribersAndPublishersDo(t *testing.T) {
	r := ruled(t, map[string]router.Role{
		"all": {Permissions: []router.Permission{{Match: wampcore.MatchPrefix, Allow: router.AllActions}}},
		"r": {Permissions: []router.Permission{
			{URI: "wamp.", Match: wampcore.MatchPrefix, Allow: router.ActionCall}, {URI: "com.mine", Allow: router.AllActions},
		}},
	})
	owner, p := as(t, r, "all"), as(t, r, "r")
	// Who may not subscribe is not told that there is a subscription, and what it is of: its id is easily guessed.
	refusals := []wampcore.URI{wampcore.ErrNoSuchSubscription, wampcore.ErrNotAuthorized}
	for i, c := range []struct {
		topic wampcore.URI
		want  bool
	}{{"com.theirs", false}, {"com.mine", true}} {
		sub := subscribe(owner, wampcore.ID(i+1), c.topic)
		for j, call := range []*wampcore.Call{
			{Procedure: "wamp.subscription.get_events", Payload: args(fmt.Sprintf("[%d]", sub))},
			{Procedure: "wamp.session.add_testament", Payload: args(fmt.Sprintf("[%q,[],{}]", c.topic))},
		} {
			call.Request = wampcore.ID(2*i + j + 1)
			p.Send(call)
			m := mustReceive(t, p)
			e, failed := m.(*wampcore.ErrorMsg)
			if failed == c.want || failed && (e.URI != refusals[j] || strings.Contains(string(e.Payload.Args), "com.theirs") != (j == 1)) {
				t.Errorf("%s of %s: got %+v", call.Procedure, c.topic, m)
			}
		}
	}
}

func TestWhoSubscribesMayAskForThePastUnlessAPermissionNamesThatAndForbidsIt(t *testing.T) {
	const exact, prefix, wildcard = wampcore.MatchExact, wampcore.MatchPrefix, wampcore.MatchWildcard
	listen := router.ActionSubscribe
	for name, c := range map[string]struct {
		also []router.Permission
		want bool
	}{
		"nothing is said":                    {nil, true},
		"nothing is allowed in general":      {[]router.Permission{{Match: prefix}}, true},
		"calls are not allowed in general":   {[]router.Permission{{Match: prefix, Allow: listen}}, true},
		"components of any name are denied":  {[]router.Permission{{URI: "..", Match: wildcard}}, true},
		"the URIs themselves are denied":     {[]router.Permission{{URI: "wamp.subscription.get_events"}, {URI: "wamp.reflection.procedure.list_callable"}}, false},
		"what begins with wamp. is denied":   {[]router.Permission{{URI: "wamp.", Match: prefix}}, false},
		"what begins with wamp is denied":    {[]router.Permission{{URI: "wamp", Match: prefix, Allow: listen}}, false},
		"patterns of the router's are":       {[]router.Permission{{URI: "wamp..get_events", Match: wildcard}, {URI: "wamp...list_callable", Match: wildcard}}, false},
		"denied in general, allowed by name": {[]router.Permission{{URI: "wamp.", Match: prefix}, {URI: "wamp.subscription.get_events", Allow: router.ActionCall}, {URI: "wamp.reflection.", Match: prefix, Allow: router.ActionCall}}, true},
		"allowed in general, denied by name": {[]router.Permission{{Match: prefix, Allow: router.AllActions}, {URI: "wamp.subscription.get_events"}, {URI: "wamp.reflection.procedure.list_callable"}}, false},
	} {
		r := ruled(t, map[string]router.Role{"r": {Permissions: append(c.also, router.Permission{URI: "com.mine", Match: exact, Allow: listen})}})
		p := as(t, r, "r")
		sub := subscribe(p, 1, "com.mine")
		for i, call := range []*wampcore.Call{
			{Procedure: "wamp.subscription.get_events", Payload: args(fmt.Sprintf("[%d]", sub))}, {Procedure: "wamp.reflection.procedure.list_callable"},
		} {
			call.Request = wampcore.ID(i + 2)
			p.Send(call)
			m := mustReceive(t, p)
			e, failed := m.(*wampcore.ErrorMsg)
			if failed == c.want || failed && e.URI != wampcore.ErrNotAuthorized {
				t.Errorf("%s: %s: got %+v, want it allowed: %t", name, call.Procedure, m, c.want)
			}
		}
	}
}

func TestWhoIsDisclosedIsForTheRoleToSay(t *testing.T) {
	never, always := router.DiscloseNever, router.DiscloseAlways
	all := func(change func(*router.Permission)) []router.Permission {
		p := router.Permission{Match: wampcore.MatchPrefix, Allow: router.AllActions}
		change(&p)
		return []router.Permission{p}
	}
	plain := all(func(*router.Permission) {})
	level := int64(7)
	r := ruled(t, map[string]router.Role{
		"callee": {Permissions: plain},
		"never":  {Permissions: plain, Disclosure: &never, TrustLevel: &level},
		"always": {Permissions: plain, Disclosure: &always},
		"caller": {Permissions: all(func(p *router.Permission) { p.DiscloseCaller = true })},
		"pub":    {Permissions: all(func(p *router.Permission) { p.DisclosePublisher = true })},
	})
	callee := as(t, r, "callee")
	register(callee, 1, "p")
	subscribe(callee, 2, "t")
	for _, c := range []struct {
		role              string
		caller, publisher bool
	}{{"callee", false, false}, {"never", false, false}, {"always", true, true}, {"caller", true, false}, {"pub", false, true}} {
		p := as(t, r, c.role)
		p.Send(&wampcore.Call{Request: 1, Procedure: "p"})
		inv := wamptest.Expect[*wampcore.Invocation](callee)
		if got := inv.Details.CallerAuthRole == c.role; got != c.caller {
			t.Errorf("%s calls: got %+v", c.role, inv.Details)
		}
		if level := inv.Details.TrustLevel; (level != nil) != (c.role == "never") || level != nil && *level != 7 {
			t.Errorf("%s calls: got trust level %v", c.role, level)
		}
		p.Send(&wampcore.Publish{Request: 2, Topic: "t"})
		if e := wamptest.Expect[*wampcore.Event](callee); (e.Details.PublisherAuthRole == c.role) != c.publisher {
			t.Errorf("%s publishes: got %+v", c.role, e.Details)
		}
	}
	p := as(t, r, "never")
	p.Send(&wampcore.Call{Request: 1, Procedure: "p", Options: wampcore.CallOptions{DiscloseMe: true}})
	expectError(t, p, wampcore.TypeCall, 1, wampcore.ErrDiscloseMeDisallowed)
	p.Send(&wampcore.Register{Request: 2, Procedure: "q", Options: wampcore.RegisterOptions{DiscloseCaller: true}})
	expectError(t, p, wampcore.TypeRegister, 2, wampcore.ErrDiscloseMeDisallowed)
}

// authorizer is one made of a function.
type authorizer func(context.Context, *router.Question) (router.Decision, error)

func (f authorizer) Authorize(ctx context.Context, q *router.Question) (router.Decision, error) {
	return f(ctx, q)
}

// court is a test of a peer that an authorizer decides about.
type court struct {
	*testing.T
	p *wamptest.Peer
	r *router.Router
}

// judged runs f in a bubble, with a peer that an authorizer decides about.
func judged(t *testing.T, a authorizer, f func(*court)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := ruled(t, map[string]router.Role{
			"all": {Permissions: []router.Permission{{Match: wampcore.MatchPrefix, Allow: router.AllActions}}},
			"r":   {Authorizer: a, Permissions: []router.Permission{{URI: "com.open", Allow: router.AllActions}, {URI: "com.shut"}}},
		})
		f(&court{t, as(t, r, "r"), r})
	})
}

func TestAuthorizerIsAskedWhatNoPermissionDecides(t *testing.T) {
	var asked []router.Question
	decide := func(_ context.Context, q *router.Question) (router.Decision, error) {
		asked = append(asked, *q)
		return router.Decision{Allow: q.URI != "com.no", Cache: q.URI == "com.kept"}, nil
	}
	judged(t, decide, func(t *court) {
		for i, c := range []struct {
			uri   wampcore.URI
			ok    bool
			asked int
		}{{"com.open", true, 0}, {"com.shut", false, 0}, {"com.no", false, 1}, {"com.yes", true, 2}, {"com.yes", true, 3}, {"com.kept", true, 4}, {"com.kept", true, 4}} {
			if _, ok := tried(t, t.p, router.ActionSubscribe, wampcore.ID(i+1), c.uri, wampcore.MatchExact); ok != c.ok || len(asked) != c.asked {
				t.Errorf("%s: got %t, asked %d, want %t, %d", c.uri, ok, len(asked), c.ok, c.asked)
			}
		}
		if _, ok := tried(t, t.p, router.ActionSubscribe, 8, "com.", wampcore.MatchPrefix); ok { // com.shut is among them
			t.Error("a pattern goes round a permission")
		}
		q := asked[0]
		if q.Action != router.ActionSubscribe || q.Session.AuthID != "joe" || q.Session.AuthRole != "r" || q.Options["match"] != "exact" {
			t.Errorf("asked %+v", q)
		}
	})
}

func TestAuthorizersThatFailDeny(t *testing.T) {
	for name, c := range map[string]struct {
		a    authorizer
		want wampcore.URI
	}{
		"broken": {func(context.Context, *router.Question) (router.Decision, error) {
			return router.Decision{Allow: true}, errors.New("the database is down: secret text")
		}, wampcore.ErrAuthorizationFailed},
		"with a reason": {func(context.Context, *router.Question) (router.Decision, error) {
			return router.Decision{}, &wampcore.Error{URI: wampcore.ErrAuthorizationDenied, Message: "not today"}
		}, wampcore.ErrAuthorizationDenied},
		"late": {func(ctx context.Context, _ *router.Question) (router.Decision, error) {
			<-ctx.Done()
			return router.Decision{Allow: true}, nil
		}, wampcore.ErrAuthorizationFailed},
	} {
		judged(t, c.a, func(t *court) {
			for i, a := range []router.Action{router.ActionCall, router.ActionRegister, router.ActionPublish, router.ActionSubscribe} {
				if uri, ok := tried(t, t.p, a, wampcore.ID(i+1), "com.a", wampcore.MatchExact); ok || uri != c.want {
					t.Errorf("%s, %s: got %t %s, want %s", name, a, ok, uri, c.want)
				}
			}
		})
	}
}

func TestSlowAuthorizerKeepsTheOrderAndHoldsUpNobodyElse(t *testing.T) {
	slow := func(ctx context.Context, q *router.Question) (router.Decision, error) {
		select {
		case <-time.NewTimer(map[wampcore.URI]time.Duration{"com.a": time.Second, "com.b": 10 * time.Millisecond}[q.URI]).C:
		case <-ctx.Done():
		}
		return router.Decision{Allow: true}, nil
	}
	judged(t, slow, func(t *court) {
		other := as(t, t.r, "all")
		subscribe(other, 1, "com.a")
		subscribe(other, 2, "com.b")
		subscribe(other, 3, "com.open")
		began := time.Now()
		for i, topic := range []wampcore.URI{"com.open", "com.a", "com.b", "com.open"} {
			t.p.Send(&wampcore.Publish{Request: wampcore.ID(i + 1), Topic: topic, Payload: args(fmt.Sprintf("[%d]", i))})
		}
		if e := wamptest.Expect[*wampcore.Event](other); string(e.Payload.Args) != "[0]" || time.Since(began) != 0 {
			t.Errorf("got %s after %s", e.Payload.Args, time.Since(began))
		}
		other.Send(&wampcore.Call{Request: 4, Procedure: "wamp.session.count"})
		wamptest.Expect[*wampcore.Result](other)
		if took := time.Since(began); took != 0 {
			t.Errorf("another session waited %s", took)
		}
		for i := range 3 {
			if e := wamptest.Expect[*wampcore.Event](other); string(e.Payload.Args) != fmt.Sprintf("[%d]", i+1) {
				t.Errorf("got %s, want [%d]", e.Payload.Args, i+1)
			}
		}
	})
}

func TestShutdownDoesNotWaitForAnAuthorizer(t *testing.T) {
	entered := make(chan struct{})
	forever := authorizer(func(ctx context.Context, _ *router.Question) (router.Decision, error) {
		close(entered)
		<-ctx.Done()
		return router.Decision{}, ctx.Err()
	})
	r := newRouter(t, func(c *router.Config) {
		c.AuthorizeTimeout = time.Hour
		c.Realms = []router.RealmConfig{{Name: realm1, Roles: map[string]router.Role{"r": {Authorizer: forever}}}}
	})
	p := as(t, r, "r")
	p.Send(&wampcore.Call{Request: 1, Procedure: "p"})
	<-entered
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPiecesOfACallAreNotAuthorizedAgain(t *testing.T) {
	asked := 0
	count := func(context.Context, *router.Question) (router.Decision, error) {
		asked++
		return router.Decision{Allow: true}, nil
	}
	judged(t, count, func(t *court) {
		callee := as(t, t.r, "all")
		register(callee, 1, "com.p")
		for i := range 3 {
			t.p.Send(&wampcore.Call{Request: 1, Procedure: "com.p", Options: wampcore.CallOptions{Progress: i < 2}})
			wamptest.Expect[*wampcore.Invocation](callee)
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
}

package router_test

import (
	"context"
	"strings"
	"testing"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
)

// only is an authorizer that lets one URI pass, and knows nothing of those that begin with "com.broken".
type only wampcore.URI

func (o only) Authorize(_ context.Context, q *router.Question) (router.Decision, error) {
	if strings.HasPrefix(string(q.URI), "com.broken") {
		return router.Decision{}, context.DeadlineExceeded
	}
	return router.Decision{Allow: q.URI == wampcore.URI(o)}, nil
}

func TestProceduresAreListedThatTheirCallerMayCall(t *testing.T) {
	r := ruled(t, map[string]router.Role{
		"callee": {Permissions: []router.Permission{{Match: wampcore.MatchPrefix, Allow: router.AllActions}}},
		"shop":   {Permissions: []router.Permission{{URI: "com.shop.", Match: wampcore.MatchPrefix, Allow: router.ActionCall}}},
		"asked":  {Authorizer: only("com.shop.b")},
		"nobody": {},
	})
	callee := as(t, r, "callee")
	for i, reg := range []struct {
		uri   wampcore.URI
		match wampcore.Match
	}{
		{"com.shop.b", wampcore.MatchExact},
		{"com.shop.a", wampcore.MatchExact},
		{"com.bank.x", wampcore.MatchExact},
		{"com.shop.c.", wampcore.MatchPrefix},
		{"com..x", wampcore.MatchWildcard},
		{"com.broken", wampcore.MatchExact},
	} {
		tried(t, callee, router.ActionRegister, wampcore.ID(i+1), reg.uri, reg.match)
	}
	callee.Send(&wampcore.Call{Request: 7, Procedure: "wamp.reflect.define", Payload: wampcore.Payload{
		Encoding: wampcore.JSON, Args: []byte(`["com.shop.a",{"type":"procedure","summary":"x"}]`),
	}})
	mustReceive(t, callee)
	for role, want := range map[string]string{
		"shop":   "com.shop.a exact, com.shop.b exact, com.shop.c. prefix",
		"asked":  "com.shop.b exact",
		"nobody": "",
		"callee": "com..x wildcard, com.bank.x exact, com.broken exact, com.shop.a exact, com.shop.b exact, com.shop.c. prefix",
	} {
		p := as(t, r, role)
		p.Send(&wampcore.Call{Request: 1, Procedure: "wamp.reflection.procedure.list_callable"})
		res, ok := mustReceive(t, p).(*wampcore.Result)
		if !ok {
			t.Fatalf("%s: no result", role)
		}
		var list []struct {
			URI        string         `codec:"uri"`
			Match      string         `codec:"match"`
			Definition map[string]any `codec:"definition"`
		}
		if err := res.Payload.DecodeArgs(&list); err != nil {
			t.Fatal(err)
		}
		all := make([]string, 0, len(list))
		for _, one := range list {
			all = append(all, one.URI+" "+one.Match)
			if (one.Definition != nil) != (one.URI == "com.shop.a") {
				t.Errorf("%s: %s is defined as %v", role, one.URI, one.Definition)
			}
		}
		if got := strings.Join(all, ", "); got != want {
			t.Errorf("%s: got %s, want %s", role, got, want)
		}
	}
}

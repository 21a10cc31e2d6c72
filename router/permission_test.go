package router

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wampgate/wampgate/wampcore"
)

// universe is every URI of one to three components out of a few.
func universe() []wampcore.URI {
	parts := []string{"a", "b", "ab"}
	all := make([]wampcore.URI, 0, 39)
	level := []string{""}
	for range 3 {
		next := make([]string, 0, len(level)*len(parts))
		for _, head := range level {
			for _, part := range parts {
				uri := strings.TrimPrefix(head+"."+part, ".")
				next = append(next, uri)
				all = append(all, wampcore.URI(uri))
			}
		}
		level = next
	}
	return all
}

func drawPattern(t *rapid.T, name string) entry {
	match := rapid.SampledFrom([]wampcore.Match{wampcore.MatchExact, wampcore.MatchPrefix, wampcore.MatchWildcard}).Draw(t, name+" match")
	var uri wampcore.URI
	switch match {
	case wampcore.MatchExact:
		uri = rapid.SampledFrom(universe()).Draw(t, name)
	case wampcore.MatchPrefix:
		whole := rapid.SampledFrom(universe()).Draw(t, name)
		uri = whole[:rapid.IntRange(0, len(whole)).Draw(t, name+" length")]
	default:
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "ab"}), 1, 3).Draw(t, name)
		uri = wampcore.URI(strings.Join(parts, "."))
	}
	return entry{uri, match}
}

func drawRole(t *rapid.T) Role {
	var role Role
	seen := map[entry]bool{}
	for i := range rapid.IntRange(0, 6).Draw(t, "permissions") {
		e := drawPattern(t, fmt.Sprint("permission ", i))
		if !seen[e] {
			seen[e] = true
			role.Permissions = append(role.Permissions, Permission{
				URI: e.uri, Match: e.match, Allow: Action(rapid.IntRange(0, int(AllActions)).Draw(t, "allow")),
			})
		}
	}
	return role
}

// allowed says what the most specific permission says, found by looking at all of them.
func (role *Role) allowed(a Action, uri wampcore.URI) bool {
	var best *Permission
	for i := range role.Permissions {
		p := &role.Permissions[i]
		e := entry{p.URI, p.Match}
		if e.matches(uri) && (best == nil || e.better(entry{best.URI, best.Match})) {
			best = p
		}
	}
	return best != nil && best.Allow&a != 0
}

func (r *rules) allow(a Action, uri wampcore.URI, match wampcore.Match) bool {
	s := &session{conn: &conn{router: &Router{}}}
	d, _ := s.decide(nil, r, question{a, uri, match, nil})
	return d.Allow
}

func TestMostSpecificPermissionDecides(t *testing.T) {
	all := universe()
	rapid.Check(t, func(t *rapid.T) {
		role := drawRole(t)
		r := newRules("r", role, &RealmConfig{})
		for _, a := range []Action{ActionCall, ActionRegister, ActionPublish, ActionSubscribe} {
			for _, uri := range all {
				if got, want := r.allow(a, uri, wampcore.MatchExact), role.allowed(a, uri); got != want {
					t.Fatalf("%s %s: got %t, want %t", a, uri, got, want)
				}
			}
		}
	})
}

func TestPatternIsAllowedOnlyIfAllThatItMatchesIs(t *testing.T) {
	all := universe()
	rapid.Check(t, func(t *rapid.T) {
		role, pattern := drawRole(t), drawPattern(t, "pattern")
		r := newRules("r", role, &RealmConfig{})
		for _, a := range []Action{ActionRegister, ActionSubscribe} {
			if !r.allow(a, pattern.uri, pattern.match) {
				continue
			}
			for _, uri := range all {
				if pattern.matches(uri) && !role.allowed(a, uri) {
					t.Fatalf("%s %s by %s is allowed, but %s is not", a, pattern.uri, pattern.match, uri)
				}
			}
		}
	})
}

func TestPatternsThatPermissionsCoverAreAllowed(t *testing.T) {
	const exact, prefix, wildcard = wampcore.MatchExact, wampcore.MatchPrefix, wampcore.MatchWildcard
	allow := func(uri wampcore.URI, match wampcore.Match) Permission {
		return Permission{URI: uri, Match: match, Allow: AllActions}
	}
	deny := func(uri wampcore.URI, match wampcore.Match) Permission { return Permission{URI: uri, Match: match} }
	for _, c := range []struct {
		permissions []Permission
		uri         wampcore.URI
		match       wampcore.Match
		want        bool
	}{
		{[]Permission{allow("", prefix)}, "", prefix, true},
		{[]Permission{allow("", prefix)}, "a..b", wildcard, true},
		{[]Permission{allow("a.", prefix)}, "a.", prefix, true},
		{[]Permission{allow("a.", prefix)}, "a", prefix, false}, // ab is not meant
		{[]Permission{allow("a.", prefix)}, "a.b", prefix, true},
		{[]Permission{allow("a.", prefix)}, "", prefix, false},
		{[]Permission{allow("a.", prefix)}, "a..c", wildcard, true},
		{[]Permission{allow("a.", prefix)}, ".b", wildcard, false},
		{[]Permission{allow("a.b", exact)}, "a.b", wildcard, true}, // a wildcard pattern without one
		{[]Permission{allow("a.b", exact)}, "a.b", prefix, false},
		{[]Permission{allow("a..c", wildcard)}, "a..c", wildcard, true},
		{[]Permission{allow("a..", wildcard)}, "a..c", wildcard, true},
		{[]Permission{allow("a..c", wildcard)}, "a..", wildcard, false},
		{[]Permission{allow("a.", prefix), deny("a.secret", exact)}, "a.", prefix, false},
		{[]Permission{allow("a.", prefix), deny("a.secret", exact)}, "a.open", prefix, true},
		{[]Permission{allow("a.", prefix), deny("a.secret", exact)}, "a.", wildcard, false},
		{[]Permission{allow("a.", prefix), deny("a.s.", prefix)}, "a..x", wildcard, false},
		{[]Permission{allow("a.", prefix), deny("a..x", wildcard)}, "a.", prefix, true}, // a prefix beats a wildcard
		{[]Permission{allow("", prefix), deny("a.", prefix), allow("a.b.", prefix)}, "a.b.c", prefix, true},
		{[]Permission{allow("..c", wildcard), deny("a..c", wildcard)}, "..c", wildcard, false},
		{[]Permission{allow("a..c", wildcard), deny("..c", wildcard)}, "a..c", wildcard, true},
		{[]Permission{allow("", prefix), deny("wamp.", prefix)}, "", prefix, true}, // it does not get what is the router's
		{[]Permission{allow("", prefix), deny("wamp.", prefix)}, "wamp.session.", prefix, false},
		{[]Permission{allow("", prefix), deny("wamp.", prefix)}, "wamp", prefix, false},
		{[]Permission{allow("", prefix), deny("wamp..on_join", wildcard), allow("wamp.", prefix)}, "wamp", prefix, true},
		{[]Permission{allow("", prefix), deny("wamp.session.on_join", exact)}, "wamp..on_join", wildcard, false},
		{[]Permission{deny("", prefix)}, "a.", prefix, false},
	} {
		r := newRules("r", Role{Permissions: c.permissions}, &RealmConfig{})
		if got := r.allow(ActionSubscribe, c.uri, c.match); got != c.want {
			t.Errorf("%q by %s with %+v: got %t, want %t", c.uri, c.match, c.permissions, got, c.want)
		}
	}
}

func TestWhatTakesFromOthersNeedsAPermissionThatNamesIt(t *testing.T) {
	for _, c := range []struct {
		cfg  RealmConfig
		role string
		want bool
	}{
		{RealmConfig{}, "anonymous", false},
		{RealmConfig{Operators: []string{"ops"}}, "anonymous", false},
		{RealmConfig{Operators: []string{"ops"}}, "ops", true},
		{RealmConfig{Roles: map[string]Role{"r": everything}}, "r", false},
		{RealmConfig{Roles: map[string]Role{"r": everything}, Operators: []string{"r"}}, "r", true},
		{RealmConfig{Roles: map[string]Role{"r": {Permissions: []Permission{{URI: "wamp.", Match: wampcore.MatchPrefix, Allow: ActionCall}}}}}, "r", true},
	} {
		r := newRoles(&c.cfg).of(c.role)
		for uri := range taking {
			if got := r.allow(ActionCall, uri, wampcore.MatchExact); got != c.want {
				t.Errorf("%+v, %s: got %t, want %t", c.cfg, uri, got, c.want)
			}
		}
		if c.cfg.Roles == nil && !r.allow(ActionCall, "wamp.session.list", wampcore.MatchExact) {
			t.Errorf("%+v: the meta API cannot be called", c.cfg)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("a..c", byte(2), "a.", byte(1), "a.b.c")
	f.Add("", byte(1), "..", byte(2), "a.b.c")
	f.Add("a.b", byte(0), "a.b", byte(2), "a.b")
	f.Fuzz(func(t *testing.T, permission string, m1 byte, pattern string, m2 byte, uri string) {
		p := Permission{URI: wampcore.URI(permission), Match: wampcore.Match(m1 % 3), Allow: AllActions}
		e, u := entry{wampcore.URI(pattern), wampcore.Match(m2 % 3)}, wampcore.URI(uri)
		if p.validate() != nil || !e.uri.ValidPattern(e.match, false) || !u.Valid(false) || !e.matches(u) {
			return
		}
		own := entry{p.URI, p.Match}.matches(u)
		if p.covers(e.uri, e.match) && !own {
			t.Errorf("%+v covers %+v, but does not match %s", p, e, u)
		}
		if own && !p.meets(e.uri, e.match) {
			t.Errorf("%+v does not meet %+v, but both match %s", p, e, u)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	many := Role{}
	for i := range 1000 {
		many.Permissions = append(many.Permissions, Permission{
			URI: wampcore.URI(fmt.Sprintf("com.example.%d.", i)), Match: wampcore.MatchPrefix, Allow: AllActions, Cache: i%2 == 0,
		})
	}
	for name, role := range map[string]Role{"everything": everything, "of a thousand": many} {
		for _, uri := range []wampcore.URI{"com.example.500.procedure", "com.example.501.procedure"} {
			b.Run(name+" "+string(uri), func(b *testing.B) {
				s, r := &session{conn: &conn{router: &Router{}}}, newRules("r", role, &RealmConfig{})
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.decide(nil, r, question{ActionCall, uri, wampcore.MatchExact, nil}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

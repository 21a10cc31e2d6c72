package router

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wampgate/wampgate/wampcore"
)

type entry struct {
	uri   wampcore.URI
	match wampcore.Match
}

// matches is the naive model of the index.
func (e entry) matches(uri wampcore.URI) bool {
	switch e.match {
	case wampcore.MatchPrefix:
		return strings.HasPrefix(string(uri), string(e.uri))
	case wampcore.MatchWildcard:
		want, got := strings.Split(string(e.uri), "."), strings.Split(string(uri), ".")
		return slices.EqualFunc(want, got, func(w, g string) bool { return w == "" || w == g })
	default:
		return e.uri == uri
	}
}

// better reports whether e comes before o for a call, both matching.
func (e entry) better(o entry) bool {
	if e.match != o.match {
		return e.match < o.match // exact, prefix, wildcard
	}
	if e.match == wampcore.MatchPrefix {
		return len(e.uri) > len(o.uri)
	}
	a, b := strings.Split(string(e.uri), "."), strings.Split(string(o.uri), ".")
	for i := range a {
		if (a[i] == "") != (b[i] == "") {
			return a[i] != ""
		}
	}
	return false
}

func TestIndexFindsWhatANaiveScanFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex[entry]()
		model := map[entry]*entry{}
		uri := rapid.Custom(func(t *rapid.T) wampcore.URI {
			parts := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "ab", "abc"}), 1, 4).Draw(t, "parts")
			return wampcore.URI(strings.Join(parts, "."))
		})
		for range rapid.IntRange(1, 40).Draw(t, "operations") {
			e := entry{uri.Draw(t, "uri"), wampcore.Match(rapid.IntRange(0, 2).Draw(t, "match"))}
			if got := x.at(e.uri, e.match); got != model[e] {
				t.Fatalf("at %v: got %v, want %v", e, got, model[e])
			}
			if model[e] != nil && rapid.Bool().Draw(t, "remove") {
				delete(model, e)
			} else {
				model[e] = &e
			}
			x.set(e.uri, e.match, model[e])
		}
		probe := uri.Draw(t, "probe")
		var want, got []string
		var best *entry
		for e, p := range model {
			if e.matches(probe) {
				want = append(want, fmt.Sprint(e))
				if best == nil || e.better(*best) {
					best = p
				}
			}
		}
		x.each(probe, func(v *entry, match wampcore.Match) {
			if v.match != match {
				t.Errorf("%v was reported as %s", v, match)
			}
			got = append(got, fmt.Sprint(*v))
		})
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q matches %v, want %v", probe, got, want)
		}
		if b := x.best(probe); b != best {
			t.Errorf("best for %q: got %v, want %v", probe, b, best)
		}
	})
}

func TestIndexIsEmptyWhenAllIsTakenOut(t *testing.T) {
	x := newIndex[entry]()
	uris := []wampcore.URI{"", "com", "com.a", "com.ab", "com.abc.d", "com..d", ".a", "a."}
	for _, match := range []wampcore.Match{wampcore.MatchExact, wampcore.MatchPrefix, wampcore.MatchWildcard} {
		for _, uri := range uris {
			x.set(uri, match, &entry{uri, match})
		}
		for _, uri := range uris {
			x.set(uri, match, nil)
		}
	}
	if len(x.exact) > 0 || len(x.prefix.children) > 0 || x.prefix.value != nil || len(x.wildcard.literal) > 0 || x.wildcard.any != nil {
		t.Errorf("left over: %+v", x)
	}
}

// The seven registrations of the RFC's example, in the reading that prefixes are strings.
func TestCallsGoToTheMostSpecificRegistration(t *testing.T) {
	x := newIndex[entry]()
	for _, e := range []entry{
		{"a1.b2.c3.d4.e55", wampcore.MatchExact},
		{"a1.b2.c3", wampcore.MatchPrefix},
		{"a1.b2.c3.d4", wampcore.MatchPrefix},
		{"a1.b2..d4.e5", wampcore.MatchWildcard},
		{"a1.b2.c33..e5", wampcore.MatchWildcard},
		{"a1.b2..d4.e5..g7", wampcore.MatchWildcard},
		{"a1.b2..d4..f6.g7", wampcore.MatchWildcard},
	} {
		x.set(e.uri, e.match, &e)
	}
	for uri, want := range map[wampcore.URI]wampcore.URI{
		"a1.b2.c3.d4.e55":        "a1.b2.c3.d4.e55",
		"a1.b2.c3.d98.e74":       "a1.b2.c3",
		"a1.b2.c3.d4.e325":       "a1.b2.c3.d4",
		"a1.b2.c33.d4.e5":        "a1.b2.c3",
		"a1.b2.c55.d4.e5":        "a1.b2..d4.e5",
		"a1.b2.c88.d4.e5.f6.g7":  "a1.b2..d4.e5..g7",
		"a1.b2.c44.d4.e77.f6.g7": "a1.b2..d4..f6.g7",
		"a2.b2.c2.d2.e2":         "none",
	} {
		got := wampcore.URI("none")
		if e := x.best(uri); e != nil {
			got = e.uri
		}
		if got != want {
			t.Errorf("%s goes to %s, want %s", uri, got, want)
		}
	}
}

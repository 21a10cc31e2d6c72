package router

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

func remember(h *history, id, size int) {
	h.append(&publication{
		id: wampcore.ID(id), at: time.Now(), topic: "t", payload: wampcore.Payload{Args: make([]byte, size)},
	})
}

func TestHistoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name        string
			cfg         HistoryConfig
			first, kept int
		}{
			{"by number", HistoryConfig{Events: 100}, 901, 100},
			{"by size", HistoryConfig{Bytes: 10 * (100 + publicationOverhead + 1)}, 991, 10},
			{"by age", HistoryConfig{Age: 50 * time.Second}, 950, 51},
		} {
			h := newHistory(c.cfg)
			for i := range 1000 {
				time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
				remember(&h, i+1, 100)
			}
			if got := int(h.next - h.first); got != c.kept || len(h.numbers) != c.kept || h.at(h.first).id != wampcore.ID(c.first) {
				t.Errorf("%s: %d kept, %d known, from %d on; want %d from %d on",
					c.name, got, len(h.numbers), h.at(h.first).id, c.kept, c.first)
			}
		}
	})
}

func TestOnePublicationIsKeptHoweverLarge(t *testing.T) {
	h := newHistory(HistoryConfig{Bytes: 1000})
	remember(&h, 1, 5000)
	remember(&h, 2, 5000)
	if h.next-h.first != 1 || h.at(h.first).id != 2 {
		t.Errorf("%d kept", h.next-h.first)
	}
}

func TestLastIsKnownFromTheFirstQuestionOn(t *testing.T) {
	h := newHistory(HistoryConfig{})
	first := h.last()
	if first == 0 || h.last() != first || h.numbers[first] != 0 || h.next != 1 {
		t.Errorf("got %d, then %d", first, h.last())
	}
	if h := newHistory(HistoryConfig{Off: true}); h.last() != 0 {
		t.Error("nothing is kept, and yet there is a last publication")
	}
}

func TestWhatIsTooOldIsAGapForWhoGoesOnFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRealm(nil, "realm1", newPolicy(RealmConfig{Name: "realm1", History: HistoryConfig{Age: time.Minute}}))
		for id := range 3 {
			remember(&r.history, id+1, 1)
		}
		from := wampcore.ID(1)
		q := &query{from: &from, after: true, asker: &session{}}
		q.ask([]asked{{topic: "t"}})
		if found := r.find(q); len(found.events) != 2 || found.gap {
			t.Errorf("got %d events, gap %v", len(found.events), found.gap)
		}
		time.Sleep(2 * time.Minute) //nolint:forbidigo // the bubble's clock
		if found := r.find(q); len(found.events) != 0 || !found.gap {
			t.Errorf("got %d events, gap %v", len(found.events), found.gap)
		}
	})
}

func TestPublicationIsOfTheFirstSubscriptionThatItIsFor(t *testing.T) {
	patterns := []asked{
		{1, "a.b", wampcore.MatchExact},
		{2, "a", wampcore.MatchPrefix},
		{3, "a..c", wampcore.MatchWildcard},
		{4, "a.b", wampcore.MatchPrefix},
		{5, "..c", wampcore.MatchWildcard},
		{2, "a", wampcore.MatchPrefix},
		{6, "", wampcore.MatchPrefix},
		{7, "b", wampcore.MatchExact},
	}
	for range 200 {
		rand.Shuffle(len(patterns), func(i, j int) { patterns[i], patterns[j] = patterns[j], patterns[i] })
		subscriptions := patterns[:rand.IntN(len(patterns)+1)]
		q := &query{}
		q.ask(subscriptions)
		for _, topic := range []wampcore.URI{"a.b", "a.b.c", "b.b.c", "b", "ab", "c"} {
			want := wampcore.ID(0)
			if i := slices.IndexFunc(subscriptions, func(a asked) bool { return matches(a.topic, a.match, topic) }); i >= 0 {
				want = subscriptions[i].id
			}
			got := wampcore.ID(0)
			if a := q.of(&publication{topic: topic}); a != nil {
				got = a.id
			}
			if got != want {
				t.Errorf("%v, %s: got %d, want %d", subscriptions, topic, got, want)
			}
		}
	}
}

func TestNewestRetainedAreSentTheOldestFirst(t *testing.T) {
	var r retained
	const surplus = 100
	for _, i := range rand.Perm(maxRetainedAtOnce + surplus) {
		r.keep(publication{id: wampcore.ID(i + 1), at: time.Unix(int64(i), 0), topic: wampcore.URI(fmt.Sprintf("t.%d", i))})
	}
	found := r.find(&session{id: 1}, "t.", wampcore.MatchPrefix)
	if len(found) != maxRetainedAtOnce {
		t.Fatalf("got %d", len(found))
	}
	for i, p := range found {
		if p.id != wampcore.ID(surplus+i+1) {
			t.Fatalf("number %d is %d", i, p.id)
		}
	}
}

// BenchmarkRetainedByAPattern is what a subscription takes that wants what all topics retain.
func BenchmarkRetainedByAPattern(b *testing.B) {
	var r retained
	for i := range maxRetainedTopics {
		r.keep(publication{id: wampcore.NewID(), at: time.Now(), topic: wampcore.URI(fmt.Sprintf("com.example.%d", i))})
	}
	b.ReportAllocs()
	for b.Loop() {
		r.find(&session{id: 1}, "", wampcore.MatchPrefix)
	}
}

// BenchmarkPastOfManyPatterns is how long publishers wait, at the most, for who asks for the past.
func BenchmarkPastOfManyPatterns(b *testing.B) {
	q := &query{asker: &session{}}
	subscriptions := make([]asked, maxAsked)
	for i := range subscriptions {
		subscriptions[i] = asked{1, wampcore.URI(fmt.Sprintf("com.example..a.b.c.x%d", i)), wampcore.MatchWildcard}
	}
	q.ask(subscriptions)
	p := &publication{topic: "com.example.topic.a.b.c.d"}
	for b.Loop() {
		for range historyChunk {
			q.wants(p)
		}
	}
}

// BenchmarkRemember is what the history costs a publication.
func BenchmarkRemember(b *testing.B) {
	h := newHistory(HistoryConfig{})
	p := publication{at: time.Now(), topic: "com.example.topic", payload: wampcore.Payload{Args: make([]byte, 16)}}
	b.ReportAllocs()
	for b.Loop() {
		p.id++
		h.append(&p)
	}
}

// BenchmarkMatch looks up one URI among many: the number of entries does not matter.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		for name, c := range map[string]struct {
			match   wampcore.Match
			pattern func(i int) string
			uri     wampcore.URI
		}{
			"exact":    {wampcore.MatchExact, func(i int) string { return fmt.Sprintf("com.example.t%d.x", i) }, "com.example.t50.x"},
			"prefix":   {wampcore.MatchPrefix, func(i int) string { return fmt.Sprintf("com.example.t%d.", i) }, "com.example.t50.x"},
			"wildcard": {wampcore.MatchWildcard, func(i int) string { return fmt.Sprintf("com..t%d.x", i) }, "com.example.t50.x"},
		} {
			x := newIndex[int]()
			for i := range n {
				x.set(wampcore.URI(c.pattern(i)), c.match, new(int))
			}
			b.Run(fmt.Sprintf("%s of %d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if x.best(c.uri) == nil {
						b.Fatal("not found")
					}
					x.each(c.uri, func(*int, wampcore.Match) {})
				}
			})
		}
	}
}

package router

import (
	"fmt"
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

package router

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"

	"github.com/wampgate/wampgate/wampcore"
)

// What a realm retains at the most. [RFC event retention] It is best effort: what does not fit is not kept.
const (
	maxRetainedTopics     = 1 << 17
	maxRetainedBytes      = 64 << 20
	maxRetainedRestricted = 16
	maxRetainedAtOnce     = 1024 // sent to one subscription by a pattern, the oldest first
)

// retained holds the newest publication of each topic that asked for it, and those newer than it that not everybody may
// get: so each subscriber finds the newest that it would have received.
type retained struct {
	mu     sync.Mutex
	topics map[wampcore.URI][]publication // the newest last; only the first may be for everybody
	bytes  int
}

// keep stores p, which the publisher wants retained. A topic whose newest does not fit retains nothing: what it had is not so any more.
func (t *retained) keep(p publication) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept, known := t.topics[p.topic]
	if !known && len(t.topics) >= maxRetainedTopics {
		return
	}
	drop := len(kept) // an unrestricted one replaces all
	if p.only != nil {
		drop = 0
		if len(kept) >= maxRetainedRestricted {
			drop = 1
		}
	}
	freed := 0
	for i := range drop {
		freed += kept[i].size()
	}
	if t.bytes-freed+p.size() > maxRetainedBytes {
		for _, old := range kept {
			t.bytes -= old.size()
		}
		delete(t.topics, p.topic)
		return
	}
	t.bytes += p.size() - freed
	if t.topics == nil {
		t.topics = map[wampcore.URI][]publication{}
	}
	t.topics[p.topic] = append(slices.Clone(kept[drop:]), p)
}

// newest returns the newest publication of a topic that s would have received, nil if there is none.
func (t *retained) newest(topic wampcore.URI, s *session) *publication {
	kept := t.topics[topic]
	for i := len(kept) - 1; i >= 0; i-- {
		if kept[i].eligible(s) {
			return &kept[i]
		}
	}
	return nil
}

// find returns what is retained for s on the topics that match, the oldest first. The realm's lock is held meanwhile: of many it picks the
// newest as it goes.
func (t *retained) find(s *session, topic wampcore.URI, match wampcore.Match) []*publication {
	t.mu.Lock()
	defer t.mu.Unlock()
	if match == wampcore.MatchExact {
		if p := t.newest(topic, s); p != nil {
			return []*publication{p}
		}
		return nil
	}
	var found oldestOnTop
	for at := range t.topics {
		if !matches(topic, match, at) {
			continue
		}
		p := t.newest(at, s)
		switch {
		case p == nil:
		case len(found) < maxRetainedAtOnce:
			heap.Push(&found, p)
		case found[0].compare(p) < 0:
			found[0] = p
			heap.Fix(&found, 0)
		}
	}
	slices.SortFunc(found, (*publication).compare)
	return found
}

// sendRetained queues what is retained for a new subscriber, behind its SUBSCRIBED.
func (r *realm) sendRetained(b *batch, s *session, sub *subscription) {
	for _, p := range r.retained.find(s, sub.topic, sub.match) {
		e := p.event(sub)
		e.Details.Retained = true
		b.send(s, e)
	}
}

// oldestOnTop is a heap.
type oldestOnTop []*publication

func (h oldestOnTop) Len() int           { return len(h) }
func (h oldestOnTop) Less(i, j int) bool { return h[i].compare(h[j]) < 0 }
func (h oldestOnTop) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push adds an element.
func (h *oldestOnTop) Push(x any) {
	if p, ok := x.(*publication); ok {
		*h = append(*h, p)
	}
}

// Pop takes the last element away.
func (h *oldestOnTop) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// compare is below 0 if p is older than o.
func (p *publication) compare(o *publication) int {
	return cmp.Or(p.at.Compare(o.at), cmp.Compare(p.id, o.id))
}

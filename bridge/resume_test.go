package bridge_test

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/router" //nolint:depguard // a real router at the other end
	"github.com/wampgate/wampgate/wampcore"
)

// follower is a client that follows the rules: it comes back with the last cursor that it has seen.
type follower struct {
	n      *network
	req    bridge.StreamRequest
	r      *reader // nil: it is away
	cursor string
	seen   []line
}

func (f *follower) come() {
	if f.r != nil {
		return
	}
	req := f.req
	req.Cursor = f.cursor
	f.r = f.n.read(req)
}

func (f *follower) leave() {
	if f.r == nil {
		return
	}
	f.r.hangUp()
	for _, l := range f.r.lines {
		if l.Cursor != "" {
			f.cursor = l.Cursor
		}
		if l.Name == "" || l.Name == "wamp.gap" {
			f.seen = append(f.seen, l)
		}
	}
	f.r = nil
}

// world is a realm, with what was published in it for the follower.
type world struct {
	n         *network
	f         *follower
	published []publication // in order
	next      int
}

// publication is one for the follower.
type publication struct {
	id      wampcore.ID
	perhaps bool // it is for sessions that are there, and kept for none that come later
}

func (w *world) publish(topic wampcore.URI, opts wampcore.PublishOptions) {
	id := w.n.send(topic, w.next, opts)
	w.next++
	if topic != "z" && opts.Eligible == nil {
		w.published = append(w.published, publication{id, opts.Exclude != nil})
	}
}

// check holds what the follower has seen against what was published.
func (w *world) check(t *rapid.T, gaps bool) {
	at := map[wampcore.ID]int{}
	for i, p := range w.published {
		at[p.id] = i
	}
	next, mayMiss := 0, false
	for _, l := range w.f.seen {
		if l.Name == "wamp.gap" {
			if mayMiss = true; !gaps {
				t.Fatalf("a gap where nothing was evicted: %s", l.Data)
			}
			continue
		}
		var e struct{ Publication wampcore.ID }
		if err := json.Unmarshal([]byte(l.Data), &e); err != nil {
			t.Fatal(err)
		}
		i, ok := at[e.Publication]
		for next < i && w.published[next].perhaps {
			next++
		}
		switch {
		case !ok:
			t.Fatalf("never published: %+v", l)
		case i < next:
			t.Fatalf("twice, or out of order: the event %d came behind %d", i, next-1)
		case i > next && !mayMiss:
			t.Fatalf("lost: the event %d came behind %d, and no gap", i, next-1)
		}
		next, mayMiss = i+1, false
	}
	for next < len(w.published) && w.published[next].perhaps {
		next++
	}
	if next != len(w.published) && !mayMiss {
		t.Fatalf("%d of %d events, and no gap", next, len(w.published))
	}
}

func TestFollowerSeesEachEventOnceOrAGap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		small := rapid.Bool().Draw(rt, "small history")
		realm := router.RealmConfig{}
		if small {
			realm.History.Events = rapid.IntRange(1, 40).Draw(rt, "history")
		}
		n := connectTo(&cleanup{TB: t}, rapid.Bool().Draw(rt, "shared"), realm,
			bridge.Config{StreamEvents: rapid.IntRange(1000, 2000).Draw(rt, "queue")})
		defer n.TB.(*cleanup).run()
		w := &world{n: n, f: &follower{n: n, req: bridge.StreamRequest{Topics: []bridge.Topic{
			{URI: "a"}, {URI: "b", Match: wampcore.MatchPrefix}, {URI: "", Match: wampcore.MatchWildcard}, {URI: "b.c"},
		}[:rapid.IntRange(1, 4).Draw(rt, "topics")]}}}
		topics := []wampcore.URI{"a", "z"}
		if len(w.f.req.Topics) > 1 {
			topics = append(topics, "b", "b.c", "bb")
		}
		w.f.req.Topics = append(w.f.req.Topics, bridge.Topic{URI: "a"})
		w.f.come()
		w.f.r.expect("ready live") // with the first cursor: before it, there is nothing to come back with
		topic := rapid.SampledFrom(topics)
		wildcard := len(w.f.req.Topics) > 3 // which matches z, too
		publish := func(rt *rapid.T) {
			to := topic.Draw(rt, "topic")
			if wildcard && to == "z" {
				to = "z.z"
			}
			opts := wampcore.PublishOptions{}
			switch rapid.IntRange(0, 9).Draw(rt, "for whom") {
			case 0:
				opts.Eligible = []wampcore.ID{1}
			case 1, 2:
				opts.Exclude = []wampcore.ID{1}
			}
			if to == "z.z" {
				opts.Eligible = []wampcore.ID{1}
			}
			w.publish(to, opts)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"publish": publish,
			"publish many": func(rt *rapid.T) {
				for range rapid.IntRange(1, 60).Draw(rt, "many") {
					publish(rt)
				}
			},
			"leave": func(*rapid.T) { w.f.leave() },
			"come":  func(*rapid.T) { w.f.come() },
			"come while much is published": func(rt *rapid.T) {
				w.f.leave()
				var coming sync.WaitGroup
				coming.Go(w.f.come)
				for range rapid.IntRange(1, 30).Draw(rt, "meanwhile") {
					publish(rt)
				}
				coming.Wait()
			},
		})
		w.f.come()
		w.publish("a", wampcore.PublishOptions{})
		for last := bridge.Cursor(w.published[len(w.published)-1].id); w.f.r.lastCursor() != last; {
			w.f.r.next()
		}
		w.f.leave()
		w.check(rt, small)
	})
}

// cleanup runs cleanups when it is told to.
type cleanup struct {
	testing.TB
	all []func()
}

func (c *cleanup) Cleanup(f func()) { c.all = append(c.all, f) }

func (c *cleanup) run() {
	for _, f := range slices.Backward(c.all) {
		f()
	}
}

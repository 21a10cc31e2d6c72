package router_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// reader is a peer of the broker, with what it should have been sent.
type reader struct {
	p       *wamptest.Peer
	t       wampcore.Transport
	id      wampcore.ID
	request wampcore.ID
	subs    map[pattern]bool
	want    []string
}

type pattern struct {
	topic wampcore.URI
	match wampcore.Match
}

// stands reports whether a pattern stands for a topic: the rules, naively.
func (p pattern) stands(topic wampcore.URI) bool {
	switch p.match {
	case wampcore.MatchPrefix:
		return strings.HasPrefix(string(topic), string(p.topic))
	case wampcore.MatchWildcard:
		want, got := strings.Split(string(p.topic), "."), strings.Split(string(topic), ".")
		return len(want) == len(got) && !slices.ContainsFunc(want, func(w string) bool {
			i := slices.Index(want, w)
			return w != "" && got[i] != w
		})
	default:
		return p.topic == topic
	}
}

func TestEventsOfARandomWorldReachExactlyTheEligible(t *testing.T) {
	topics := []wampcore.URI{"a", "a.b", "a.b.c", "x.b.c", "ab"}
	patterns := []pattern{
		{"a", wampcore.MatchExact},
		{"a.b.c", wampcore.MatchExact},
		{"a", wampcore.MatchPrefix},
		{"a.", wampcore.MatchPrefix},
		{"", wampcore.MatchPrefix},
		{".b.c", wampcore.MatchWildcard},
		{"a..c", wampcore.MatchWildcard},
		{"x.b.c", wampcore.MatchWildcard},
	}
	for seed := range uint64(100) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 2))
				r := newRouter(t)
				var readers []*reader
				join := func() {
					transport := r.Dial()
					p := wamptest.New(t, transport)
					p.Send(&wampcore.Hello{Realm: realm1, Details: wampcore.HelloDetails{Roles: allFeatures()}})
					id := wamptest.Expect[*wampcore.Welcome](p).Session
					readers = append(readers, &reader{p: p, t: transport, id: id, subs: map[pattern]bool{}})
				}
				for range 4 {
					join()
				}
				retained := map[wampcore.URI]string{} // all of them are for everybody
				var past []string
				for n := range 120 {
					a := readers[random.IntN(len(readers))]
					a.request++
					switch random.IntN(8) {
					case 0, 1:
						p := patterns[random.IntN(len(patterns))]
						get := random.IntN(2) == 0
						a.p.Send(&wampcore.Subscribe{
							Request: a.request, Topic: p.topic, Options: wampcore.SubscribeOptions{Match: p.match, GetRetained: get},
						})
						a.subs[p] = true
						var kept []string
						for topic, event := range retained {
							publisher, _, _ := strings.Cut(event, " ")
							if get && p.stands(topic) && publisher != fmt.Sprint(a.id) {
								kept = append(kept, describe(p, topic, event, true))
							}
						}
						slices.Sort(kept) // they come in the order of their publication, which the number in them is
						slices.SortFunc(kept, func(a, b string) int { return numberOf(a) - numberOf(b) })
						a.want = append(a.want, kept...)
					case 2:
						for p := range maps.Keys(a.subs) {
							a.p.Send(&wampcore.Subscribe{Request: a.request, Topic: p.topic, Options: wampcore.SubscribeOptions{Match: p.match}})
							a.request++
							synctest.Wait()
							sub := subscribedAs(t, a, p)
							a.p.Send(&wampcore.Unsubscribe{Request: a.request, Subscription: sub})
							delete(a.subs, p)
							break
						}
					case 3:
						if random.IntN(4) == 0 {
							a.check(t)
							a.p.Close()
							readers = slices.DeleteFunc(readers, func(o *reader) bool { return o == a })
							join()
						}
					default:
						topic := topics[random.IntN(len(topics))]
						event := fmt.Sprintf("%d %d", a.id, n)
						o := wampcore.PublishOptions{IncludeMe: random.IntN(2) == 0}
						other := readers[random.IntN(len(readers))].id
						switch random.IntN(6) {
						case 0:
							o.Exclude = []wampcore.ID{other}
						case 1:
							o.Eligible = []wampcore.ID{other, a.id}
						case 2:
							o.EligibleAuthRole = []string{"nobody"}
						case 3:
							o.Retain, o.IncludeMe = true, false
							retained[topic] = event
						}
						a.p.Send(&wampcore.Publish{Request: a.request, Topic: topic, Options: o, Payload: args(fmt.Sprintf("[%q]", event))})
						if o.Exclude == nil && o.Eligible == nil && o.EligibleAuthRole == nil {
							past = append(past, event)
						}
						for _, to := range readers {
							eligible := (to != a || o.IncludeMe) && !slices.Contains(o.Exclude, to.id) &&
								(o.Eligible == nil || slices.Contains(o.Eligible, to.id)) && o.EligibleAuthRole == nil
							for p := range to.subs {
								if eligible && p.stands(topic) {
									to.want = append(to.want, describe(p, topic, event, false))
								}
							}
						}
					}
					synctest.Wait()
				}
				for _, a := range readers {
					a.check(t)
				}
				checkPast(t, readers[0], past)
			})
		})
	}
}

// describe is what a reader sees of an event, but for the subscription's id, which only the router knows.
func describe(p pattern, topic wampcore.URI, event string, retained bool) string {
	seen := ""
	if p.match != wampcore.MatchExact {
		seen = string(topic)
	}
	return fmt.Sprintf("%s %s %t", event, seen, retained)
}

// numberOf returns the second word: the number of the publication.
func numberOf(s string) int {
	n, _ := strconv.Atoi(strings.Fields(s)[1])
	return n
}

// check compares what came with what should have. Events of one publication come in any order.
func (a *reader) check(t *testing.T) {
	t.Helper()
	synctest.Wait()
	var got []string
	for a.t.Ready() {
		m, err := a.t.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := m.(*wampcore.Event); ok {
			var event string
			if err := e.Payload.DecodeArgs(&event); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%s %s %t", event, e.Details.Topic, e.Details.Retained))
		}
	}
	if !inOrder(got) {
		t.Errorf("events came out of order: %q", got)
	}
	slices.Sort(got)
	slices.Sort(a.want)
	if !slices.Equal(got, a.want) {
		t.Fatalf("got  %q\nwant %q", got, a.want)
	}
	a.want = nil
}

// inOrder reports whether live events came in the order of their publication.
func inOrder(got []string) bool {
	live := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return strings.HasSuffix(s, "true") })
	return slices.IsSortedFunc(live, func(a, b string) int { return numberOf(a) - numberOf(b) })
}

// subscribedAs returns the id in the last SUBSCRIBED, and checks what came before it.
func subscribedAs(t *testing.T, a *reader, p pattern) (id wampcore.ID) {
	t.Helper()
	var events []wampcore.Message
	for a.t.Ready() {
		m, err := a.t.Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *wampcore.Subscribed:
			id = m.Subscription
		case *wampcore.Event:
			events = append(events, m)
		}
	}
	for _, m := range events { // taken off the list of what is awaited
		e, _ := m.(*wampcore.Event)
		var event string
		if err := e.Payload.DecodeArgs(&event); err != nil {
			t.Fatal(err)
		}
		seen := fmt.Sprintf("%s %s %t", event, e.Details.Topic, e.Details.Retained)
		i := slices.Index(a.want, seen)
		if i < 0 {
			t.Fatalf("got %q, want one of %q", seen, a.want)
		}
		a.want = slices.Delete(a.want, i, i+1)
	}
	if id == 0 {
		t.Fatalf("there is no SUBSCRIBED for %v", p)
	}
	return id
}

// checkPast compares the event history over all topics with what was published.
func checkPast(t *testing.T, a *reader, want []string) {
	t.Helper()
	a.p.Send(&wampcore.Subscribe{Request: 1000, Options: wampcore.SubscribeOptions{Match: wampcore.MatchPrefix}})
	sub := wamptest.Expect[*wampcore.Subscribed](a.p).Subscription
	a.p.Send(&wampcore.Call{Request: 1001, Procedure: "wamp.subscription.get_events", Payload: args(fmt.Sprintf("[%d]", sub))})
	var events []struct {
		Args []string `codec:"args"`
	}
	result := wamptest.Expect[*wampcore.Result](a.p)
	if err := (wampcore.Raw{Encoding: result.Payload.Encoding, Bytes: result.Payload.Args}).Decode(&events); err != nil {
		t.Fatal(err)
	}
	got := make([]string, len(events))
	for i, e := range events {
		got[i] = e.Args[0]
	}
	if !slices.Equal(got, want) {
		t.Errorf("the past is\n%q, want\n%q", got, want)
	}
}

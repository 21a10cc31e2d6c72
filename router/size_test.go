package router

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

const much = 1 << 20

var long = strings.Repeat("x", much) //nolint:gochecknoglobals // a constant

func TestQueueCountsAllThatPeersPutIntoAMessage(t *testing.T) {
	ppt := wampcore.Passthru{Scheme: "x_a", KeyID: long}
	custom := wampcore.Attributes{{Key: "_abc", Value: wampcore.Raw{Encoding: wampcore.JSON, Bytes: []byte(long)}}}
	for _, m := range []wampcore.Message{
		&wampcore.Event{Details: wampcore.EventDetails{Topic: wampcore.URI(long)}},
		&wampcore.Event{Details: wampcore.EventDetails{PublisherAuthID: long}},
		&wampcore.Event{Details: wampcore.EventDetails{Passthru: ppt}},
		&wampcore.Event{Details: wampcore.EventDetails{Custom: custom}},
		&wampcore.Invocation{Details: wampcore.InvocationDetails{Procedure: wampcore.URI(long)}},
		&wampcore.Invocation{Details: wampcore.InvocationDetails{CallerAuthID: long}},
		&wampcore.Invocation{Details: wampcore.InvocationDetails{Passthru: ppt}},
		&wampcore.Invocation{Details: wampcore.InvocationDetails{Custom: custom}},
		&wampcore.Result{Details: wampcore.ResultDetails{Passthru: ppt}},
		&wampcore.Result{Details: wampcore.ResultDetails{Custom: custom}},
		&wampcore.ErrorMsg{URI: wampcore.URI(long)},
		&wampcore.ErrorMsg{Details: wampcore.ErrorDetails{Passthru: ppt}},
		&wampcore.ErrorMsg{Details: wampcore.ErrorDetails{Custom: custom}},
		&wampcore.Unsubscribed{Details: wampcore.RevokedDetails{Reason: long}},
		&wampcore.Unregistered{Details: wampcore.RevokedDetails{Reason: long}},
	} {
		if got := messageSize(m); got < much {
			t.Errorf("%T counts %d bytes, and has more than %d", m, got, much)
		}
	}
}

func TestAllThatIsKeptOfAPublicationIsCounted(t *testing.T) {
	names := make([]string, much/8)
	for i := range names {
		names[i] = "somebody"
	}
	for name, o := range map[string]wampcore.PublishOptions{
		"exclude_authid":    {ExcludeAuthID: names},
		"exclude_authrole":  {ExcludeAuthRole: names},
		"eligible_authid":   {EligibleAuthID: names},
		"eligible_authrole": {EligibleAuthRole: names},
		"exclude":           {Exclude: make([]wampcore.ID, much/8)},
		"eligible":          {Eligible: make([]wampcore.ID, much/8)},
		"ppt_keyid":         {Passthru: wampcore.Passthru{Scheme: "x_a", KeyID: long}},
		"attributes":        {Custom: wampcore.Attributes{{Key: "_abc", Value: wampcore.Raw{Bytes: []byte(long)}}}},
	} {
		p := newPublication(&session{conn: &conn{}}, &rules{}, &wampcore.Publish{Topic: "t", Options: o})
		if p.size() < much {
			t.Errorf("%s: it counts %d bytes, and has more than %d", name, p.size(), much)
		}
	}
}

func TestListsAreTakenInAnyOrderAndLeftAsTheyWere(t *testing.T) {
	ids, names := []wampcore.ID{9, 3, 5, 3}, []string{"z", "a", "m", "a"}
	p := newPublication(&session{conn: &conn{}}, &rules{}, &wampcore.Publish{Options: wampcore.PublishOptions{
		Eligible: ids, Exclude: []wampcore.ID{}, EligibleAuthID: names, EligibleAuthRole: names, ExcludeAuthID: []string{"m"},
	}})
	for _, c := range []struct {
		s    *session
		want bool
	}{
		{&session{id: 3, authID: "z", authRole: "a"}, true},
		{&session{id: 9, authID: "a", authRole: "m"}, true},
		{&session{id: 4, authID: "z", authRole: "a"}, false},
		{&session{id: 5, authID: "m", authRole: "a"}, false},
		{&session{id: 5, authID: "a", authRole: "b"}, false},
	} {
		if got := p.eligible(c.s); got != c.want {
			t.Errorf("%d %s %s: got %v", c.s.id, c.s.authID, c.s.authRole, got)
		}
	}
	if !slices.Equal(ids, []wampcore.ID{9, 3, 5, 3}) || !slices.Equal(names, []string{"z", "a", "m", "a"}) {
		t.Errorf("the publisher's lists are now %v and %v", ids, names)
	}
}

func BenchmarkLongListOfThoseWhoAreExcluded(b *testing.B) {
	o := wampcore.PublishOptions{}
	for i := range 100_000 {
		o.ExcludeAuthID = append(o.ExcludeAuthID, fmt.Sprintf("somebody %d", i))
	}
	p := newPublication(&session{conn: &conn{}}, &rules{}, &wampcore.Publish{Options: o})
	s := &session{id: 1, authID: "nobody at all"}
	for b.Loop() {
		p.eligible(s)
	}
}

func TestWhatIsKeptOfCallsThatMayBeRoutedAgainIsBounded(t *testing.T) {
	d := dealer{}
	callee := &session{}
	callee.roles.Add(wampcore.RoleCallee, wampcore.CallReroute)
	reg := &registration{invoke: wampcore.InvokeRoundRobin}
	m := &wampcore.Call{Payload: wampcore.Payload{Args: []byte(long)}, Options: wampcore.CallOptions{RKey: long}}
	kept := make([]*invocation, 3*maxKeptBytes/(2*much))
	for i := range kept {
		kept[i] = &invocation{callee: callee}
		d.keep(kept[i], reg, m)
	}
	if d.kept > maxKeptBytes || kept[0].more == nil || kept[len(kept)-1].more != nil {
		t.Errorf("%d bytes are kept", d.kept)
	}
	for _, inv := range kept {
		d.unkeep(inv)
	}
	if d.kept != 0 {
		t.Errorf("%d bytes stay", d.kept)
	}
}

func TestPublicationKeepsNoMoreThanItself(t *testing.T) {
	const publications = 200
	s := &session{conn: &conn{peer: Peer{Transport: pipe}}}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var kept [publications]publication
	for i := range kept { // as peers in this process send them: parts of what they have got themselves
		body, path := []byte(strings.Repeat("[] ", much/3)), strings.Repeat("t", much)
		kept[i] = newPublication(s, &rules{}, &wampcore.Publish{
			Topic: wampcore.URI(path[:1]), Payload: wampcore.Payload{Encoding: wampcore.JSON, Args: body[:2:2]},
		})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > publications*much/4 {
		t.Errorf("%d publications of 3 bytes keep %d bytes", publications, grown)
	}
	runtime.KeepAlive(&kept)
}

func TestTopicWhoseNewestDoesNotFitRetainsNothing(t *testing.T) {
	var r retained
	keep := func(topic wampcore.URI, size int) {
		r.keep(publication{id: wampcore.NewID(), at: time.Now(), topic: topic, payload: wampcore.Payload{Args: make([]byte, size)}})
	}
	keep("t", 1)
	keep("full", maxRetainedBytes-1000)
	keep("t", 1000)
	if found := r.find(&session{id: 1}, "t", wampcore.MatchExact); len(found) != 0 {
		t.Errorf("what is not so any more is retained: %d bytes", len(found[0].payload.Args))
	}
	keep("t", 2)
	if found := r.find(&session{id: 1}, "t", wampcore.MatchExact); len(found) != 1 {
		t.Errorf("got %d", len(found))
	}
}

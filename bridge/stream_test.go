package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/router" //nolint:depguard // a real router at the other end
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// both runs a test with the router in this process, and elsewhere.
func both(t *testing.T, f func(t *testing.T, shared bool)) {
	t.Helper()
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %v", shared), func(t *testing.T) { f(t, shared) })
	}
}

func (n *network) send(topic wampcore.URI, i int, opts wampcore.PublishOptions) wampcore.ID {
	n.Helper()
	opts.Acknowledge = true
	req := bridge.PublishRequest{
		Payload: wampcore.Payload{Encoding: wampcore.JSON, Args: fmt.Appendf(nil, "[%d]", i)}, Options: opts,
	}
	id, err := n.b.Publish(n.Context(), anybody, topic, req)
	if err != nil {
		n.Fatal(err)
	}
	return id
}

func TestReaderThatComesBackGetsWhatItMissedAndThenWhatComes(t *testing.T) {
	both(t, func(t *testing.T, shared bool) { //nolint:thelper // a test
		n := connect(t, shared)
		r := n.stream("a", "b")
		n.send("a", 0, wampcore.PublishOptions{})
		r.expect("[0]")
		r.hangUp()
		const missed = 1000
		for i := range missed {
			n.send([]wampcore.URI{"a", "b", "c"}[i%3], i+1, wampcore.PublishOptions{})
		}
		r = n.read(bridge.StreamRequest{Cursor: r.lastCursor(), FailOnGap: true}, "a", "b")
		r.expect("ready resumed")
		for i := range missed {
			if i%3 < 2 {
				r.expect(fmt.Sprintf(`"args":[%d]`, i+1))
			}
		}
		n.send("b", missed+1, wampcore.PublishOptions{})
		r.expect(fmt.Sprintf("[%d]", missed+1))
	})
}

func TestEventIsDeliveredOnceHoweverManyTopicsMatch(t *testing.T) {
	both(t, func(t *testing.T, shared bool) { //nolint:thelper // a test
		n := connect(t, shared)
		topics := []bridge.Topic{
			{URI: "com.example.a"},
			{URI: "com.", Match: wampcore.MatchPrefix},
			{URI: "com..a", Match: wampcore.MatchWildcard},
			{URI: "", Match: wampcore.MatchPrefix},
		}
		r := n.read(bridge.StreamRequest{Topics: topics})
		r.expect("ready live")
		for i := range 3 {
			n.send("com.example.a", i, wampcore.PublishOptions{})
		}
		r.expect("[0]", "[1]", "[2]")
		r.hangUp()
		n.send("com.example.a", 3, wampcore.PublishOptions{})
		r = n.read(bridge.StreamRequest{Topics: topics, Cursor: r.lastCursor()})
		n.send("com.example.a", 4, wampcore.PublishOptions{})
		r.expect("ready resumed", "[3]", "[4]")
	})
}

func TestCursorBehindWhichNothingIsKnownIsAGapOrRefused(t *testing.T) {
	both(t, func(t *testing.T, shared bool) { //nolint:thelper // a test
		n := connectTo(t, shared, router.RealmConfig{History: router.HistoryConfig{Events: 10}}, bridge.Config{})
		evicted := bridge.Cursor(n.send("a", 0, wampcore.PublishOptions{}))
		for i := range 20 {
			n.send("b", i, wampcore.PublishOptions{})
		}
		for name, cursor := range map[string]string{
			"evicted": evicted, "of the future": bridge.Cursor(wampcore.MaxID), "garbage": "\x00\xff' OR 1", "too large": "1.zzzzzzzzzzzzzzzz",
			"zero": "0", "long": strings.Repeat("1", 10_000),
		} {
			r := n.read(bridge.StreamRequest{Cursor: cursor}, "a")
			r.expect("ready gap", "gap")
			n.send("a", 1, wampcore.PublishOptions{})
			r.expect("[1]")
			r.hangUp()
			if e, ok := errors.AsType[*bridge.GapError](n.read(bridge.StreamRequest{Cursor: cursor, FailOnGap: true}, "a").ended()); !ok {
				t.Errorf("%s: got %v", name, e)
			}
		}
		r := n.read(bridge.StreamRequest{Cursor: bridge.Cursor(n.send("a", 2, wampcore.PublishOptions{}))}, "wamp.session.on_join")
		r.expect("ready gap", "gap")
	})
}

func TestWhatIsRetainedComesFirstAndDoesNotMoveTheCursor(t *testing.T) {
	both(t, func(t *testing.T, shared bool) { //nolint:thelper // a test
		n := connect(t, shared)
		n.send("com.a", 1, wampcore.PublishOptions{Retain: true})
		n.send("com.b", 2, wampcore.PublishOptions{Retain: true})
		newest := n.send("com.a", 3, wampcore.PublishOptions{})
		topics := []bridge.Topic{{URI: "com.a"}, {URI: "com.", Match: wampcore.MatchPrefix}}
		r := n.read(bridge.StreamRequest{Topics: topics, Retained: true})
		r.expect("ready live", "[1]", "[2]")
		n.settled(func() bool { return r.lastCursor() == bridge.Cursor(newest) }) // where to go on, if that is all
		n.send("com.a", 4, wampcore.PublishOptions{})
		r.expect("[4]")
		for _, l := range r.lines[:3] {
			if strings.Contains(l.Data, "retained") && l.Cursor != "" {
				t.Errorf("%s has the cursor %s", l.Data, l.Cursor)
			}
		}
		r = n.read(bridge.StreamRequest{Topics: topics, Retained: true, Cursor: bridge.Cursor(newest)})
		r.expect("ready resumed", "[4]")
	})
}

func TestEligibilityIsCheckedAgainOnReplay(t *testing.T) {
	both(t, func(t *testing.T, shared bool) { //nolint:thelper // a test
		n := connect(t, shared)
		cursor := bridge.Cursor(n.send("a", 0, wampcore.PublishOptions{}))
		n.send("a", 1, wampcore.PublishOptions{EligibleAuthRole: []string{"admin"}})
		n.send("a", 2, wampcore.PublishOptions{ExcludeAuthRole: []string{"anonymous"}})
		n.send("a", 3, wampcore.PublishOptions{EligibleAuthRole: []string{"anonymous"}})
		n.send("a", 4, wampcore.PublishOptions{Eligible: []wampcore.ID{1}})
		last := n.send("a", 5, wampcore.PublishOptions{Exclude: []wampcore.ID{1}}) // for all that are there, and kept for nobody
		r := n.read(bridge.StreamRequest{Cursor: cursor}, "a")
		n.send("a", 6, wampcore.PublishOptions{})
		r.expect("ready resumed", "[3]", "[6]")
		r = n.read(bridge.StreamRequest{Cursor: bridge.Cursor(last)}, "a")
		r.expect("ready resumed", "[6]")
	})
}

func TestPermissionIsAskedAgainOnReplay(t *testing.T) {
	realm := router.RealmConfig{Roles: map[string]router.Role{"anonymous": {Permissions: []router.Permission{
		{URI: "", Match: wampcore.MatchPrefix, Allow: router.ActionPublish},
		{URI: "open", Allow: router.ActionPublish | router.ActionSubscribe},
	}}}}
	n := connectTo(t, false, realm, bridge.Config{})
	cursor := bridge.Cursor(n.send("open", 0, wampcore.PublishOptions{}))
	n.send("secret", 1, wampcore.PublishOptions{})
	n.send("open", 2, wampcore.PublishOptions{})
	n.read(bridge.StreamRequest{Cursor: cursor}, "open").expect("ready resumed", "[2]")
	err := n.read(bridge.StreamRequest{Cursor: cursor}, "open", "secret").ended()
	if e, ok := errors.AsType[*wampcore.Error](err); !ok || e.URI != wampcore.ErrNotAuthorized {
		t.Errorf("got %v", err)
	}
}

func TestSlowReaders(t *testing.T) {
	both(t, func(t *testing.T, shared bool) { //nolint:thelper // a test
		for _, c := range []struct {
			slow  bridge.Slow
			cfg   bridge.Config
			want  []string
			error error
		}{
			{bridge.SlowDisconnect, bridge.Config{StreamEvents: 4}, nil, bridge.ErrSlow},
			{bridge.SlowDisconnect, bridge.Config{StreamBytes: 400}, nil, bridge.ErrSlow},
			{bridge.SlowDropOldest, bridge.Config{StreamEvents: 4}, []string{"gap", "[6]", "[7]", "[8]", "[9]"}, nil},
			{bridge.SlowConflate, bridge.Config{StreamEvents: 4}, []string{"[8]", "[9]"}, nil},
		} {
			n := connectTo(t, shared, router.RealmConfig{}, c.cfg)
			r := n.read(bridge.StreamRequest{Slow: c.slow}, "a", "b")
			r.expect("ready live")
			r.stick()
			n.send("a", -1, wampcore.PublishOptions{}) // this fills the reader
			r.expect("[-1]")
			for i := range 10 {
				n.send([]wampcore.URI{"a", "b"}[i%2], i, wampcore.PublishOptions{})
			}
			n.send("c", 0, wampcore.PublishOptions{})
			if c.error != nil {
				if err := r.ended(); !errors.Is(err, c.error) {
					t.Errorf("%v: got %v", c.slow, err)
				}
				if got := n.b.Stats().Streams; got.Slow != 1 {
					t.Errorf("%v: %+v", c.slow, got)
				}
				continue
			}
			n.settled(func() bool {
				got := n.b.Stats().Streams
				return got.Dropped+got.Conflated == 6 || got.Conflated == 8
			})
			r.unstick()
			r.expect(c.want...)
			if l := r.lines[len(r.lines)-len(c.want)]; l.Name == "wamp.gap" && !strings.Contains(l.Data, `"dropped":6`) {
				t.Errorf("got %s", l.Data)
			}
		}
	})
}

// TestWhatComesDuringAReplayIsSentOrSaidToBeMissing has more come than is held while a reader takes in what it missed.
func TestWhatComesDuringAReplayIsSentOrSaidToBeMissing(t *testing.T) {
	both(t, func(t *testing.T, shared bool) { //nolint:thelper // a test
		const missed, meanwhile = 300, 20 // more than a page; more than is held
		for name, c := range map[string]struct {
			kept func(i int) bool
			gap  bool
		}{
			"all of it is kept":       {func(int) bool { return true }, false},
			"none of it is kept":      {func(int) bool { return false }, true},
			"what is held is kept":    {func(i int) bool { return i < 4 }, true},
			"what is not held is":     {func(i int) bool { return i >= 4 }, true},
			"some of each is kept":    {func(i int) bool { return i%2 == 0 }, true},
			"all but some in between": {func(i int) bool { return i != 1 && i != 2 }, false},
		} {
			n := connectTo(t, shared, router.RealmConfig{}, bridge.Config{StreamEvents: 4})
			cursor := bridge.Cursor(n.send("a", 0, wampcore.PublishOptions{}))
			for i := range missed {
				n.send("a", i, wampcore.PublishOptions{})
			}
			r := n.reader()
			r.stuck = true
			n.readBy(r, bridge.StreamRequest{Cursor: cursor}, "a")
			r.expect("ready resumed")
			for i := range meanwhile {
				opts := wampcore.PublishOptions{}
				if !c.kept(i) {
					opts.Exclude = []wampcore.ID{1}
				}
				n.send("a", missed+i, opts)
			}
			watch := n.stream("a")
			const end = missed + meanwhile
			n.send("a", end, wampcore.PublishOptions{})
			watch.expect(fmt.Sprintf("[%d]", end)) // so that all has come
			r.unstick()
			gap := false
			for last := -1; last < end || c.gap && !gap; {
				l := r.next()
				if l.Name == "wamp.gap" {
					gap = true
					continue
				}
				var e struct{ Args []int }
				if err := json.Unmarshal([]byte(l.Data), &e); err != nil {
					t.Fatal(err)
				}
				for last++; last < e.Args[0] && c.gap && last >= missed && !c.kept(last-missed); last++ {
				}
				if last != e.Args[0] {
					t.Fatalf("%s: got event %d, want %d", name, e.Args[0], last)
				}
			}
			n.send("a", end+1, wampcore.PublishOptions{})
			if l := r.next(); !strings.Contains(l.Data, fmt.Sprintf("[%d]", end+1)) || gap != c.gap {
				t.Errorf("%s: got %v at the end; a gap is said: %t, want %t", name, l, gap, c.gap)
			}
		}
	})
}

func TestMoreRetainedEventsThanAreHeldAreSaidToBeMissing(t *testing.T) {
	both(t, func(t *testing.T, shared bool) { //nolint:thelper // a test
		n := connectTo(t, shared, router.RealmConfig{}, bridge.Config{StreamEvents: 4})
		for i := range 10 {
			n.send(wampcore.URI(fmt.Sprintf("com.%d", i)), i, wampcore.PublishOptions{Retain: true})
		}
		r := n.read(bridge.StreamRequest{Retained: true, Topics: []bridge.Topic{{URI: "com.", Match: wampcore.MatchPrefix}}})
		r.expect("ready live", "gap", "retained", "retained", "retained", "retained")
		n.send("com.0", 10, wampcore.PublishOptions{})
		r.expect("[10]")
	})
}

func TestReaderThatHasSeenNothingIsToldOfALoss(t *testing.T) {
	n := connectTo(t, true, router.RealmConfig{History: router.HistoryConfig{Off: true}}, bridge.Config{})
	r := n.stream("a")
	n.cut(nil)
	r.expect("gap")
	n.settled(func() bool { return n.b.Stats().Streams.Gaps == 1 })
	n.send("a", 1, wampcore.PublishOptions{})
	r.expect("[1]")
}

// settled waits until ok.
func (n *network) settled(ok func() bool) {
	n.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			n.Fatalf("it does not come about: %+v", n.b.Stats())
		}
	}
}

func TestHeartbeatKeepsTheCursorOfAQuietTopicFresh(t *testing.T) {
	both(t, func(t *testing.T, shared bool) { //nolint:thelper // a test
		n := connectTo(t, shared, router.RealmConfig{History: router.HistoryConfig{Events: 10}}, bridge.Config{})
		r := n.read(bridge.StreamRequest{Heartbeat: time.Millisecond}, "quiet")
		r.expect("ready live")
		var last wampcore.ID
		for i := range 30 {
			last = n.send("busy", i, wampcore.PublishOptions{})
		}
		n.settled(func() bool { return r.lastCursor() == bridge.Cursor(last) })
		r.hangUp()
		n.send("quiet", 1, wampcore.PublishOptions{})
		n.read(bridge.StreamRequest{Cursor: r.lastCursor()}, "quiet").expect("ready resumed", "[1]")
	})
}

func TestStreamsEndForTheReasonsThatThereAre(t *testing.T) {
	n := connect(t, false)
	r := n.stream("a")
	r.stream.End(bridge.ErrExpired)
	if err := r.ended(); !errors.Is(err, bridge.ErrExpired) {
		t.Errorf("its time is over: got %v", err)
	}
	r = n.stream("a")
	operator, err := client.Join(t.Context(), n.router.Dial(), client.Config{Realm: realm1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = operator.Close(context.Background()) }()
	if _, err := client.Call[any](t.Context(), operator, "wamp.session.kill", r.stream.ID()); err != nil {
		t.Fatal(err)
	}
	if e, ok := errors.AsType[*wampcore.Error](r.ended()); !ok || e.URI != wampcore.CloseKilled {
		t.Errorf("killed: got %v", r.failure())
	}
	n.stream("a").hangUp()
	streams := make([]*reader, 20)
	for i := range streams {
		streams[i] = n.stream("a")
	}
	if err := n.b.Withdraw(t.Context(), 50*time.Millisecond); err != nil {
		t.Error(err)
	}
	for _, r := range streams {
		if err := r.ended(); !errors.Is(err, bridge.ErrDraining) {
			t.Errorf("draining: got %v", err)
		}
	}
	if err := n.read(bridge.StreamRequest{}, "a").ended(); !errors.Is(err, bridge.ErrDraining) {
		t.Errorf("a new one: got %v", err)
	}
	n.settled(func() bool { return n.b.Stats().Streams.Open == 0 })
	got := n.b.Stats().Streams
	if got.Opened != 23 || got.Expired != 1 || got.Refused != 1 || got.HungUp != 1 || got.Drained != 20 {
		t.Errorf("counted: %+v", got)
	}
}

func TestCursorsAreReadAsTheyAreWritten(t *testing.T) {
	for _, id := range []wampcore.ID{1, 35, 36, 1 << 32, wampcore.MaxID} {
		for _, cursor := range []string{bridge.Cursor(id), string(bridge.AppendCursor(nil, id)), strconv.FormatUint(uint64(id), 10)} {
			if got, ok := bridge.ParseCursor(cursor); !ok || got != id {
				t.Errorf("%s: got %d", cursor, got)
			}
		}
	}
	if bridge.Cursor(0) != "" {
		t.Error("there is a cursor behind nothing")
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("1.a")
	f.Add("17")
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := bridge.ParseCursor(s)
		if ok != id.Valid() && ok {
			t.Errorf("%q is taken for %d", s, id)
		}
		if again, _ := bridge.ParseCursor(bridge.Cursor(id)); ok && again != id {
			t.Errorf("%q: %d becomes %d", s, id, again)
		}
	})
}

package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/router" //nolint:depguard // a real router at the other end
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const realm1 wampcore.URI = "realm1"

var anybody = bridge.Principal{Realm: realm1} //nolint:gochecknoglobals // a constant

// network is a way to a router that can be lost.
type network struct {
	testing.TB
	b      *bridge.Bridge
	router *router.Router
	ups    chan wampcore.URI

	mu    sync.Mutex
	down  error
	conns []wampcore.Transport
}

func connect(tb testing.TB, shared bool) *network {
	tb.Helper()
	return connectTo(tb, shared, router.RealmConfig{}, bridge.Config{})
}

func connectTo(tb testing.TB, shared bool, realm router.RealmConfig, cfg bridge.Config) *network {
	tb.Helper()
	realm.Name, realm.Operators = realm1, []string{"anonymous"}
	r, err := router.New(router.Config{Realms: []router.RealmConfig{realm}})
	if err != nil {
		tb.Fatal(err)
	}
	n := &network{TB: tb, router: r, ups: make(chan wampcore.URI, 100)}
	cfg.Dial, cfg.OnUp = n.dial, func(p bridge.Principal) { n.ups <- p.Realm }
	if !shared {
		cfg.Attach = func(t wampcore.Transport, _ bridge.Principal) func() error {
			return r.AttachResting(t, router.Peer{Transport: "http"}, nil)
		}
	}
	n.b = bridge.New(cfg)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.b.Close(ctx); err != nil {
			tb.Error("close:", err)
		}
		if err := r.Shutdown(ctx); err != nil {
			tb.Error("shutdown:", err)
		}
	})
	return n
}

func (n *network) dial(context.Context, bridge.Principal) (wampcore.Transport, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return nil, n.down
	}
	t := n.router.Dial()
	n.conns = append(n.conns, t)
	return t, nil
}

// cut loses all connections; while err is not nil there are no new ones.
func (n *network) cut(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = err
	for _, t := range n.conns {
		_ = t.Close(0)
	}
	n.conns = nil
}

func (n *network) publish(topic wampcore.URI) {
	n.Helper()
	req := bridge.PublishRequest{Options: wampcore.PublishOptions{Acknowledge: true}}
	if _, err := n.b.Publish(n.Context(), anybody, topic, req); err != nil {
		n.Fatal(err)
	}
}

func sessions(n *network) int {
	n.Helper()
	s, err := client.Join(n.Context(), n.router.Dial(), client.Config{Realm: realm1})
	if err != nil {
		n.Fatal(err)
	}
	defer func() { _ = s.Close(context.Background()) }()
	count, err := client.Call[int](n.Context(), s, "wamp.session.count")
	if err != nil {
		n.Fatal(err)
	}
	return count - 1
}

func TestSharedStreamGoesOnBehindALossWithWhatItMissed(t *testing.T) {
	n := connect(t, true)
	n.b.Keep(anybody)
	<-n.ups
	s := n.stream("com.example.a", "com.example.b")
	n.publish("com.example.a") // what the gateway publishes itself, too
	s.expect(`"topic":"com.example.a"`)
	elsewhere, err := client.Join(t.Context(), n.router.Dial(), client.Config{Realm: realm1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = elsewhere.Close(context.Background()) }()
	n.cut(errors.New("no route"))
	for i := range 3 {
		payload := wampcore.Payload{Encoding: wampcore.JSON, Args: fmt.Appendf(nil, "[%d]", i)}
		if _, err := elsewhere.Publish(t.Context(), "com.example.a", payload, wampcore.PublishOptions{Acknowledge: true}); err != nil {
			t.Fatal(err)
		}
	}
	n.cut(nil)
	<-n.ups
	n.publish("com.example.b")
	s.expect("[0]", "[1]", "[2]", `"topic":"com.example.b"`)
}

func TestSharedStreamSaysThatEventsMayBeMissingWhereTheRouterHasForgotten(t *testing.T) {
	n := connectTo(t, true, router.RealmConfig{History: router.HistoryConfig{Off: true}}, bridge.Config{})
	n.b.Keep(anybody)
	<-n.ups
	s := n.stream("com.example.a")
	n.cut(nil)
	<-n.ups
	s.expect("gap")
	n.publish("com.example.a")
	s.expect(`"topic":"com.example.a"`)
	n.cut(nil)
	<-n.ups
	s.expect("gap")
}

func TestStreamsShareASessionWhereTheRouterIsElsewhere(t *testing.T) {
	for shared, want := range map[bool]int{true: 2, false: 4} { // one is for calls and publications
		n := connect(t, shared)
		n.publish("com.example.x")
		for range 3 {
			n.stream("com.example.a")
		}
		if got := sessions(n); got != want {
			t.Errorf("shared %v: got %d sessions, want %d", shared, got, want)
		}
	}
}

func TestRequestsWithoutARouterFailAndAreServedWhenItIsBack(t *testing.T) {
	n := connect(t, true)
	n.b.Keep(anybody)
	<-n.ups
	if !n.b.Up(anybody) || n.b.Up(bridge.Principal{Realm: "realm2"}) {
		t.Error("Up is not told right")
	}
	n.cut(errors.New("no route"))
	ask := func() error {
		_, err := n.b.Call(t.Context(), anybody, "wamp.session.count", bridge.CallRequest{})
		return err
	}
	for !errors.Is(ask(), client.ErrDown) { // until the loss is noticed
	}
	if n.b.Up(anybody) {
		t.Error("it is told to be up")
	}
	if err := n.read(bridge.StreamRequest{}, "t").ended(); !errors.Is(err, client.ErrDown) {
		t.Errorf("stream: got %v", err)
	}
	if _, _, err := n.b.Retained(t.Context(), anybody, "t"); !errors.Is(err, client.ErrDown) {
		t.Errorf("retained: got %v", err)
	}
	n.cut(nil)
	<-n.ups
	if err := ask(); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestRealmThatTheRouterRefusesIsForgotten(t *testing.T) {
	n := connect(t, true)
	for range 3 {
		_, err := n.b.Call(t.Context(), bridge.Principal{Realm: "nowhere"}, "p", bridge.CallRequest{})
		if e, ok := errors.AsType[*wampcore.Error](err); !ok || e.URI != wampcore.ErrNoSuchRealm {
			t.Errorf("got %v", err)
		}
	}
}

func TestSharedStreamEndsWhenItsSubscriptionIsTakenAway(t *testing.T) {
	n := connect(t, true)
	s, other := n.stream("com.example.a"), n.stream("com.example.b")
	operator, err := client.Join(t.Context(), n.router.Dial(), client.Config{Realm: realm1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = operator.Close(context.Background()) }()
	id, err := client.Call[wampcore.ID](t.Context(), operator, "wamp.subscription.lookup", "com.example.a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Call[any](t.Context(), operator, "wamp.subscription.remove_subscriber", id, s.stream.ID()); err != nil {
		t.Fatal(err)
	}
	err = s.ended()
	if e, ok := errors.AsType[*wampcore.Error](err); !ok || e.URI != wampcore.ErrNotAuthorized {
		t.Errorf("got %v", err)
	}
	n.publish("com.example.b")
	other.expect("com.example.b")
}

func TestOpenCallsFinishWhenTheBridgeCloses(t *testing.T) {
	n := connect(t, false)
	called, gate := make(chan struct{}), make(chan struct{})
	callee, err := client.Join(t.Context(), n.router.Dial(), client.Config{Realm: realm1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = callee.Close(context.Background()) }()
	slow := func(context.Context, *client.Invocation) (wampcore.Payload, error) {
		close(called)
		<-gate
		return wampcore.NewPayload(wampcore.JSON, []any{7}, nil)
	}
	if _, err := callee.Register(t.Context(), "slow", slow, wampcore.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	answered := make(chan string, 1)
	go func() {
		p, err := n.b.Call(context.Background(), anybody, "slow", bridge.CallRequest{})
		if err != nil {
			answered <- err.Error()
			return
		}
		answered <- string(p.Transcode(wampcore.JSON).Args)
	}()
	<-called
	closed := make(chan error, 1)
	go func() { closed <- n.b.Close(context.Background()) }()
	for !errors.Is(func() error {
		_, err := n.b.Publish(t.Context(), anybody, "t", bridge.PublishRequest{})
		return err
	}(), bridge.ErrDraining) {
	}
	close(gate)
	if got := <-answered; got != "[7]" {
		t.Errorf("the open call ended with %s", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
